"""What `personal_data` finds, what it takes for personal data that isn't, and what it costs.

    python benchmarks/personal_data.py       # pages of Debian's documentation packages, fetched with apt-get

Found: items made with a fixed seed, their check digits right, one in a sentence; `bare` ones have no word beside them
that says what they are. Decoys are made in the same way: wrong check digits, versions, ISBNs, dates, prices, arXiv ids,
part numbers, addresses that are set aside for examples. Who wrote the patterns wrote the sentences too, so that the
figures are upper bounds. An item counts as found if a finding covers it. Speed on pages cut to 4,000 characters, in
process CPU time, median over repetitions; datatrove's PIIFormatter (e-mail and IP alone) does the same, and where it is
installed (`pip install phonenumbers`) phonenumbers' matcher finds the telephone numbers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import debian
import record
from personal_items import Planted, sentences

from tiers.document import documents
from tiers.l1_filtered.personal.finding import Kind
from tiers.l1_filtered.personal_data import PersonalData, find_personal_data, suspects
from tiers.stage import Context

EACH = 200
KINDS = frozenset(PersonalData().kinds)
Find = Callable[[str], list[tuple[int, int]]]
"""Gives the spans of what it finds."""


def ours(text: str) -> list[tuple[int, int]]:
    return [(finding.start, finding.end) for finding in find_personal_data(text, KINDS)]


def matcher(pattern: Any, validator: Callable[[str], bool] | None = None) -> Find:
    return lambda text: [m.span() for m in pattern.finditer(text) if validator is None or validator(m.group())]


def finders() -> dict[str, Find]:
    """Both sides, and the matcher of phonenumbers where it is installed."""
    from datatrove.pipeline.formatters.pii import PIIFormatter

    formatter = PIIFormatter()
    parts = [matcher(each.regex, each.validator) for each in (formatter.emails_replacer, formatter.ip_replacer)]
    found: dict[str, Find] = {
        "tierline": ours,
        "datatrove": lambda text: [span for part in parts for span in part(text)],
    }
    if find_spec("phonenumbers"):
        import phonenumbers

        found["phonenumbers"] = lambda text: [(m.start, m.end) for m in phonenumbers.PhoneNumberMatcher(text, "US")]
    return found


def quality(find: Find, planted: list[Planted]) -> dict[str, dict[str, int]]:
    """By form: how many sentences, in how many the item was found, and how many findings were none."""
    counts: dict[str, dict[str, int]] = {}
    for form, sentence, span in planted:
        row = counts.setdefault(form, {"sentences": 0, "found": 0, "false": 0})
        row["sentences"] += 1
        spans = find(sentence)
        row["found"] += span is not None and any(start <= span[0] and span[1] <= end for start, end in spans)
        row["false"] += sum(span is None or end <= span[0] or span[1] <= start for start, end in spans)
    return counts


def speeds(texts: list[str], repeats: int) -> dict[str, dict[str, Any]]:
    """Documents per CPU second: the stage on a table, the others on each text."""
    from datatrove.pipeline.formatters.pii import PIIFormatter

    table = documents([{"text": text, "source": str(number)} for number, text in enumerate(texts)])
    stage, formatter = PersonalData().prepare(Context(models=Path())), PIIFormatter()
    runs: dict[str, Callable[[], Any]] = {
        "tierline": lambda: stage(table),
        "datatrove": lambda: [formatter.format(text) for text in texts],
    }
    if find_spec("phonenumbers"):
        runs["phonenumbers"] = lambda: [finders()["phonenumbers"](text) for text in texts]
    rates: dict[str, list[float]] = {side: [] for side in runs}
    for _ in range(repeats):
        for side, run in runs.items():
            start = time.process_time()
            run()
            rates[side].append(len(texts) / (time.process_time() - start))
    return {side: record.spread(values, 0) for side, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, default=debian.CACHE)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    planted = list(sentences(arguments.seed, EACH))
    true_forms = {form for form, _, span in planted if span}
    result: dict[str, Any] = {"quality": {}, "documents_per_cpu_second": {}, "found_on_pages": {}}
    rows: dict[str, list[str]] = {}
    for side, find in finders().items():
        counts = result["quality"][side] = quality(find, planted)
        for form, count in counts.items():
            shown = count["found"] if form in true_forms else count["false"]
            rows.setdefault(form, [form if form in true_forms else f"decoy: {form}", str(count["sentences"])]).append(
                str(shown)
            )
    counts = result["quality"]["tierline"]
    found, false = (sum(count[key] for count in counts.values()) for key in ("found", "false"))
    total = sum(counts[form]["sentences"] for form in true_forms)
    result["recall"], result["precision"] = round(found / total, 4), round(found / (found + false), 4)
    rows["all"] = [
        "recall / precision",
        str(total),
        f"{result['recall']:.1%} / {result['precision']:.1%}",
        *[""] * (len(finders()) - 1),
    ]
    record.print_table("Found, and decoys taken for personal data", ("form", "sentences", *finders()), rows.values())

    corpora = {}
    for package in ("python3.11-doc", "linux-doc-6.1", "libreoffice-help-fr"):
        pages = list(debian.texts(package, 2000, arguments.cache, False))
        joined = "\n\n".join(pages)
        corpora[package] = [joined[at : at + 4000] for at in range(0, min(len(joined), 1_200_000), 4000)]
    for package, texts in corpora.items():
        result["documents_per_cpu_second"][package] = speeds(texts, arguments.repeats)
        searched = [find_personal_data(text, KINDS) for text in texts]
        column = documents([{"text": text, "source": ""} for text in texts])["text"]
        result["found_on_pages"][package] = {
            "documents": len(texts),
            "searched_after_the_first_look": len(suspects(column, KINDS)),
            "tierline": {kind: sum(f.kind == kind for found in searched for f in found) for kind in Kind},
            "datatrove": sum(len(finders()["datatrove"](text)) for text in texts),
        }
    speed = result["documents_per_cpu_second"]
    record.print_table(
        "Documents of 4,000 characters per CPU second",
        ("pages", *next(iter(speed.values()))),
        [(package, *(round(each["median"]) for each in sides.values())) for package, sides in speed.items()],
    )
    about = {"seed": arguments.seed, "sentences": len(planted), "sha256": record.hash_texts(s for _, s, _ in planted)}
    packages = ("datatrove", *(["phonenumbers"] if find_spec("phonenumbers") else []))
    print(f"wrote {record.write_result('personal_data', result, packages, about).relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
