"""What `normalise` costs, and what its repair of double-encoded text mends and harms.

    python benchmarks/normalise.py      # pages of Debian's documentation packages, fetched with apt-get

Pages in eight languages and scripts, cut to 4,000 characters. Each page is encoded as UTF-8 and read as a one-byte
encoding, once or twice, and repaired: a damaged line counts as mended if it is what it was. Lines of the intact pages
that the repair changes are harmed. Speed in process CPU time, median over repetitions. Where ftfy is installed
(`pip install ftfy`), it does the same.
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

from tiers.l1_filtered.mojibake import repair_encoding
from tiers.l1_filtered.normalise import normalise

PACKAGES = {"en": "python3.11-doc"} | {
    language.removesuffix("-cn"): f"libreoffice-help-{language}" for language in ("de", "es", "fr", "ja", "ru", "zh-cn")
}
SIZE = 4000
# With the C1 controls in the gaps, as browsers have it.
WESTERN = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256)}
CYRILLIC = {byte: bytes([byte]).decode("cp1251", "ignore") or chr(byte) for byte in range(256)}
LATIN = {byte: chr(byte) for byte in range(256)}


def damaged(text: str, table: dict[int, str], times: int = 1) -> str:
    """`text` written as UTF-8 and read by `table`, several times."""
    for _ in range(times):
        text = "".join(table[byte] for byte in text.encode())
    return text


DAMAGES: dict[str, Callable[[str], str]] = {
    "windows-1252": lambda text: damaged(text, WESTERN),
    "latin-1": lambda text: damaged(text, LATIN),
    "windows-1252, twice": lambda text: damaged(text, WESTERN, 2),
    "windows-1251": lambda text: damaged(text, CYRILLIC),
}


def contestants() -> dict[str, tuple[Callable[[str], str], Callable[[str], Any]]]:
    """For each side its repair of encodings, and all that it does to a text."""
    sides: dict[str, tuple[Callable[[str], str], Callable[[str], Any]]] = {
        "tierline": (lambda text: repair_encoding(text)[0], normalise)
    }
    if find_spec("ftfy"):
        import ftfy

        sides["ftfy"] = (ftfy.fix_encoding, ftfy.fix_text)
    return sides


def changed_lines(before: list[str], after: list[str], repair: Callable[[str], str]) -> tuple[int, int]:
    """Of pages that differ: lines that differ, and how many of these `repair` turns from the second into the first."""
    different = right = 0
    for good, bad in zip(before, after, strict=True):
        mended = repair(bad).split("\n")
        for line, damaged_line, mended_line in zip(good.split("\n"), bad.split("\n"), mended, strict=True):
            different += line != damaged_line
            right += line != damaged_line and line == mended_line
    return different, right


def rate(run: Callable[[str], Any], texts: list[str], repeats: int) -> dict[str, Any]:
    """Documents per CPU second."""
    rates = []
    for _ in range(repeats):
        start = time.process_time()
        for text in texts:
            run(text)
        rates.append(len(texts) / (time.process_time() - start))
    return record.spread(rates, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, default=debian.CACHE)
    parser.add_argument("--pages", type=int, default=150, help="of each package, about")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    corpus = {
        language: [normalise(text)[0][:SIZE] for text in debian.texts(package, arguments.pages, arguments.cache, False)]
        for language, package in PACKAGES.items()
    }
    everything = [text for texts in corpus.values() for text in texts]
    ascii_texts = [normalise(text.encode("ascii", "ignore").decode())[0] for text in corpus["en"]]
    result: dict[str, Any] = {}
    rows = []
    for side, (repair, whole) in contestants().items():
        mended = {}
        for name, damage in DAMAGES.items():
            texts = corpus["ru"] if name == "windows-1251" else everything
            lines, right = changed_lines(texts, [damage(text) for text in texts], repair)
            mended[name] = {"damaged_lines": lines, "mended": right}
        intact = [line for text in everything for line in text.split("\n") if not line.isascii()]
        harmed = sum(repair(line) != line for line in intact)
        speed = {
            name: rate(whole, texts, arguments.repeats)
            for name, texts in {"all": everything, "ASCII": ascii_texts, "fr": corpus["fr"], "zh": corpus["zh"]}.items()
        }
        result[side] = {
            "mended": mended,
            "intact_lines_beyond_ascii": len(intact),
            "harmed": harmed,
            "documents_per_cpu_second": speed,
        }
        shares = [f"{case['mended'] / case['damaged_lines']:.2%}" for case in mended.values()]
        rows.append((side, *shares, f"{harmed} of {len(intact)}", *(round(each["median"]) for each in speed.values())))
    record.print_table(
        f"Damaged lines mended, intact lines harmed, and documents per CPU second ({len(everything)} documents)",
        ("", "1252", "latin-1", "twice", "1251", "harmed", "docs/s", "ASCII", "French", "Chinese"),
        rows,
    )
    about = {
        "packages": list(PACKAGES.values()),
        "documents": len(everything),
        "ascii_documents": len(ascii_texts),
        "mean_characters": {name: round(sum(map(len, texts)) / len(texts)) for name, texts in corpus.items()},
        "sha256": record.hash_texts(everything),
    }
    packages = ("resiliparse", *(["ftfy"] if find_spec("ftfy") else []))
    print(f"wrote {record.write_result('normalise', result, packages, about).relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
