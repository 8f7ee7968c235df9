"""Edit labels: how many pairs of a raw and a refined text have one, whether it gives its target, and what it costs.

    python benchmarks/edit_labels.py    # pages of Debian's documentation packages are fetched with apt-get once

Real pairs: the whole text of a page and its main content, of Debian's documentation; and of news and blog pages, where
`../shared/data/extraction` is there, the whole text and the article that people marked. The latter once more without
indentation, which the executor takes for code. Synthetic pairs: seeded edits of main content, each kind alone and all
kinds together.

Every label is read back from its JSON and carried out by the interpreter below, which shares no code with the
executor. So are labels that were cut into windows of 2,000 characters and merged again. `confident` labels are those
that stay below the bounds of UltraX's released code. Processor times are of one thread. Beside those for texts that
nothing anchors stands what comparing every line with every line by difflib takes, which is how UltraX pairs them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import debian
import record
from resiliparse.extract.html2text import extract_plain_text

from tiers.l3_edited.edit_labels import Confidence, label
from tiers.l3_edited.edit_program import KeepAll, Rejection, dump_program
from tiers.l3_edited.edit_windows import merge, restrict, windows

PACKAGES = (
    "python3.11-doc",
    "debian-handbook",
    "libreoffice-help-en-us",
    "libreoffice-help-ja",
    "linux-doc-6.1",
    "sagemath-doc",
)
EXTRACTION = record.SHARED / "extraction"
Pair = tuple[str, str]


def debian_pairs(pages: int) -> Iterator[Pair]:
    """The whole text of pages and their main content."""
    for package in PACKAGES:
        found = debian.pages(package)
        for path in found[:: max(1, len(found) // pages)][:pages]:
            html = path.read_text("utf-8", "replace")
            yield extract_plain_text(html), extract_plain_text(html, main_content=True)


def article_pairs() -> Iterator[Pair]:
    """The whole text of news and blog pages and the article in it."""
    for name, truth in sorted(json.loads((EXTRACTION / "ground-truth.json").read_text("utf-8")).items()):
        html = gzip.decompress((EXTRACTION / "html" / f"{name}.html.gz").read_bytes())
        yield extract_plain_text(html.decode("utf-8", "replace")), truth["articleBody"]


def unindented(text: str) -> str:
    return re.sub(r"^[ \t]+", "", text, flags=re.MULTILINE)


def delete_lines(lines: list[str], rng: random.Random) -> list[str]:
    at = rng.randrange(len(lines))
    return lines[:at] + lines[at + rng.randint(1, 4) :]


def insert_lines(lines: list[str], rng: random.Random) -> list[str]:
    at = rng.randint(0, len(lines))
    return [
        *lines[:at],
        *rng.choices(["", "A new line.", "Zur Übersicht", "新しい行"], k=rng.randint(1, 3)),
        *lines[at:],
    ]


def move_lines(lines: list[str], rng: random.Random) -> list[str]:
    start, size = rng.randrange(len(lines)), rng.randint(1, 3)
    rest, moved = lines[:start] + lines[start + size :], lines[start : start + size]
    at = rng.randint(0, len(rest))
    return rest[:at] + moved + rest[at:]


def end_lines(lines: list[str], rng: random.Random) -> list[str]:
    return rng.choice([[*lines, ""], lines[:-1], ["", *lines], [line.rstrip() for line in lines]])


def within_line(edit: Callable[[str, random.Random], str]) -> Callable[[list[str], random.Random], list[str]]:
    def edited(lines: list[str], rng: random.Random) -> list[str]:
        long = [number for number, line in enumerate(lines) if len(line) > 3] or [0]
        for number in rng.sample(long, min(len(long), rng.randint(1, 3))):
            lines = [*lines[:number], edit(lines[number], rng), *lines[number + 1 :]]
        return lines

    return edited


def typo(line: str, rng: random.Random) -> str:
    at = rng.randrange(max(1, len(line) - 1))
    return line[:at] + rng.choice([line[at : at + 2][::-1], line[at : at + 1], "x"]) + line[at + 2 :]


def words(line: str, rng: random.Random) -> str:
    parts = line.split(" ")
    at = rng.randrange(len(parts))
    return " ".join(
        [*parts[:at], *rng.choices(["the", "of", "другой", "単語", "x=1"], k=rng.randint(0, 3)), *parts[at + 1 :]]
    )


def odd_characters(line: str, rng: random.Random) -> str:
    at = rng.randint(0, len(line))
    mark = rng.choice("\u00a0\u200b\u00ad\x0c\u2028\x85\r\ufeff\U0001f600\u0301\\\"'")
    return rng.choice([line[:at] + mark + line[at:], line.replace(" ", mark, 2), line + mark])


EDITS = {
    "lines deleted": delete_lines,
    "lines inserted": insert_lines,
    "lines moved": move_lines,
    "ends and blank lines": end_lines,
    "typing errors": within_line(typo),
    "words replaced": within_line(words),
    "odd characters": within_line(odd_characters),
}


def synthetic_pairs(texts: list[str], count: int, seed: int = 0) -> dict[str, list[Pair]]:
    """For each kind of edit, and for all together, `count` pairs; either side of an edit may be the raw text."""
    rng = random.Random(seed)
    pairs: dict[str, list[Pair]] = {name: [] for name in (*EDITS, "all kinds")}
    for name, found in pairs.items():
        kinds = list(EDITS.values()) if name == "all kinds" else [EDITS[name]]
        for text in rng.choices(texts, k=count):
            lines = text.split("\n")
            for _ in range(rng.randint(1, 6 if len(kinds) > 1 else 2)):
                lines = rng.choice(kinds)(lines, rng) or [""]
            pair = (text, "\n".join(lines))
            found.append(pair if rng.random() < 0.5 else pair[::-1])
    return pairs


def carry_out(raw: str, program: str) -> str:
    """Interprets a program as JSON, by the definition of its operations and nothing else."""
    lines: list[list[str]] = [[], *([line] for line in raw.split("\n"))]
    behind: dict[int, list[str]] = {}
    replaced: dict[int, list[tuple[int, str, str]]] = {}
    for operation in json.loads(program):
        match operation:
            case {"op": "keep_all"}:
                return raw
            case {"op": "remove_all"}:
                return ""
            case {"op": "remove_lines", "start": start, "end": end}:
                for number in range(start, end + 1):
                    lines[number] = []
            case {"op": "replace", "line": number, "old": old, "new": new}:
                (line,) = lines[number]
                assert len(re.findall(f"(?={re.escape(old)})", line)) == 1
                replaced.setdefault(number, []).append((line.index(old), old, new))
            case {"op": "insert_lines", "after": number, "lines": added}:
                behind[number] = added
    for number, pieces in replaced.items():
        (line,) = lines[number]
        for at, old, new in sorted(pieces, reverse=True):
            assert line[at : at + len(old)] == old
            line = line[:at] + new + line[at + len(old) :]
        lines[number] = [line]
    return "\n".join(line for number, kept in enumerate(lines) for line in (*kept, *behind.get(number, ())))


def measure(pairs: list[Pair]) -> dict[str, Any]:
    """Labels of `pairs`, with their fates and costs."""
    reasons: Counter[str] = Counter()
    times, operations = [], []
    confident = reproduced = merged = unchanged = 0
    for raw, refined in pairs:
        start = time.process_time()
        program = label(raw, refined)
        times.append(time.process_time() - start)
        if isinstance(program, Rejection):
            reasons[program.reason] += 1
            continue
        operations.append(len(program))
        unchanged += isinstance(program[0], KeepAll)
        confident += Confidence().check(program) is None
        reproduced += carry_out(raw, dump_program(program)) == refined
        found = windows(raw, size=2000)
        whole = merge(found, [restrict(program, window) for window in found])
        merged += carry_out(raw, dump_program(whole)) == refined
    kept = len(operations)
    return {
        "pairs": len(pairs),
        "kept": kept,
        "kept_share": round(kept / len(pairs), 4),
        "kept_reproduced": reproduced,
        "kept_reproduced_in_windows": merged,
        "keep_all": unchanged,
        "confident": confident,
        "rejected": dict(reasons.most_common()),
        "operations_median": statistics.median(operations or [0]),
        "operations_mean": round(statistics.fmean(operations or [0]), 2),
        "cpu_ms_median": round(1000 * statistics.median(times), 3),
        "cpu_ms_mean": round(1000 * statistics.fmean(times), 3),
        "cpu_ms_max": round(1000 * max(times), 3),
    }


def long_pairs(count: int, seed: int = 0) -> dict[str, Pair]:
    """Texts of `count` lines that nothing anchors: random ones, and lines that are all alike."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(3000)]
    random_lines = [" ".join(rng.choices(vocabulary, k=12)) for _ in range(2 * count)]
    alike = [
        f"The value of item {number} in the table of results is {number * 7 % 1000} units." for number in range(count)
    ]
    edited = [line.replace("units", rng.choice(vocabulary)) for line in alike if rng.random() > 0.1]
    mended = [
        " ".join(rng.choice(vocabulary) if rng.random() < 0.1 else w for w in line.split())
        for line in random_lines[:count]
    ]
    pairs = {
        "random lines, others refined": (random_lines[:count], random_lines[count:]),
        "random lines, a tenth of the words replaced": (random_lines[:count], mended),
        "similar lines, each edited, a tenth deleted": (alike, edited),
        "similar lines, others refined": (alike, [line.replace("item ", "item 9") for line in alike][::-1]),
    }
    return {name: ("\n".join(raw), "\n".join(refined)) for name, (raw, refined) in pairs.items()}


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare_all(raw: str, refined: str) -> float:
    """The similarity of each line with each, as difflib gives it."""
    sides = raw.split("\n"), refined.split("\n")
    return max(SequenceMatcher(None, a, b).ratio() for a in sides[0] for b in sides[1])


