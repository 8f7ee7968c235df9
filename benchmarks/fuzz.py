"""What harmed input does to the readers of archives and to the extraction of text from HTML.

Records: one record of a real archive (WARC or ARC, plain, in members, or as one member) is harmed among whole ones:
flipped, cut, doubled, overwritten, its header edited, its length a lie. Nothing may raise or take a minute, every row
must be there once, and the three neighbours must be kept as they were.

Pages: a real page is harmed between two whole ones, and the table goes through `ExtractHtml`. Nothing may raise, the
outcome must balance, and the two neighbours must come out as they did alone.

Cases are numbered, and a number always makes the same case. They run in child processes, so that a fault that ends the
process is counted too, as is a case that takes more than 60 CPU seconds. `--show N` writes the input of a case.

    python benchmarks/fuzz.py --records 100000 --pages 100000 [--first 0]
    python benchmarks/fuzz.py --show records:4711 > harmed.warc
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import record

sys.path.insert(0, str(record.ROOT))

from tests.mutations import PAGE_MUTATIONS
from tests.tiers.l0_raw.fuzzing import check_case, make_case, material
from tiers.document import documents
from tiers.l0_raw import CONTENT, ExtractHtml, format_of
from tiers.l0_raw.arc import ARC
from tiers.l0_raw.warc import WARC
from tiers.stage import Context, check_outcome

GRAMMARS = {"warc": WARC, "arc": ARC}
CHUNK = 5_000
CASE_SECONDS = 60
Check = Callable[[int], str]
"""Runs the case of a number; gives its kind, or raises what is wrong."""


def archives(form: str) -> list[bytes]:
    paths = sorted((record.SHARED / "warc").glob("*arc*.gz"))
    return [path.read_bytes() for path in paths if format_of(path.name) == form]


def records_check() -> Check:
    materials = [material(form, grammar, archives(form)) for form, grammar in GRAMMARS.items()]
    return lambda number: check_case(materials, number)


def real_pages() -> list[bytes]:
    """Pages of news sites, and those of the archives, each once, at most 100 kB."""
    pages = {gzip.decompress(path.read_bytes()): None for path in sorted(record.SHARED.glob("extraction/html/*.gz"))}
    for form, grammar in GRAMMARS.items():
        pages |= {page: None for _, page in material(form, grammar, archives(form)).kept}
    return [page for page in pages if 200 <= len(page) <= 100_000]


def harmed_page(pages: Sequence[bytes], number: int) -> tuple[str, bytes]:
    """(name of its kind, the page) of the case of this number."""
    chance = random.Random(number)
    page, names = chance.choice(pages), []
    for _ in range(chance.choice((1, 1, 2))):
        mutation = chance.choice(PAGE_MUTATIONS)
        page = mutation(page, chance)
        names.append(mutation.__name__)
    return names[0] if len(names) == 1 else "two of them", page


def pages_check() -> Check:
    pages = real_pages()
    stage = ExtractHtml()
    apply = stage.prepare(Context(models=Path("none")))

    def table_of(contents: Sequence[bytes]) -> object:
        row = {"text": "", "record.mime": "text/html"}
        rows = [{**row, "source": f"x#{at}", "record.content": content} for at, content in enumerate(contents)]
        return documents(rows, CONTENT)

    whole: list[bytes] = []
    for page in sorted(pages, key=len):
        if apply(table_of([page])).kept.num_rows and len(whole) < 2:
            whole.append(page)
    alone = [apply(table_of([page])).kept["text"].to_pylist() for page in whole]

    def check(number: int) -> str:
        kind, harmed = harmed_page(pages, number)
        table = table_of([whole[0], harmed, whole[1]])
        outcome = apply(table)
        check_outcome(stage, table, outcome)
        texts = dict(zip(outcome.kept["source"].to_pylist(), outcome.kept["text"].to_pylist(), strict=True))
        assert [texts["x#0"]] == alone[0], f"{kind}: the page before comes out otherwise"
        assert [texts["x#2"]] == alone[1], f"{kind}: the page behind comes out otherwise"
        assert "\0" not in texts.get("x#1", ""), f"{kind}: NUL in the text"
        return kind

    return check


CHECKS: dict[str, Callable[[], Check]] = {"records": records_check, "pages": pages_check}


def run_child(kind: str, first: int, count: int, progress: Path) -> None:
    """Runs cases and prints what they were; the file of progress names the one that is running."""
    check = CHECKS[kind]()
    kinds: Counter[str] = Counter()
    failures = []
    with progress.open("wb", buffering=0) as file:
        for number in range(first, first + count):
            file.seek(0)
            file.write(b"%020d" % number)
            signal.setitimer(signal.ITIMER_VIRTUAL, CASE_SECONDS)
            try:
                kinds[check(number)] += 1
            except BaseException as error:  # a panic of a library is no Exception
                failures.append({"case": f"{kind}:{number}", "error": f"{type(error).__name__}: {error}"[:300]})
    print(json.dumps({"kinds": kinds, "failures": failures}))


def run_cases(kind: str, first: int, count: int) -> tuple[Counter[str], list[dict[str, str]]]:
    """Runs cases in child processes; one that ends its process is a failure, and the next goes on behind it."""
    kinds: Counter[str] = Counter()
    failures: list[dict[str, str]] = []
    at, end = first, first + count
    while at < end:
        size = min(CHUNK, end - at)
        with tempfile.TemporaryDirectory() as folder:
            progress = Path(folder) / "case"
            command = [sys.executable, __file__, "--child", f"{kind}:{at}:{size}:{progress}"]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
            if done.returncode > 0 or not progress.exists():
                sys.exit(f"the child that was to run {kind}:{at} could not")
            if done.returncode < 0:
                size = int(progress.read_bytes()) - at
                died = signal.Signals(-done.returncode).name
                failures.append({"case": f"{kind}:{at + size}", "error": f"the process ended with {died}"})
                if size:
                    more_kinds, more_failures = run_cases(kind, at, size)
                    kinds, failures = kinds + more_kinds, failures + more_failures
                at += size + 1
                continue
        result = json.loads(done.stdout)
        kinds.update(result["kinds"])
        failures += result["failures"]
        at += size
        print(f"{kind}: {at - first:,} of {count:,}, {len(failures)} failures", file=sys.stderr)
    return kinds, failures


def show(case: str) -> bytes:
    kind, number = case.split(":")
    if kind == "pages":
        return harmed_page(real_pages(), int(number))[1]
    return make_case([material(form, grammar, archives(form)) for form, grammar in GRAMMARS.items()], int(number))[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--show", help="write the input of a case")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not record.SHARED.exists():
        sys.exit(f"real pages and archives are needed at {record.SHARED}")
    if arguments.child:
        kind, first, count, progress = arguments.child.split(":", 3)
        return run_child(kind, int(first), int(count), Path(progress))
    if arguments.show:
        sys.stdout.buffer.write(show(arguments.show))
        return None
    result: dict[str, object] = {}
    for kind, count in (("records", arguments.records), ("pages", arguments.pages)):
        if count:
            started = time.perf_counter()
            kinds, failures = run_cases(kind, arguments.first, count)
            seconds = round(time.perf_counter() - started)
            result[kind] = {
                "cases": count,
                "seconds": seconds,
                "kinds": dict(sorted(kinds.items())),
                "failures": failures,
            }
            rows = [(name, number) for name, number in sorted(kinds.items())]
            record.print_table(f"{kind}: {count:,} cases, {len(failures)} failures", ("passed", "cases"), rows)
            for failure in failures[:20]:
                print(failure["case"], failure["error"])
    print(record.write_result("fuzz", result, ("fastwarc", "resiliparse", "pyarrow")))
    return None


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
