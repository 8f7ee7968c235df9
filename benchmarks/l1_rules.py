"""The four families of quality rules: speed, and agreement with datatrove's filters on the same documents.

    python benchmarks/l1_rules.py                    # text that lies on any machine with Python
    python benchmarks/l1_rules.py --corpus debian    # pages of Debian's documentation packages, fetched with apt-get

Agreement is counted on all documents: each family alone, and the chain of all four, in which C4 changes the text that
FineWeb's rules see. Speed is taken on a part of them, in process CPU time, both sides in turn, as the median over
repetitions. Tierline is measured twice: with an empty word memory, and with one filled by the *other* documents, which
is how a worker runs after its first thousand documents.
"""

from __future__ import annotations

import argparse
import pydoc
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import record
from resiliparse.extract.html2text import extract_plain_text

from tiers.l1_filtered.measures import Measures, WordMemory
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.l1_filtered.rules import Verdict

PACKAGES = ("python3.11-doc", "debian-handbook", "libreoffice-help-en-us", "linux-doc-6.1")
PAGES_OF_EACH = 600

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

Judge = Callable[[str], str | None]
"""Gives the reason for which a text is dropped, or `None`."""


@dataclass(frozen=True)
class Contest:
    """The same rules on both sides; `ours` makes a judge that has the given word memory."""

    name: str
    theirs: Judge
    ours: Callable[[WordMemory], Judge]


def local_texts() -> Iterator[str]:
    """The documentation of Python's own modules, and the read-me and metadata files of installed packages."""
    for name in sorted(sys.stdlib_module_names):
        path = Path(sysconfig.get_path("stdlib")) / f"{name}.py"
        if path.exists() and name not in ("antigravity", "this"):
            yield pydoc.plaintext.document(pydoc.safeimport(name))
    packages = Path(sysconfig.get_path("purelib"))
    for pattern in ("*.dist-info/METADATA", "**/*.md", "**/*.rst", "**/LICENSE*.txt"):
        for path in sorted(packages.glob(pattern)):
            yield path.read_text("utf-8", "replace")


