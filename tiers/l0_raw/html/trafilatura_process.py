"""Trafilatura in a process of its own, which a page that is too much for it can end without ending the worker.

This file is also what that process runs. The limit is on processor time, which the operating system counts (setrlimit,
POSIX.1-2008), so that it holds in any thread of any worker and a busy machine doesn't change what fails.
"""

from __future__ import annotations

import importlib.util
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from typing import IO

_LENGTH = struct.Struct("<?Q")
"""Before each message: whether it is a result rather than an error, and how many bytes it has."""
_MEMORY = 4 << 30


class TrafilaturaProcess:
    """Extracts main content with trafilatura, as Markdown, without comments and without its duplicate cache.

    Threads may share it; their pages take turns.

    Args:
        seconds: How many seconds of processor time a page may take.

    Raises:
        StageError: trafilatura is not installed.
    """

    def __init__(self, seconds: int) -> None:
        from tiers.errors import StageError

        if importlib.util.find_spec("trafilatura") is None:
            raise StageError("trafilatura is not installed", hint="pip install 'tierline[trafilatura]'")
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def extract(self, page: str) -> str:
        """The page's main content; empty if it finds none.

        Raises:
            Refused: the page took too long, or ended the process, or trafilatura raised an error.
        """
        from tiers import limited_process  # the process that runs this file has no need of it
        from tiers.l0_raw.html.reasons import HtmlReason, Refused

        with self._lock:
            process = self._process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                _send(process.stdin, True, page)
                answer = _receive(process.stdout)
            except BrokenPipeError:
                answer = None
            if answer is None:
                self._process = None
                code = limited_process.stop(process)
                if code == -signal.SIGXCPU:
                    raise Refused(HtmlReason.TIMED_OUT, f"trafilatura took more than {self._seconds} s")
                raise Refused(HtmlReason.CRASHED, f"trafilatura's process ended with {code}")
        extracted, text = answer
        if not extracted:
            raise Refused(HtmlReason.PARSER_ERROR, f"trafilatura: {text}")
        return text

    def _start(self) -> subprocess.Popen[bytes]:
        from tiers import limited_process

        return limited_process.start(__file__, self._seconds, self)


def _send(stream: IO[bytes], good: bool, text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    stream.write(_LENGTH.pack(good, len(content)))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[bool, str] | None:
    """The next message; `None` where the stream ends before its end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    good, length = _LENGTH.unpack(head)
    content = stream.read(length)
    return (good, content.decode("utf-8", "surrogatepass")) if len(content) == length else None


def _serve(seconds: int) -> None:
    """Answers pages until there are no more; each may take `seconds` of processor time."""
    import trafilatura

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    while (request := _receive(sys.stdin.buffer)) is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard))
        try:
            text = trafilatura.extract(request[1], output_format="markdown", include_comments=False, deduplicate=False)
        except Exception as error:
            _send(sys.stdout.buffer, False, f"{type(error).__name__}: {error}")
        else:
            _send(sys.stdout.buffer, True, text or "")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
