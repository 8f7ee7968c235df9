"""Formulas: whether conversions agree with the TeX that pages carry, that none is lost, and what it all costs.

    python benchmarks/formulas.py                     # pages with MathML beside the project
    python benchmarks/formulas.py --pages FOLDER      # and, for the speed, HTML pages with formulas in any folder

Agreement: MathML with an annotation is converted without it, and both are compared as trees: white space, spacing
commands, superfluous braces, `\\left` and `\\right` and names of the same symbol don't count.
Speed is process CPU time, the median over rounds: of the test whether a page may hold formulas, on news pages that hold
none, and of writing formulas. The extraction of the same pages' text stands beside it.
"""

from __future__ import annotations

import argparse
import gzip
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import record
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import DocumentNode, HTMLTree

from tiers.l0_raw.math import write_formulas
from tiers.l0_raw.math.latex import normal_form
from tiers.l0_raw.math.marks import formula_selector, marks_of
from tiers.l0_raw.math.mathml import latex_of_mathml, tex_source

FORMULAS = "math, mjx-container, .mwe-math-element"
_ANNOTATION = re.compile(r"<annotation\b.*?</annotation>", re.DOTALL)
_ALTTEXT = re.compile(r' alttext="[^"]*"')
_TOKEN = re.compile(r"\\(?:[a-zA-Z]+\*?|.)|[^\s~]", re.DOTALL)
_IGNORED = re.compile(r"\\(?:[,;:!> ]|q?quad|left|right|displaystyle|textstyle|limits|nolimits)$")
_SAME = {
    r"\ge": r"\geq", r"\le": r"\leq", r"\ne": r"\neq", r"\rightarrow": r"\to", r"\ast": "*", r"\dots": r"\ldots",
    r"\mbox": r"\text", r"\textrm": r"\text", r"\overline": r"\bar", r"\widehat": r"\hat", r"\lbrace": r"\{",
    r"\rbrace": r"\}", r"\vert": "|", r"\Longleftrightarrow": r"\iff", r"\Longrightarrow": r"\implies", r"\colon": ":",
    r"\land": r"\wedge", r"\lor": r"\vee", r"\gets": r"\leftarrow", r"\prime": "'", r"\operatorname": r"\mathrm",
}  # fmt: skip


_TWO_ARGUMENTS = (r"\frac", r"\binom", r"\overset", r"\underset")


def tree(latex: str) -> list[Any]:
    """LaTeX as nested lists of tokens: a list is an argument of more than one token."""
    levels: list[list[Any]] = [[]]
    awaited = [0]  # arguments that the last command of each level still takes
    for token in _TOKEN.findall(latex.replace(r"\\\end", r"\end").replace(r"\\ \end", r"\end")):
        if _IGNORED.match(token):
            continue
        if token == "{":
            levels.append([])
            awaited.append(0)
        elif token == "}" and len(levels) > 1:
            inner = levels.pop()
            awaited.pop()
            levels[-1].extend([inner] if awaited[-1] and len(inner) != 1 else inner)
            awaited[-1] = max(0, awaited[-1] - 1)
        else:
            levels[-1].append(_SAME.get(token, token))
            takes = 2 if token in _TWO_ARGUMENTS else 1 if token in "^_" or re.match(r"\\[a-zA-Z]", token) else 0
            awaited[-1] = takes or max(0, awaited[-1] - 1)
    return levels[0]


def root(page: HTMLTree) -> DocumentNode:
    """The outermost node of a page."""
    assert page.document is not None
    return page.document


def agreement(pages: list[str]) -> Iterator[tuple[str, str, bool]]:
    """Each annotated formula's source, what its presentation markup was converted to, and whether they are equal."""
    for page in pages:
        for math in root(HTMLTree.parse(page)).query_selector_all("math").values():
            source = normal_form(tex_source(math.html)) if "<annotation" in math.html else None
            if source is not None:
                converted = normal_form(latex_of_mathml(_ALTTEXT.sub("", _ANNOTATION.sub("", math.html))))
                found = converted.latex if converted else ""
                yield source.latex, found, tree(source.latex) == tree(found)


