"""What every benchmark records beside its figures: versions, commit, machine, corpus. And how it shows and keeps them.

A benchmark is a script, run from the project root as `python benchmarks/NAME.py`; so it imports this as `record`.
It prints a table and writes `benchmarks/results/NAME.json`, which is committed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SHARED = ROOT.parent / "shared" / "data"
"""Data that may lie beside the project; a benchmark that needs it says so and skips where it is absent."""


def versions(*packages: str) -> dict[str, str]:
    """The version of Python and of each package."""
    return {"python": platform.python_version(), **{name: version(name) for name in sorted(packages)}}


def commit() -> str:
    """The commit that is measured, with `+changes` where tracked files differ from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    return f"{head}+changes" if _git("status", "--porcelain", "--untracked-files=no") else head


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("unknown" if done.returncode else "")


def machine() -> dict[str, Any]:
    """Processor, number of cores that may be used, and memory in GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {"processor": _processor(), "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory, 1)}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def hash_files(paths: Iterable[Path]) -> str:
    """One SHA-256 for a corpus of files: over their names and contents, in the order of names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path.name}\0{content}\n".encode())
    return digest.hexdigest()


def hash_texts(texts: Iterable[str]) -> str:
    """One SHA-256 for a corpus of texts, in their order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()


def spread(values: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """Median, least and greatest of repeated measurements, and all of them."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "all": [round(value, digits) for value in values],
    }


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints a table; the first column is to the left, the others to the right."""
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_result(
    name: str, result: Mapping[str, Any], packages: Sequence[str] = (), corpus: Mapping[str, Any] | None = None
) -> Path:
    """Writes `benchmarks/results/NAME.json`.

    Args:
        name: The benchmark's name.
        result: Its figures; keys say the units.
        packages: Whose versions matter.
        corpus: What was measured on: its name, size and hash.
    """
    record = {
        "benchmark": name,
        "commit": commit(),
        "versions": versions(*packages),
        "machine": machine(),
        "corpus": dict(corpus or {}),
        "result": dict(result),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path