def debian_texts(cache: Path) -> Iterator[str]:
    """Text of the pages of Debian's documentation packages, evenly drawn from each."""
    for package in PACKAGES:
        folder = cache / package
        if not folder.exists():
            cache.mkdir(parents=True, exist_ok=True)
            subprocess.run(["apt-get", "download", package], cwd=cache, check=True, stdout=subprocess.DEVNULL)
            archive = next(cache.glob(f"{package}_*.deb"))
            subprocess.run(["dpkg", "-x", archive.name, package], cwd=cache, check=True)
        pages = [path for path in sorted(folder.rglob("*.html")) if path.is_file() and not path.is_symlink()]
        if package == "debian-handbook":
            pages = [path for path in pages if "en-US" in path.parts]
        for path in pages[:: max(1, len(pages) // PAGES_OF_EACH)]:
            yield extract_plain_text(path.read_text("utf-8", "replace"), main_content=True)


def contests() -> list[Contest]:
    """Each family alone, and all four in FineWeb's order."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    def chain(*filters: Any) -> Judge:
        def judge(text: str) -> str | None:
            document = Document(text=text, id="")
            for each in filters:
                result = each.filter(document)
                if result is not True:
                    return str(result[1])
            return None

        return judge

    def ours(judge: Callable[[str, WordMemory], Verdict]) -> Callable[[WordMemory], Judge]:
        def with_memory(memory: WordMemory) -> Judge:
            def reason(text: str) -> str | None:
                verdict = judge(text, memory)
                return str(verdict[0]) if verdict else None

            return reason

        return with_memory

    rules = QualityRules()
    repetition, quality, c4, fineweb = rules.gopher_repetition, rules.gopher_quality, rules.c4, rules.fineweb
    assert repetition is not None
    assert quality is not None
    assert c4 is not None
    assert fineweb is not None
    theirs = (GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter())
    return [
        Contest("gopher_repetition", chain(theirs[0]), ours(lambda text, m: repetition.judge(Measures(text, m)))),
        Contest("gopher_quality", chain(theirs[1]), ours(lambda text, m: quality.judge(Measures(text, m)))),
        Contest("c4", chain(theirs[2]), ours(lambda text, m: c4.judge(text, m)[0])),
        Contest("fineweb", chain(theirs[3]), ours(lambda text, m: fineweb.judge(Measures(text, m)))),
        Contest("all four", chain(*theirs), ours(lambda text, m: rules.judge(text, m)[0])),
    ]


def agreement(contest: Contest, texts: list[str]) -> dict[str, Any]:
    """Shares of equal decisions and of equal reasons, and the pairs of reasons that differ."""
    judge = contest.ours(WordMemory())
    kept = {"theirs": 0, "ours": 0}
    decisions = reasons = 0
    differences: Counter[str] = Counter()
    for text in texts:
        their, our = contest.theirs(text), judge(text)
        kept["theirs"] += their is None
        kept["ours"] += our is None
        decisions += (their is None) == (our is None)
        if our == their or (their is not None and our is not None and our in SAME_REASON[their]):
            reasons += 1
        else:
            differences[f"{their} / {our}"] += 1
    return {
        "documents": len(texts),
        "kept": kept,
        "dropped": {side: len(texts) - count for side, count in kept.items()},
        "equal_decisions": decisions / len(texts),
        "equal_reasons": reasons / len(texts),
        "differences_theirs_ours": dict(differences.most_common()),
    }


def seconds(judge: Judge, texts: list[str]) -> float:
    """CPU seconds of this process for judging all of `texts`."""
    start = time.process_time()
    for text in texts:
        judge(text)
    return time.process_time() - start


def speeds(contest: Contest, timed: list[str], filled: WordMemory, repeats: int) -> dict[str, Any]:
    """Documents per CPU second on `timed`, both sides in turn; `filled` is copied, not used."""
    rates: dict[str, list[float]] = {"theirs": [], "ours_empty_memory": [], "ours_filled_memory": []}
    contest.theirs(timed[0])
    contest.ours(WordMemory())(timed[0])
    for _ in range(repeats):
        rates["theirs"].append(len(timed) / seconds(contest.theirs, timed))
        rates["ours_empty_memory"].append(len(timed) / seconds(contest.ours(WordMemory()), timed))
        rates["ours_filled_memory"].append(len(timed) / seconds(contest.ours(copy(filled)), timed))
    return {side: record.spread(values, 1) for side, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", choices=("local", "debian"), default="local")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tierline-debian")
    parser.add_argument("--documents", type=int, default=2000, help="documents at most")
    parser.add_argument("--timed", type=int, default=300, help="documents to measure speed on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-characters", type=int, default=50_000, help="longer documents are left out")
    arguments = parser.parse_args()

    found = local_texts() if arguments.corpus == "local" else debian_texts(arguments.cache)
    texts = [text for text in dict.fromkeys(found) if text.strip() and len(text) <= arguments.max_characters]
    texts = sorted(texts, key=lambda text: record.hash_texts([text]))[: arguments.documents]
    timed, others = texts[: arguments.timed], texts[arguments.timed :]
    filled = WordMemory()
    for text in others:
        filled.table(text.split())

    result: dict[str, Any] = {}
    rows = []
    for contest in contests():
        agreed = agreement(contest, texts)
        speed = speeds(contest, timed, filled, arguments.repeats)
        result[contest.name] = {"agreement": agreed, "documents_per_cpu_second": speed}
        medians = [speed[side]["median"] for side in ("theirs", "ours_empty_memory", "ours_filled_memory")]
        rows.append(
            (
                contest.name,
                *map(round, medians),
                f"{medians[1] / medians[0]:.1f}–{medians[2] / medians[0]:.1f}",
                f"{agreed['kept']['theirs']}/{agreed['kept']['ours']}",
                f"{agreed['equal_decisions']:.2%}",
                f"{agreed['equal_reasons']:.2%}",
            )
        )
    record.print_table(
        f"Quality rules, {len(texts)} documents ({arguments.corpus}), documents per CPU second",
        (
            "rules",
            "datatrove",
            "empty memory",
            "filled memory",
            "ratio",
            "kept (theirs / ours)",
            "decisions",
            "reasons",
        ),
        rows,
    )
    characters = [len(text) for text in texts]
    corpus = {
        "name": arguments.corpus,
        "packages": list(PACKAGES) if arguments.corpus == "debian" else [],
        "documents": len(texts),
        "timed": len(timed),
        "mean_characters": round(sum(characters) / len(texts)),
        "mean_characters_timed": round(sum(characters[: len(timed)]) / len(timed)),
        "sha256": record.hash_texts(texts),
    }
    path = record.write_result("l1_rules", result, ("datatrove", "spacy", "numpy", "resiliparse"), corpus)
    print(f"wrote {path.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