def counts(page: str) -> tuple[int, int]:
    """How many outermost elements of a page are formulas, and how many were written."""
    parsed = HTMLTree.parse(page)
    elements = root(parsed).query_selector_all(FORMULAS).values()
    parents = [one.parent_element for one in elements]
    return sum(parent is None or parent.closest(FORMULAS) is None for parent in parents), write_formulas(parsed)


def may_hold_formulas(page: bytes) -> bool:
    return formula_selector(marks_of(page), page) is not None


def seconds(work: Callable[[], Any], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def write_speed(pages: list[str], rounds: int) -> dict[str, float]:
    """CPU time of writing: trees are parsed anew for each round, outside of the time."""
    taken, formulas = [], 0
    for _ in range(rounds):
        trees = [HTMLTree.parse(page) for page in pages]
        start = time.process_time()
        formulas = sum(map(write_formulas, trees))
        taken.append(time.process_time() - start)
    extraction = seconds(lambda: [extract_plain_text(page, main_content=True) for page in pages], 3)
    middle = statistics.median(taken)
    return {
        "pages": len(pages),
        "formulas": formulas,
        "us_per_formula": round(middle / max(formulas, 1) * 1e6, 1),
        "ms_per_page": round(middle / len(pages) * 1e3, 3),
        "share_of_extraction": round(middle / extraction, 3),
    }


def read(path: Path) -> str:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return content.decode("utf-8", "replace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, help="a folder of HTML pages with formulas")
    parser.add_argument("--limit", type=int, default=200, help="how many of them, evenly spread over the sorted names")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--differences", action="store_true", help="print formulas that do not agree")
    options = parser.parse_args()
    mathml = sorted((record.SHARED / "mathml").rglob("*.html")) + sorted(
        (record.SHARED / "mathml").rglob("source.html.gz")
    )
    plain = sorted((record.SHARED / "extraction" / "html").glob("*.html.gz"))
    if not mathml or not plain:
        raise SystemExit(f"needs the pages in {record.SHARED}")

    pages = [read(path) for path in mathml]
    pairs = list(agreement(pages))
    for source, found, equal in pairs if options.differences else ():
        if not equal:
            print(f"- {source}\n+ {found}\n")
    counted = [counts(page) for page in pages]
    without = [page for page in map(read, plain) if not counts(page)[1]]
    encoded = [page.encode() for page in without]
    test = seconds(lambda: [may_hold_formulas(page) for page in encoded], options.rounds)
    extraction = seconds(lambda: [extract_plain_text(page, main_content=True) for page in without], 3)
    result = {
        "annotated_formulas": len(pairs),
        "equal_to_annotation": sum(equal for *_, equal in pairs),
        "formula_elements": sum(elements for elements, _ in counted),
        "formulas_written": sum(written for _, written in counted),
        "pages_without_formulas": len(without),
        "of_which_may_hold_some": sum(map(may_hold_formulas, encoded)),
        "may_hold_formulas_us_per_page": round(test / len(without) * 1e6, 1),
        "may_hold_formulas_share_of_extraction": round(test / extraction, 4),
        "mathml": write_speed(
            [page for page, (elements, _) in zip(pages, counted, strict=True) if elements], options.rounds
        ),
    }
    if options.pages:
        files = [path for path in sorted(options.pages.rglob("*.html")) if "_static" not in path.parts]
        files = files[:: max(1, len(files) // options.limit)][: options.limit]
        result["folder"] = {"name": options.pages.name, **write_speed([read(path) for path in files], options.rounds)}
    rows = [(f"{group}: {key}", value) for group, figures in result.items() if isinstance(figures, dict)
            for key, value in figures.items()]  # fmt: skip
    record.print_table("Formulas", ["", ""], [*((k, v) for k, v in result.items() if not isinstance(v, dict)), *rows])
    corpus = {
        "name": "mathml, extraction",
        "pages": len(mathml) + len(plain),
        "sha256": record.hash_files(mathml + plain),
    }
    record.write_result("formulas", result, ["resiliparse"], corpus)


if __name__ == "__main__":
    main()
