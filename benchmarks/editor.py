"""What the packaged editor removes that it should, what it shouldn't, and what that costs, on texts it hasn't seen.

    python benchmarks/editor.py                        # hours on two cores; --windows 10 --documents 10 is a glance
    python benchmarks/editor.py --replies FILE …       # scores replies that were written elsewhere

Windows of four sets (`editor_data.py` says which they are): other pages of packages that were trained on, packages that
weren't, synthetic pages of those, and news and blog pages with the article that people marked. The program that is
asked for is the label of the pair; a line that it removes should go, every other one is content. Blank lines aren't
counted. Replies are greedy. Rules are those of the stage `boilerplate`; with `--untrained`, the same model without the
adapter is asked too.

Documents are worthless (by their pages' names, or news pages without their article) or not. They are judged by the
verdict on their beginning, and by whether every window's program says `remove_all`.

A file of replies has JSON lines with `set`, `text`, `expected`, `reply`, and `whole`: whether the reply had an end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import editor_data
import record
from editor_data import Page

from tiers.l1_filtered.boilerplate import mark_lines
from tiers.l3_edited.edit_examples import edit_examples
from tiers.l3_edited.edit_program import (
    Guards,
    Program,
    Rejection,
    RemoveAll,
    RemoveLines,
    apply_program,
    parse_program,
)
from tiers.l3_edited.edit_verdict import verdict_request, worthless
from tiers.l3_edited.edit_windows import windows
from tiers.l3_edited.program_editor import PACKAGED, EditByProgram
from tiers.llm import Finish
from tiers.llm.models import default_models
from tiers.llm.transformers_llm import TransformersLLM

MODEL = "qwen2.5-coder-0.5b"
STAGE = EditByProgram(llm=MODEL, window=3000, max_tokens=160)
EVERYTHING = '[{"op":"remove_all"}]'
GUARDS = Guards(max_deleted=1, max_inserted=200, allow_remove_all=True)


class Reply(NamedTuple):
    """What an editor replied about a window, and what it was to reply."""

    set: str
    text: str
    expected: str
    reply: str
    whole: bool


def held_out_pages() -> dict[str, list[Page]]:
    rng = random.Random(5)
    trained = [page for name in editor_data.TRAINED for page in editor_data.package_pages(name, 60, rng)]
    others = [page for name in editor_data.HELD_OUT for page in editor_data.package_pages(name, 100, rng)]
    prose = [text for text in editor_data.passages() if editor_data.held_out(text, 6)]
    web = [block for block in editor_data.web_blocks() if editor_data.held_out(block, 25)]
    return {
        "pages": [page for page in trained if editor_data.held_out(page.id, 6)],
        "packages": others,
        "synthetic": list(editor_data.Mixer(others, prose, web, seed=3).pages_of(200, 0)),
        "articles": list(editor_data.article_pages()),
    }


def examples(pages: Sequence[Page], count: int) -> list[tuple[str, str]]:
    """(text, program) of `count` windows of different pages."""
    found: list[tuple[str, str]] = []
    for page in random.Random(0).sample(pages, len(pages)):
        rows = edit_examples([page], size=STAGE.window).table.to_pylist() if page.refined else []
        if rows and len(found) < count:
            row = random.Random(page.id).choice(rows)
            lines = page.raw.split("\n")[row["first_line"] - 1 : row["last_line"]]
            found.append(("\n".join(lines), row["program"]))
    return found


def ask(llm: TransformersLLM, sets: dict[str, list[tuple[str, str]]]) -> list[Reply]:
    asked = [(name, *example) for name, part in sets.items() for example in part]
    results = llm.complete([STAGE.request(text) for _, text, _ in asked])
    return [
        Reply(name, text, expected, result.text.strip(), result.finish is Finish.STOP)
        for (name, text, expected), result in zip(asked, results, strict=True)
    ]


def removed(program: Program | Rejection, text: str) -> set[int]:
    """Numbers of the lines that a program removes, if it can be carried out."""
    if isinstance(program, Rejection) or isinstance(apply_program(text, program, GUARDS), Rejection):
        return set()
    if program == (RemoveAll(),):
        return set(range(1, text.count("\n") + 2))
    spans = [operation for operation in program if isinstance(operation, RemoveLines)]
    return {number for span in spans for number in range(span.start, span.end + 1)}


def score(replies: Iterable[Reply]) -> dict[str, dict[str, Any]]:
    """Shares by set, of windows and of lines."""
    sets: dict[str, list[Reply]] = defaultdict(list)
    for reply in replies:
        sets[reply.set].append(reply)
    return {name: _scored(part) for name, part in sets.items()}


def _scored(replies: Sequence[Reply]) -> dict[str, Any]:
    junk = content = gone = lost = rules_gone = rules_lost = valid = carried_out = exact = 0
    for reply in replies:
        visible = {number for number, line in enumerate(reply.text.split("\n"), 1) if line.strip()}
        wanted = removed(parse_program(reply.expected), reply.text) & visible
        program = parse_program(reply.reply)
        if reply.whole and not isinstance(program, Rejection):
            valid += 1
            carried_out += not isinstance(apply_program(reply.text, program, GUARDS), Rejection)
            exact += program == parse_program(reply.expected)
            got = removed(program, reply.text) & visible
            gone, lost = gone + len(got & wanted), lost + len(got - wanted)
        marked = {number for number, mark in enumerate(mark_lines(reply.text), 1) if mark} & visible
        rules_gone, rules_lost = rules_gone + len(marked & wanted), rules_lost + len(marked - wanted)
        junk, content = junk + len(wanted), content + len(visible - wanted)
    shares = {"valid": valid, "carried_out": carried_out, "exact": exact}
    return {
        "windows": len(replies),
        **{name: round(count / len(replies), 4) for name, count in shares.items()},
        "junk_lines": junk,
        "junk_removed": round(gone / max(1, junk), 4),
        "content_lines": content,
        "content_lost": round(lost / max(1, content), 4),
        "rules_junk_removed": round(rules_gone / max(1, junk), 4),
        "rules_content_lost": round(rules_lost / max(1, content), 4),
    }


def judged(llm: TransformersLLM, sets: dict[str, list[Page]], count: int) -> dict[str, Any]:
    """How worthless documents and others look, `count` of each, none of them longer than two windows."""
    short = [page for name in ("pages", "packages") for page in sets[name] if 200 < len(page.raw) < 2 * STAGE.window]
    bare = [Page(page.id, without_article(page)[: STAGE.window], "") for page in sets["articles"]]
    rng = random.Random(1)
    worst = [page for page in short if not page.refined]
    worst = [*rng.sample(worst, min(count // 2, len(worst))), *rng.sample(bare, count - min(count // 2, len(worst)))]
    found = [*worst, *rng.sample([page for page in short if page.refined], count)]
    likely = [worthless(result) for result in llm.complete([verdict_request(page.raw) for page in found])]
    parts = [[window.of(page.raw.split("\n")) for window in windows(page.raw, STAGE.window)] for page in found]
    replies = iter(llm.complete([STAGE.request(text) for part in parts for text in part]))
    emptied = [all([next(replies).text == EVERYTHING for _ in part]) for part in parts]
    pairs = [(a, b) for a in likely[: len(worst)] for b in likely[len(worst) :]]
    return {
        "worthless": len(worst),
        "others": len(found) - len(worst),
        "auc": round(sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs), 4),
        **{
            f"dropped above {at}": [
                _share(x > at for x in likely[: len(worst)]),
                _share(x > at for x in likely[len(worst) :]),
            ]
            for at in (0.5, 0.8, 0.9, 0.95)
        },
        "every window remove_all": [_share(emptied[: len(worst)]), _share(emptied[len(worst) :])],
    }


def _share(values: Iterable[bool]) -> float:
    found = list(values)
    return round(sum(found) / max(1, len(found)), 4)


def without_article(page: Page) -> str:
    """The lines of a page that aren't in its article."""
    left = {line.strip() for line in page.refined.split("\n")}
    lines = page.raw.split("\n")
    return "\n".join(
        line for line in lines if line.strip() not in left and not (len(line) > 60 and line.strip() in page.refined)
    )


