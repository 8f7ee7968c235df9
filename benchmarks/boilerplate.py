"""What `boilerplate` takes out that it should, what it shouldn't, and what it costs.

    python benchmarks/boilerplate.py     # pages beside the project, and of Debian's documentation packages

News and blog pages with their article text (half of scrapinghub's article extraction benchmark): every line of the
article that goes is a false removal, counted in the article alone and in the text of its whole page; the lines of the
whole page that aren't in the article are what should go, most of them menu items, headlines and comments that no rule
about single lines can know. The rules were adjusted on these pages and on the documentation, so that the shares of
false removals are lower bounds. Documentation: what goes from the main text of pages, by rule. Speed in process CPU
time, median over repetitions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import debian
import record
from resiliparse.extract.html2text import extract_plain_text

from tiers.l1_filtered.boilerplate import mark_lines, without_boilerplate
from tiers.l1_filtered.normalise import normalise

LONG_ENOUGH = 25
PACKAGES = (
    *("debian-handbook", "python3.11-doc", "linux-doc-6.1", "openjdk-17-doc"),
    *(f"libreoffice-help-{language}" for language in ("en-us", "de", "es", "fr", "ja", "ru", "zh-cn")),
)


def articles(folder: Path) -> Iterator[tuple[str, str]]:
    """(article, text of its whole page)"""
    for name, article in sorted(json.loads((folder / "ground-truth.json").read_text()).items()):
        page = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()).decode("utf-8", "replace")
        yield normalise(article["articleBody"])[0], normalise(extract_plain_text(page, main_content=False))[0]


def count(texts: list[str], belongs: list[str] | None = None) -> dict[str, Any]:
    """Lines and characters that go, by rule, with some of them; of those in `belongs`, or not, where that is given."""
    lines = characters = gone_characters = 0
    rules: Counter[str] = Counter()
    examples: Counter[str] = Counter()
    for number, text in enumerate(texts):
        for line, mark in zip(text.split("\n"), mark_lines(text), strict=True):
            if line.strip() and (belongs is None or _within(line, belongs[number])):
                lines += 1
                characters += len(line)
                gone_characters += len(line) if mark else 0
                if mark:
                    rules[mark.rule.value] += 1
                    examples[line.strip()[:80]] += 1
    gone = sum(rules.values())
    return {
        "lines": lines,
        "gone": gone,
        "characters": characters,
        "gone_characters": gone_characters,
        "share_of_lines": round(gone / lines, 5),
        "share_of_characters": round(gone_characters / characters, 5),
        "rules": dict(rules.most_common()),
        "most_frequent": dict(examples.most_common(12)),
    }


def _within(line: str, article: str) -> bool:
    """Whether a line of the page is one of the article; short ones must be whole lines there."""
    line = line.strip("•- ")
    return f"\n{line}\n" in f"\n{article}\n" or (len(line) >= LONG_ENOUGH and line in article)


def rate(texts: list[str], repeats: int) -> dict[str, Any]:
    """Documents per CPU second."""
    rates = []
    for _ in range(repeats):
        start = time.process_time()
        for text in texts:
            without_boilerplate(text)
        rates.append(len(texts) / (time.process_time() - start))
    return record.spread(rates, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, default=debian.CACHE)
    parser.add_argument("--pages", type=int, default=200, help="of each package, about")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    result: dict[str, Any] = {}
    folder = record.SHARED / "extraction"
    if folder.exists():
        gold, pages = map(list, zip(*articles(folder), strict=True))
        result["article text"] = count(gold)
        result["articles within their pages"] = count(pages, gold)
        whole = count(pages)
        inside = result["articles within their pages"]
        around = {key: whole[key] - inside[key] for key in ("lines", "gone", "characters", "gone_characters")}
        result["pages around them"] = {
            **around,
            "share_of_lines": round(around["gone"] / around["lines"], 5),
            "share_of_characters": round(around["gone_characters"] / around["characters"], 5),
            "rules": dict(Counter(whole["rules"]) - Counter(inside["rules"])),
        }
        result["documents_per_cpu_second, pages"] = rate(pages, arguments.repeats)
    for package in PACKAGES:
        texts = [normalise(text)[0] for text in debian.texts(package, arguments.pages, arguments.cache)]
        result[package] = count(texts)
        if package == "python3.11-doc":
            cut = [text[:4000] for text in texts if len(text) >= 4000]
            result["documents_per_cpu_second, 4,000 characters of documentation"] = rate(cut, arguments.repeats)
    rows = [
        (
            name,
            found["lines"],
            found["gone"],
            f"{found['share_of_lines']:.2%}",
            f"{found['share_of_characters']:.2%}",
        )
        for name, found in result.items()
        if "lines" in found
    ]
    record.print_table("Lines that go", ("text", "lines", "gone", "share", "of characters"), rows)
    for name, found in result.items():
        if name.startswith("documents"):
            print(f"{name}: {found['median']:,.0f}")
    about = {"packages": list(PACKAGES), "pages_of_each": arguments.pages, "articles": folder.exists()}
    print(f"wrote {record.write_result('boilerplate', result, ('resiliparse',), about).relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
