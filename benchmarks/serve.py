"""A served memory under many clients at once: is every reply the answer that the question gets alone?

    python benchmarks/serve.py [--clients 50] [--seconds 120] [--questions 40]

The memory holds sentences of XQuAD's articles 1-24; questions about them are asked by clients that each wait for their
reply before they ask again, about every second time as a stream. All of it stays on 127.0.0.1 and ends by itself. The
server is killed then, started again on the same memory, and asked once more.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

from real_memory import SETS, place, real_memory
from record import SHARED, hash_files, print_table, write_result

from latent_memory.pretrained import PACKAGED, read_manifest

WAITING = 64
REQUEST_SECONDS = 600
"""A reply that takes longer is an error."""


class Process:
    """`tierline serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", "from pipelines.cli import app; app()", "serve", str(folder), "--port", "0"]
        started = time.monotonic()
        self._process = subprocess.Popen(
            [*command, "--waiting", str(WAITING)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "http://127.0.0.1:" not in line:
            raise SystemExit("the server didn't start")
        self.port = int(line.rpartition(":")[2].partition("/")[0])
        self.seconds_to_start = time.monotonic() - started

    def end(self, how: signal.Signals) -> int:
        """Sends a signal; returns the exit status."""
        self._process.send_signal(how)
        return self._process.wait()


@dataclass
class Seen:
    """What one client saw."""

    replies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    first_piece: list[float] = field(default_factory=list)
    between_pieces: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def ask(port: int, question: str, stream: bool, seen: Seen) -> None:
    """Asks once and keeps what came, or what went wrong."""
    payload = {"messages": [{"role": "user", "content": question}], "temperature": 0, "stream": stream}
    connection = HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
    started = time.monotonic()
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(payload), {"content-type": "application/json"})
        reply = connection.getresponse()
        if reply.status != 200:
            seen.errors[f"status {reply.status}"] += 1
            return
        told = read_stream(reply, started, seen) if stream else read_whole(json.load(reply))
        seen.replies.append((question, told))
        seen.seconds.append(time.monotonic() - started)
    except (OSError, ValueError, KeyError) as error:
        seen.errors[type(error).__name__] += 1
    finally:
        connection.close()


def read_whole(reply: dict[str, Any]) -> dict[str, Any]:
    return {"answer": reply["choices"][0]["message"]["content"], **reply["tierline"]}


def read_stream(lines: Any, started: float, seen: Seen) -> dict[str, Any]:
    """Puts the pieces together; notes when each came."""
    times, text = [], ""
    more: dict[str, Any] = {}
    for line in lines:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line.removeprefix(b"data: "))
        piece = event["choices"][0]["delta"].get("content")
        if piece:
            text += piece
            times.append(time.monotonic())
        more = event.get("tierline", more)
    if times:
        seen.first_piece.append(times[0] - started)
        seen.between_pieces += [after - before for before, after in pairwise(times)]
    return {"answer": text, **more}


def load(port: int, questions: list[str], clients: int, seconds: float) -> tuple[list[Seen], float]:
    """Asks from many threads until the time is over; each client ends with a whole reply."""
    started = time.monotonic()

    def client(number: int, seen: Seen) -> None:
        rng = random.Random(number)
        while time.monotonic() - started < seconds:
            ask(port, rng.choice(questions), rng.random() < 0.5, seen)

    all_seen = [Seen() for _ in range(clients)]
    threads = [threading.Thread(target=client, args=pair) for pair in enumerate(all_seen)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return all_seen, time.monotonic() - started


def alone(port: int, questions: list[str]) -> dict[str, dict[str, Any]]:
    """The reply to each question when nobody else asks."""
    seen = Seen()
    for question in questions:
        ask(port, question, False, seen)
    if seen.errors:
        raise SystemExit(f"asked alone, it fails: {dict(seen.errors)}")
    return dict(seen.replies)


def measures(port: int) -> dict[str, float]:
    """What the server counted."""
    connection = HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def summary(all_seen: list[Seen], expected: dict[str, dict[str, Any]], seconds: float) -> dict[str, Any]:
    """What the clients saw, over all of them."""
    replies = [reply for seen in all_seen for reply in seen.replies]
    return {
        "requests": len(replies) + sum(sum(seen.errors.values()) for seen in all_seen),
        "errors": dict(sum((seen.errors for seen in all_seen), Counter())),
        "other_answer_than_alone": sum(got["answer"] != expected[asked]["answer"] for asked, got in replies),
        "other_in_any_bit": sum(got != expected[asked] for asked, got in replies),
        "replies_per_second": round(len(replies) / seconds, 3),
        "seconds": quantiles([s for seen in all_seen for s in seen.seconds]),
        "seconds_to_first_piece": quantiles([s for seen in all_seen for s in seen.first_piece]),
        "seconds_between_pieces": quantiles([s for seen in all_seen for s in seen.between_pieces]),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3), "max": round(max(values), 3)}


def counted(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, Any]:
    """Batches and tokens while the load was on."""

    def more(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    buckets = {name: more(name) for name in after if name.startswith("tierline_batch_size_bucket")}
    up_to = {name.split('"')[1]: int(count) for name, count in buckets.items()}
    batches = more("tierline_batch_size_count")
    return {
        "batches": int(batches),
        "questions_a_batch": round(more("tierline_batch_size_sum") / max(1, batches), 2),
        "batches_up_to_size": up_to,
        "completion_tokens_per_second": round(more('tierline_tokens_total{use="completion"}') / seconds, 2),
        "prompt_tokens_per_second": round(more('tierline_tokens_total{use="prompt"}') / seconds, 1),
    }


def measure(folder: Path, questions: list[str], clients: int, seconds: float) -> dict[str, Any]:
    """The load, a kill, and the same questions to a second server."""
    server = Process(folder)
    try:
        expected = alone(server.port, questions)
        before = measures(server.port)
        all_seen, took = load(server.port, questions, clients, seconds)
        result = summary(all_seen, expected, took) | counted(before, measures(server.port), took)
    finally:
        server.end(signal.SIGKILL)
    again = Process(folder)
    try:
        after = alone(again.port, questions)
        result["other_after_kill_and_restart"] = sum(after[question] != expected[question] for question in questions)
    finally:
        result["exit_status_of_sigterm"] = again.end(signal.SIGTERM)
    return {"clients": clients, "load_seconds": round(took, 1), "seconds_to_start": server.seconds_to_start, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--questions", type=int, default=40, help="how many different ones")
    options = parser.parse_args()
    name, form, last = SETS[0]
    memory, questions = real_memory(name, form, last)
    asked = random.Random(0).sample(sorted({question.text for question in questions}), options.questions)
    evidence = len(memory)
    result = measure(place(form), asked, options.clients, options.seconds)
    print_table("tierline serve", ("measure", ""), [(name, str(value)) for name, value in result.items()])
    corpus = {"name": f"{name}, articles 1-{last}", "evidence": evidence, "questions": len(asked)}
    corpus["sha256"] = hash_files([SHARED / "qa" / name])
    packages = ("lancedb", "starlette", "torch", "transformers", "uvicorn")
    print(write_result("serve", {"memory": read_manifest(PACKAGED).stamp(), **result}, packages, corpus))


if __name__ == "__main__":
    main()
