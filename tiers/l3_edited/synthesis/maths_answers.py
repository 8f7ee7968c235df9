"""Mathematical answers compared by what they are worth, by math-verify, in a process of its own.

An expression can be written in ten characters that no computer evaluates. The limit is on processor time, which the
operating system counts (setrlimit, POSIX.1-2008), so that it holds in any thread of any worker, and such an answer ends
the process and not the worker. This file is also what that process runs.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

SECONDS = 5
"""Processor time that a comparison may take."""
_MEMORY = 4 << 30


@dataclass(frozen=True)
class Comparison:
    """What became of a comparison.

    Attributes:
        read: Whether the right answer could be read as a number, a formula or a set.
        equal: Whether the other one is worth the same.
        fault: Why nothing could be said; empty where something could.
    """

    read: bool
    equal: bool
    fault: str = ""


class MathsAnswers:
    """Compares answers; threads may share it.

    Args:
        seconds: How many seconds of processor time a comparison may take.
    """

    def __init__(self, seconds: int = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def compare(self, right: str, other: str) -> Comparison:
        """Whether `other`, which may stand at the end of a text, is worth what `right` is.

        Raises:
            StageError: math-verify is not installed.
        """
        from tiers import limited_process  # the process that runs this file has no need of it

        with self._lock:
            process = self._process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps([right, other]).encode() + b"\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = b""
            if answer.endswith(b"\n"):
                return Comparison(**json.loads(answer))
            self._process = None
            ended = limited_process.stop(process)
            return Comparison(False, False, f"it took more than {self._seconds} s, or ended with {ended}")

    def _start(self) -> subprocess.Popen[bytes]:
        from tiers import limited_process

        if importlib.util.find_spec("math_verify") is None:
            from tiers.errors import StageError

            raise StageError("math-verify is not installed", hint="pip install 'tierline[maths]'")
        return limited_process.start(__file__, self._seconds, self)


def _serve(seconds: int) -> None:
    """Answers comparisons until there are no more; each may take `seconds` of processor time."""
    from math_verify import parse, verify

    # The first formula loads sympy's parsers, for seconds where Python hasn't compiled them yet: on nobody's account.
    verify(parse("$1$", parsing_timeout=None), parse(r"$\frac{1}{1}$", parsing_timeout=None), timeout_seconds=None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    for line in sys.stdin.buffer:
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard))
        right, other = json.loads(line)
        found = {"read": False, "equal": False, "fault": ""}
        try:
            gold = parse(_formula(right), parsing_timeout=None)
            found["read"] = any(not isinstance(each, str) for each in gold)
            found["equal"] = found["read"] and verify(
                gold, parse(_formula(other), parsing_timeout=None), timeout_seconds=None
            )
        except Exception as error:
            found["fault"] = f"{type(error).__name__}: {error}"[:200]
        sys.stdout.buffer.write(json.dumps(found).encode() + b"\n")
        sys.stdout.buffer.flush()


def _formula(answer: str) -> str:
    """A short answer that isn't marked as a formula, marked as one; in a text math-verify finds the last one."""
    marked = any(mark in answer for mark in ("$", r"\(", r"\[", r"\boxed"))
    return (
        answer
        if marked or "\n" in answer or any(word.isalpha() and len(word) > 2 for word in answer.split())
        else f"${answer}$"
    )


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
