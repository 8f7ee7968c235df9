"""The four families of quality rules: speed, and agreement with datatrove's filters on the same documents.

    python benchmarks/l1_rules.py                    # text that lies on any machine with Python
    python benchmarks/l1_rules.py --corpus debian    # pages of Debian's documentation packages, fetched with apt-get

The Debian pages are prose, code, lists and tables in a score of languages; of each the main content and the whole page
are documents. Agreement is counted on all of them: each family alone, and the chain of all four, in which C4 changes
the text that FineWeb's rules see. datatrove's verdicts are kept in the cache folder, since they take minutes.

Speed is taken on a part of them, in process CPU time, both sides in turn, as the median over repetitions. Tierline gets
tables of documents, measures every signal of every rule for each, and decides; its kernels are compiled already. What a
new process spends on loading them is measured apart.
"""

from __future__ import annotations

import argparse
import json
import pydoc
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import debian
import pyarrow as pa
import record
from resiliparse.extract.html2text import extract_plain_text

from tiers.document import documents
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.stage import Context

PACKAGES = (
    "python3.11-doc",
    "linux-doc-6.1",
    "openjdk-17-doc",
    "python-pandas-doc",
    "sagemath-doc",
    "debian-handbook",
    *(f"libreoffice-help-{language}" for language in ("en-us", "fr", "de", "es", "ja", "ru", "zh-cn")),
)
PAGES_OF_EACH = 300
PAGES_IN_MANY_LANGUAGES = 900
FAMILIES = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
ALL = "all four"
ROWS = 256

# Which of Tierline's reasons each of datatrove's is.
SAME_REASON = {
    "empty": ("gopher_repetition.empty", "fineweb.empty"),
    "dup_para_frac": "gopher_repetition.duplicate_paragraphs",
    "dup_para_char_frac": "gopher_repetition.duplicate_paragraph_characters",
    "dup_line_frac": "gopher_repetition.duplicate_lines",
    "dup_line_char_frac": "gopher_repetition.duplicate_line_characters",
    **{f"top_{n}_gram": f"gopher_repetition.top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher_repetition.duplicate_{n}_grams" for n in range(5, 11)},
    "gopher_short_doc": "gopher_quality.too_short",
    "gopher_long_doc": "gopher_quality.too_long",
    "gopher_below_avg_threshold": "gopher_quality.short_words",
    "gopher_above_avg_threshold": "gopher_quality.long_words",
    "gopher_too_many_hashes": "gopher_quality.hashes",
    "gopher_too_many_ellipsis": "gopher_quality.ellipses",
    "gopher_too_many_bullets": "gopher_quality.bullets",
    "gopher_too_many_end_ellipsis": "gopher_quality.ellipsis_lines",
    "gopher_below_alpha_threshold": "gopher_quality.few_alphabetic_words",
    "gopher_enough_stop_words": "gopher_quality.few_stop_words",
    "lorem_ipsum": "c4.lorem_ipsum",
    "curly_bracket": "c4.curly_bracket",
    "too_few_sentences": "c4.few_sentences",
    "line_punct_ratio": "fineweb.line_punctuation",
    "short_line_ratio": "fineweb.short_lines",
    "char_dup_ratio": "fineweb.duplicate_line_characters",
    "list_ratio": "fineweb.line_breaks",
}

FIRST_CALL = """
import time
started = time.process_time()
from pathlib import Path
from tiers.document import documents
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.stage import Context
imported = time.process_time()
apply = QualityRules().prepare(Context(models=Path()))
prepared = time.process_time()
apply(documents([{"text": "One line, and it is kept out. " * 40, "source": "a"}]))
print(imported - started, prepared - imported, time.process_time() - prepared)
"""

Verdicts = list[str | None]
"""The reason for which each document is dropped, or `None`."""


def local_texts() -> Iterator[str]:
    """The documentation of Python's own modules, and the read-me and metadata files of installed packages."""
    for name in sorted(sys.stdlib_module_names):
        path = Path(sysconfig.get_path("stdlib")) / f"{name}.py"
        if path.exists() and name not in ("antigravity", "this"):
            yield pydoc.plaintext.document(pydoc.safeimport(name))  # type: ignore[attr-defined]
    packages = Path(sysconfig.get_path("purelib"))
    for pattern in ("*.dist-info/METADATA", "**/*.md", "**/*.rst", "**/LICENSE*.txt"):
        for path in sorted(packages.glob(pattern)):
            yield path.read_text("utf-8", "replace")