def read_replies(path: Path) -> Iterator[Reply]:
    for line in path.read_text("utf-8").splitlines():
        yield Reply(**json.loads(line))


def show(title: str, sets: dict[str, dict[str, Any]]) -> None:
    columns = {
        "windows": "windows",
        "valid": "valid",
        "exact": "exact",
        "junk gone": "junk_removed",
        "content lost": "content_lost",
        "by rules": "rules_junk_removed",
        "lost by rules": "rules_content_lost",
    }
    rows = [(name, *(row[key] for key in columns.values())) for name, row in sets.items()]
    record.print_table(title, ("set", *columns), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--windows", type=int, default=50, help="of each set")
    parser.add_argument("--documents", type=int, default=40, help="worthless ones, and as many others")
    parser.add_argument("--untrained", action="store_true", help="ask the model without the adapter too")
    parser.add_argument("--replies", type=Path, nargs="*", default=[], help="files of replies written elsewhere")
    arguments = parser.parse_args()

    result: dict[str, Any] = {path.stem: score(read_replies(path)) for path in arguments.replies}
    for name, part in result.items():
        show(name, part)
    pages = held_out_pages() if arguments.windows or arguments.documents else {}
    sets = {name: examples(part, arguments.windows) for name, part in pages.items() if arguments.windows}
    llm = TransformersLLM(MODEL, default_models(), adapter=PACKAGED) if pages else None
    if llm is not None and sets:
        start = time.process_time()
        result["packaged"] = score(ask(llm, sets))
        result["cpu_seconds_a_window"] = round((time.process_time() - start) / sum(map(len, sets.values())), 2)
        show("packaged", result["packaged"])
        print(f"CPU seconds a window: {result['cpu_seconds_a_window']}", flush=True)
    if llm is not None and arguments.documents:
        result["verdicts"] = judged(llm, pages, arguments.documents)
        print(json.dumps(result["verdicts"], indent=1), flush=True)
    if arguments.untrained and sets:
        result["untrained"] = score(ask(TransformersLLM(MODEL, default_models()), sets))
        show("untrained", result["untrained"])
    corpus = {
        "held_out_packages": list(editor_data.HELD_OUT),
        "windows": record.hash_texts(text for part in sets.values() for text, _ in part),
    }
    path = record.write_result("editor", result, ("torch", "transformers", "peft", "resiliparse"), corpus)
    print(f"wrote {path.relative_to(record.ROOT)}")


if __name__ == "__main__":
    main()
