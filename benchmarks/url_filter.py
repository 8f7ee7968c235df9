"""URL lists: speed and memory of Tierline's filter and of datatrove's on the same lists of hosts.

    python benchmarks/url_filter.py

A million made-up domains are listed in a file; URLs have hosts on, below and beside them, every host once, which is the
worst case. Each side runs in a process of its own, so that memory is its own: what the resident set has grown by when
the filter is built. Speed is URLs per CPU second, with and without word lists, the median of several rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record

BATCH = 256
WORDS = {"hard_words": ["spamword"], "soft_words": ["cheap", "pills"], "substrings": ["freecasino"]}
THEIR_NAMES = {"hard_words": "banned_words", "soft_words": "soft_banned_words", "substrings": "banned_subwords"}
ENDS = ("com", "org", "net", "de", "co.uk", "com.br")


def domains(count: int, seed: int) -> list[str]:
    order = random.Random(seed)
    return [f"{''.join(order.choices(string.ascii_lowercase, k=9))}.{order.choice(ENDS)}" for _ in range(count)]


def urls(listed: list[str], count: int) -> list[str]:
    """URLs of which one in ten is of a listed domain or one below it."""
    order = random.Random(2)
    hosts = domains(count - count // 10, 3) + order.sample(listed, count // 10)
    order.shuffle(hosts)
    subs = ("", "www.", "blog.", "a.b.")
    return [
        f"https://{order.choice(subs)}{host}/{host[:4]}/{host[2:9]}.html?id={order.randrange(999)}" for host in hosts
    ]


def ours(path: Path, words: dict[str, list[str]]) -> Callable[[list[Any]], int]:
    from tiers.l1_filtered.url_filter import UrlFilter
    from tiers.stage import Context

    apply = UrlFilter.model_validate({"block": {"listed": str(path)}, **words}).prepare(Context(models=Path("none")))
    return lambda tables: sum(apply(table).dropped.num_rows for table in tables)


def our_rows(judged: list[str]) -> list[Any]:
    from tiers.document import documents

    rows = [{"text": "", "source": str(number), "url": url} for number, url in enumerate(judged)]
    return [documents(rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)]


def theirs(path: Path, words: dict[str, list[str]]) -> Callable[[list[Any]], int]:
    from datatrove.pipeline.filters import URLFilter
    from tldextract import TLDExtract

    named = {THEIR_NAMES[name]: value for name, value in words.items()}
    block = URLFilter(extra_domains=path.read_text().splitlines(), use_integrated_lists=False, **named)
    block.tldextractor = TLDExtract(suffix_list_urls=(), cache_dir=None)
    return lambda rows: sum(block.filter(row) is not True for row in rows)


def their_rows(judged: list[str]) -> list[Any]:
    from datatrove.data import Document

    return [Document(text="", id=str(number), metadata={"url": url}) for number, url in enumerate(judged)]


SIDES = {"datatrove": (theirs, their_rows), "tierline": (ours, our_rows)}


def resident() -> float:
    """The resident set in MB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def measure(side: str, path: Path, count: int, repeats: int) -> dict[str, Any]:
    """Builds the filter of one side, without and with word lists, and times it."""
    build, make_rows = SIDES[side]
    small = path.with_name("small")
    small.write_text("example.com\n")
    build(small, WORDS)  # so that imports don't count
    before = resident()
    judge = build(path, {})
    megabytes = resident() - before
    rows = make_rows(urls(path.read_text().splitlines(), count))
    result: dict[str, Any] = {"megabytes": round(megabytes, 1)}
    for kind, each in (("domains", judge), ("domains and words", build(path, WORDS))):
        rates = []
        for _ in range(repeats):
            start = time.process_time()
            dropped = each(rows)
            rates.append(count / (time.process_time() - start))
        result[kind] = {"dropped": dropped, "urls_per_cpu_second": record.spread(rates, 0)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", choices=SIDES, help="measure one in this process, as JSON")
    parser.add_argument("--list", type=Path, help="the file of domains to measure it on")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--urls", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments.list, arguments.urls, arguments.repeats)))
        return
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "domains")
        path.write_text("\n".join(domains(arguments.entries, 1)))
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side, "--list", str(path)]
            command += ["--urls", str(arguments.urls), "--repeats", str(arguments.repeats)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            result[side] = json.loads(done.stdout.splitlines()[-1])
    record.print_table(
        f"{arguments.urls:,} URLs, {arguments.entries:,} domains",
        ("filter", "URLs/CPU s", "with words", "MB of lists", "dropped"),
        (
            (
                side,
                *(round(row[kind]["urls_per_cpu_second"]["median"]) for kind in ("domains", "domains and words")),
                row["megabytes"],
                row["domains"]["dropped"],
            )
            for side, row in result.items()
        ),
    )
    record.write_result("url_filter", result, ["datatrove", "numpy", "pyarrow", "tldextract", "xxhash"])


if __name__ == "__main__":
    main()