def long_seconds(sizes: Sequence[int], repeats: int) -> dict[str, dict[str, Any]]:
    """CPU seconds for one label of texts of so many lines, and for comparing the lines of the smallest."""
    result: dict[str, dict[str, Any]] = {}
    for size in sizes:
        for name, pair in long_pairs(size).items():
            row = result.setdefault(name, {})
            row[str(size)] = record.spread([seconds(lambda: label(*pair)) for _ in range(repeats)])  # noqa: B023
            if size == sizes[0]:
                row[f"difflib, {size}"] = record.spread([seconds(lambda: compare_all(*pair))])  # noqa: B023
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=int, default=200, help="pages of each package")
    parser.add_argument("--synthetic", type=int, default=250, help="pairs of each kind of edit")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    real = list(debian_pairs(arguments.pages))
    sets = {"documentation pages": real}
    if EXTRACTION.exists():
        articles = list(article_pairs())
        sets["news and blog pages"] = articles
        sets["the same without indentation"] = [(unindented(raw), refined) for raw, refined in articles]
    sets |= synthetic_pairs([text for _, text in real if text.strip()], arguments.synthetic)

    result: dict[str, Any] = {name: measure(pairs) for name, pairs in sets.items()}
    everything = measure([pair for pairs in sets.values() for pair in pairs])
    long = long_seconds((100, 1000, 2000, 4000), arguments.repeats)
    columns = {
        "pairs": "pairs",
        "labels": "kept",
        "right": "kept_reproduced",
        "in windows": "kept_reproduced_in_windows",
        "confident": "confident",
        "operations": "operations_mean",
        "CPU ms": "cpu_ms_mean",
        "most": "cpu_ms_max",
    }
    rows = [(name, *(row[key] for key in columns.values())) for name, row in (*result.items(), ("all", everything))]
    record.print_table("Edit labels: operations and CPU ms are means", ("pairs", *columns), rows)
    print("rejected:", *(f"{count:,} {reason}" for reason, count in everything["rejected"].items()))
    headings = next(iter(long.values()))
    rows = [(name, *(row[key]["median"] for key in headings)) for name, row in long.items()]
    record.print_table("CPU seconds for one label, by lines of both texts", ("lines", *headings), rows)
    corpus = {
        "packages": list(PACKAGES),
        "documents": len(real),
        "mean_characters": round(statistics.fmean(len(raw) for raw, _ in real)),
        "mean_lines": round(statistics.fmean(raw.count("\n") + 1 for raw, _ in real)),
        "sha256": record.hash_texts(text for pairs in sets.values() for pair in pairs for text in pair),
    }
    path = record.write_result(
        "edit_labels",
        {"sets": result, "all": everything, "cpu_seconds_by_lines": long},
        ("numpy", "resiliparse"),
        corpus,
    )
    print(f"wrote {path.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