def debian_texts(cache: Path) -> Iterator[str]:
    """Main content and whole text of pages of Debian's documentation packages, evenly drawn from each."""
    for package in PACKAGES:
        pages = debian.pages(package, cache, "all")
        wanted = PAGES_IN_MANY_LANGUAGES if package == "debian-handbook" else PAGES_OF_EACH
        for path in pages[:: max(1, len(pages) // wanted)]:
            page = path.read_text("utf-8", "replace")
            yield extract_plain_text(page, main_content=True)
            yield extract_plain_text(page, main_content=False)


def their_filters() -> dict[str, Any]:
    """datatrove's filter for each family."""
    from datatrove.pipeline import filters

    return {
        "gopher_repetition": filters.GopherRepetitionFilter(),
        "gopher_quality": filters.GopherQualityFilter(),
        "c4": filters.C4QualityFilter(),
        "fineweb": filters.FineWebQualityFilter(),
    }


def their_reason(one: Any, document: Any) -> str | None:
    """Why a filter of datatrove's drops a document, or `None`; C4's changes the document."""
    result = one.filter(document)
    return None if result is True else str(result[1])


def their_chain(filters: dict[str, Any], document: Any) -> str | None:
    """The first reason that datatrove's four filters give."""
    return next((reason for each in filters.values() if (reason := their_reason(each, document))), None)


def their_verdicts(texts: list[str]) -> dict[str, Verdicts]:
    """datatrove's verdicts, of each family alone and of the chain, which C4's filter leaves another text."""
    from datatrove.data import Document

    filters = their_filters()
    verdicts: dict[str, Verdicts] = {name: [] for name in (*FAMILIES, ALL)}
    for text in texts:
        edited = Document(text=text, id="")
        found = {
            name: their_reason(each, edited if name == "c4" else Document(text=text, id=""))
            for name, each in filters.items()
        }
        first = next((found[name] for name in FAMILIES[:3] if found[name]), None)
        found[ALL] = first or their_reason(filters["fineweb"], edited)
        for name, reason in found.items():
            verdicts[name].append(reason)
    return verdicts


def kept_verdicts(path: Path, texts: list[str]) -> dict[str, Verdicts]:
    """datatrove's verdicts from a file that an earlier run left, or new ones."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(their_verdicts(texts)))
    verdicts: dict[str, Verdicts] = json.loads(path.read_text())
    return verdicts


def our_stage(name: str) -> QualityRules:
    """One family, or all four."""
    return QualityRules.model_validate({family: None for family in FAMILIES if name not in (family, ALL)})


def tables_of(texts: list[str]) -> list[pa.Table]:
    """Tables of documents, as a runner hands them to a stage; sources are their numbers."""
    rows = [{"text": text, "source": str(number)} for number, text in enumerate(texts)]
    return [documents(rows[at : at + ROWS]) for at in range(0, len(rows), ROWS)]


def our_verdicts(name: str, tables: list[pa.Table]) -> list[tuple[str, str] | None]:
    """Tierline's verdicts, as (reason, detail)."""
    apply = our_stage(name).prepare(Context(models=Path()))
    verdicts: list[tuple[str, str] | None] = []
    for table in tables:
        dropped = {row["id"]: (row["reason"], row["detail"]) for row in apply(table).dropped.to_pylist()}
        verdicts += [dropped.get(row_id) for row_id in table["id"].to_pylist()]
    return verdicts


def agreement(theirs: Verdicts, ours: list[tuple[str, str] | None]) -> dict[str, Any]:
    """Shares of equal decisions and reasons; pairs of reasons that differ, with what the first ones measured."""
    decisions = sum((their is None) == (our is None) for their, our in zip(theirs, ours, strict=True))
    differences: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for number, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        if (their or our) and not (their and our and our[0] in SAME_REASON[their]):
            pair = f"{their} / {our and our[0]}"
            differences[pair] += 1
            examples.setdefault(pair, []).append(f"document {number}: {our[1] if our else 'kept'}")
    return {
        "documents": len(theirs),
        "kept": {"theirs": theirs.count(None), "ours": ours.count(None)},
        "equal_decisions": decisions / len(theirs),
        "equal_reasons": 1 - differences.total() / len(theirs),
        "differences_theirs_ours": dict(differences.most_common()),
        "examples": {pair: found[:5] for pair, found in examples.items()},
    }


def rate(work: Callable[[], Any], count: int) -> float:
    """Documents per CPU second of this process."""
    start = time.process_time()
    work()
    return count / (time.process_time() - start)


def speeds(name: str, texts: list[str], repeats: int) -> dict[str, Any]:
    """Documents per CPU second, both sides in turn."""
    from datatrove.data import Document

    filters = their_filters()
    chosen = filters if name == ALL else {name: filters[name]}
    tables, apply = tables_of(texts), our_stage(name).prepare(Context(models=Path()))

    def theirs() -> None:
        for text in texts:
            their_chain(chosen, Document(text=text, id=""))

    def ours() -> None:
        for table in tables:
            apply(table)

    ours()
    their_chain(chosen, Document(text=texts[0], id=""))
    rates: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(repeats):
        rates["theirs"].append(rate(theirs, len(texts)))
        rates["ours"].append(rate(ours, len(texts)))
    return {side: record.spread(values, 1) for side, values in rates.items()}


def first_call(repeats: int) -> dict[str, Any]:
    """CPU seconds of a new process, the kernels being compiled: importing, preparing, the first document."""
    found = []
    for _ in range(repeats):
        command = [sys.executable, "-c", FIRST_CALL]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=record.ROOT)
        found.append([float(seconds) for seconds in done.stdout.split()])
    names = ("import", "prepare", "first_document")
    return {name: record.spread(values, 3) for name, values in zip(names, zip(*found, strict=True), strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", choices=("local", "debian"), default="local")
    parser.add_argument("--cache", type=Path, default=debian.CACHE)
    parser.add_argument("--documents", type=int, default=10_000, help="documents at most")
    parser.add_argument("--timed", type=int, default=300, help="documents to measure speed on")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--max-characters", type=int, default=50_000, help="longer documents are left out")
    arguments = parser.parse_args()

    found = local_texts() if arguments.corpus == "local" else debian_texts(arguments.cache)
    texts = [text for text in dict.fromkeys(found) if text.strip() and len(text) <= arguments.max_characters]
    texts = sorted(texts, key=lambda text: record.hash_texts([text]))[: arguments.documents]
    sha256, timed, tables = record.hash_texts(texts), texts[: arguments.timed], tables_of(texts)
    version = record.versions("datatrove")["datatrove"]
    theirs = kept_verdicts(arguments.cache / f"verdicts-datatrove-{version}-{sha256[:16]}.json", texts)

    result: dict[str, Any] = {}
    rows = []
    for name in (*FAMILIES, ALL):
        agreed, speed = agreement(theirs[name], our_verdicts(name, tables)), speeds(name, timed, arguments.repeats)
        result[name] = {"agreement": agreed, "documents_per_cpu_second": speed}
        their, our = speed["theirs"]["median"], speed["ours"]["median"]
        kept, same = agreed["kept"], (f"{agreed[share]:.2%}" for share in ("equal_decisions", "equal_reasons"))
        rows.append((name, round(their), round(our), f"{our / their:.1f}×", f"{kept['theirs']}/{kept['ours']}", *same))
    result["first_call_cpu_seconds"] = first_call(arguments.repeats)
    record.print_table(
        f"Quality rules, {len(texts)} documents ({arguments.corpus}), documents per CPU second",
        ("rules", "datatrove", "Tierline", "ratio", "kept (theirs / ours)", "decisions", "reasons"),
        rows,
    )
    for name in (*FAMILIES, ALL):
        for pair, count in result[name]["agreement"]["differences_theirs_ours"].items():
            print(f"{name}: {count} × {pair}: {'; '.join(result[name]['agreement']['examples'][pair])}")
    first = {name: seconds["median"] for name, seconds in result["first_call_cpu_seconds"].items()}
    print(f"CPU seconds of a new process: {first}")
    characters = [len(text) for text in texts]
    corpus = {
        "name": arguments.corpus,
        "packages": list(PACKAGES) if arguments.corpus == "debian" else [],
        "documents": len(texts),
        "timed": len(timed),
        "mean_characters": round(sum(characters) / len(texts)),
        "mean_characters_timed": round(sum(characters[: len(timed)]) / len(timed)),
        "sha256": sha256,
    }
    path = record.write_result("l1_rules", result, ("datatrove", "spacy", "numba", "numpy", "resiliparse"), corpus)
    print(f"wrote {path.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
