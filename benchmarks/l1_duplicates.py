"""Near duplicates: how many planted copies are found, how many documents wrongly dropped, and how fast, beside peers.

    python benchmarks/l1_duplicates.py [--corpus debian] [--datatrove PYTHON] [--daft PYTHON] [--text-dedup PYTHON]

The corpus is that of `l1_rules.py`. Near duplicates that it already has are dropped first, so that every further
removal must be explained by what is planted: of each document one copy in which some words were replaced, and one
decoy in which 60 % were. A copy and its original whose true similarity lies below the threshold needn't be found.

Speed is taken on the documents with copies of 1 %, in CPU seconds of all threads and processes. Tierline goes from its
committed L0 shard to the list of what is dropped, as Daft goes from JSON lines to the ids that stay; then it writes the
tier, with tokens counted, ledger and commits, as datatrove and text-dedup write what stays. The peers run in turn, each
in a process of its own after a warm-up (`l1_duplicates_peers.py`). They are looked for in the interpreters that
are named, since they don't all live with each other (datatrove needs xxhash 3); what isn't there is skipped. All have
the same parameters, and only Tierline looks at the texts of candidates.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import debian
import l1_rules
import pyarrow as pa
import record
from rich.console import Console

from pipelines.artifact import Store, read_table
from pipelines.dataflow import run_plan
from pipelines.engine import LocalEngine
from pipelines.plan import make_plan
from pipelines.progress import RunProgress
from pipelines.recipe import Recipe
from tiers.l1_filtered.shingles import ShingleSets
from tiers.stage import Context

PEERS = ("datatrove", "daft", "text_dedup")


def edited(text: str, share: float, seed: int) -> str:
    """`text` with a share of its words replaced by words from elsewhere in it."""
    order = random.Random(seed)
    words = text.split(" ")
    for place in order.sample(range(len(words)), round(share * len(words))):
        words[place] = order.choice(words)[::-1]
    return " ".join(words)


def planted(texts: Iterable[str], share: float) -> dict[str, str]:
    """Each text, a copy with a share of its words replaced, and a decoy with 60 % replaced, by name."""
    rows = {}
    for number, text in enumerate(texts):
        rows[f"{number}.original"] = text
        rows[f"{number}.copy"] = edited(text, share, number)
        rows[f"{number}.decoy"] = edited(text, 0.6, number)
    return rows


def write_rows(rows: dict[str, str], file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in rows.items()))
    return file


def removed(corpus: Path, output: Path, **parameters: Any) -> tuple[dict[str, str], float, float]:
    """What a run drops of a file, by name, each with the document that is kept instead.

    And the CPU seconds of all of L1, and of what follows its decision.
    """
    stages = [{"near_duplicates": parameters}]
    recipe = Recipe.model_validate({"name": "duplicates", "inputs": [{"path": str(corpus)}], "l1": stages})
    plan, progress = make_plan(recipe), RunProgress(Console(quiet=True), quiet=True)
    run_plan(plan, str(output), LocalEngine(), Context(models=output), progress, "L0")
    started = time.process_time()
    run_plan(plan, str(output), LocalEngine(), Context(models=output), progress)
    used = time.process_time() - started
    store = Store(str(output))
    names = [json.loads(line)["id"] for line in corpus.open()]
    ids = read_table(store, f"{plan.steps[0].folder}/data/{plan.shards[0].name}.arrow", ["id"])["id"].to_pylist()
    known = dict(zip(ids, names, strict=True))
    decision = read_table(store, f"{plan.steps[1].folder}/decision.arrow")
    pairs = zip(decision["id"].to_pylist(), decision["detail"].to_pylist(), strict=True)
    commit = store.read_json(f"{plan.steps[1].folder}/commits/{plan.shards[0].name}.json")
    return {known[row_id]: known[detail.split()[-1]] for row_id, detail in pairs}, used, commit["cpu_seconds"]


def measure(texts: list[str], share: float, scratch: Path) -> dict[str, Any]:
    """Counts for copies with `share` of their words replaced."""
    rows = planted(texts, share)
    gone, _, _ = removed(write_rows(rows, scratch / f"{share}.jsonl"), scratch / f"{share}")
    pairs = [rows[f"{n}.{kind}"] for n in range(len(texts)) for kind in ("original", "copy")]
    sets = ShingleSets.of(pa.array(pairs), 5, 10**6)
    similar = [n for n in range(len(texts)) if sets.jaccard(2 * n, 2 * n + 1) >= 0.8]
    found = sum(f"{n}.copy" in gone or f"{n}.original" in gone for n in similar)
    return {
        "documents": len(rows),
        "copies_above_threshold": len(similar),
        "found": found,
        "recall": found / len(similar) if similar else None,
        "dropped": len(gone),
        "dropped_for_an_unrelated_document": sum(a.split(".")[0] != b.split(".")[0] for a, b in gone.items()),
        "decoys_dropped": sum(name.endswith("decoy") for name in gone),
    }


def speeds(texts: list[str], rounds: int, pythons: dict[str, str], scratch: Path) -> dict[str, Any]:
    """CPU seconds of each side on the same file, and what it keeps."""
    rows = planted(texts, 0.01)
    corpus = write_rows(rows, scratch / "speed" / "corpus.jsonl")
    warm_up = write_rows(dict(list(rows.items())[:60]), scratch / "speed" / "warm.jsonl")
    removed(warm_up, scratch / "warm")
    seconds: dict[str, list[float]] = {}
    kept: dict[str, set[str]] = {}
    versions = dict.fromkeys(("tierline", "tierline, tier written"), version("tierline"))
    for number in range(rounds):
        gone, used, writing = removed(corpus, scratch / f"speed-{number}")
        for side, cost in (("tierline", used - writing), ("tierline, tier written", used)):
            seconds.setdefault(side, []).append(cost)
            kept[side] = set(rows) - set(gone)
        for peer in PEERS:
            answer = ask(pythons[peer], peer, corpus, warm_up)
            if answer:
                seconds.setdefault(peer, []).append(answer["cpu_seconds"])
                kept[peer] = set(answer["kept"])
                versions[peer] = answer["version"]
            elif number == 0:
                print(f"{peer}: not installed for {pythons[peer]}, skipped")
    return {side: {"version": versions[side], **_speed(side, seconds, kept, rows)} for side in seconds}


def _speed(
    side: str, seconds: dict[str, list[float]], kept: dict[str, set[str]], rows: dict[str, str]
) -> dict[str, Any]:
    spread = record.spread(seconds[side])
    gone = set(rows) - kept[side]
    return {
        "cpu_seconds": spread,
        "documents_per_cpu_second": round(len(rows) / spread["median"], 1),
        "times_tierlines_cost": round(spread["median"] / record.spread(seconds["tierline"])["median"], 2),
        "kept": len(kept[side]),
        "dropped": len(gone),
        "decoys_dropped": sum(name.endswith("decoy") for name in gone),
        "whole_groups_of_original_and_copy_dropped": sum(
            name.endswith("original") and f"{name.split('.')[0]}.copy" in gone for name in gone
        ),
    }


def ask(python: str, peer: str, corpus: Path, warm_up: Path) -> dict[str, Any] | None:
    """What a peer's process prints; `None` where the peer isn't installed.

    Raises:
        RuntimeError: it failed.
    """
    needs = {
        "datatrove": "import datatrove.pipeline.dedup, spacy, xxhash; xxhash.xxh64_intdigest('')",
        "daft": "import daft",
        "text_dedup": "import text_dedup.minhash",
    }
    if subprocess.run([python, "-c", needs[peer]], capture_output=True, check=False).returncode:
        return None
    script = str(Path(__file__).with_name("l1_duplicates_peers.py"))
    command = [python, script, peer, str(corpus), str(warm_up)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", choices=("local", "debian"), default="local")
    parser.add_argument("--cache", type=Path, default=debian.CACHE)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    for peer in PEERS:
        parser.add_argument(f"--{peer.replace('_', '-')}", default=sys.executable, help="A Python that has it.")
    arguments = parser.parse_args()

    found = l1_rules.local_texts() if arguments.corpus == "local" else l1_rules.debian_texts(arguments.cache)
    texts = [text for text in dict.fromkeys(found) if len(text.split()) >= 100 and len(text) <= 50_000]
    texts = sorted(texts, key=lambda text: record.hash_texts([text]))[: arguments.documents]
    pythons = {peer: getattr(arguments, peer) for peer in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        # Documents that resemble another one by far less than the threshold go, so that no removal is ambiguous.
        corpus = write_rows({str(number): text for number, text in enumerate(texts)}, Path(folder) / "all.jsonl")
        alike, _, _ = removed(corpus, Path(folder) / "alike", threshold=0.4, bands=50, rows=4)
        texts = [text for number, text in enumerate(texts) if str(number) not in alike]
        shares = {
            f"{share:.1%} of words replaced": measure(texts, share, Path(folder)) for share in (0.005, 0.01, 0.02)
        }
        sides = speeds(texts, arguments.rounds, pythons, Path(folder))
    show(shares, sides, len(texts), arguments.corpus)
    size = round(sum(map(len, texts)) / len(texts))
    about = {"name": arguments.corpus, "documents": len(texts), "mean_characters": size}
    about["sha256"] = record.hash_texts(texts)
    packages = ("numba", "numpy", "pyarrow", "xxhash")
    path = record.write_result("l1_duplicates", {**shares, "speed": sides}, packages, about)
    print(f"wrote {path.relative_to(record.ROOT)}")


def show(shares: dict[str, Any], sides: dict[str, Any], documents: int, corpus: str) -> None:
    record.print_table(
        f"Near duplicates planted among {documents} documents ({corpus})",
        ("copies", "above 0.8", "found", "decoys dropped", "unrelated"),
        (
            (name, *(row[key] for key in ("copies_above_threshold", "found")), row["decoys_dropped"],
             row["dropped_for_an_unrelated_document"])
            for name, row in shares.items()
        ),
    )  # fmt: skip
    record.print_table(
        f"CPU seconds for {3 * documents} documents, a copy of 1 % and a decoy of each original",
        ("side", "CPU s", "docs/s", "× ours", "kept", "dropped", "decoys"),
        (
            (side, row["cpu_seconds"]["median"], row["documents_per_cpu_second"], row["times_tierlines_cost"],
             row["kept"], row["dropped"], row["decoys_dropped"])
            for side, row in sides.items()
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()
