"""Processes for work that may never end; a limit on their processor time ends them, and not the worker.

The limit is the operating system's (setrlimit, POSIX.1-2008), so that it holds whatever the process does; the file that
it runs sets it, for each piece of work anew.
"""

from __future__ import annotations

import subprocess
import sys
import weakref


def start(file: str, seconds: int, owner: object) -> subprocess.Popen[bytes]:
    """Runs a Python file, with its limit as the argument, for as long as `owner` lives; it is asked through pipes."""
    command = [sys.executable, "-P", file, str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    weakref.finalize(owner, stop, process)
    return process


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ends a process, if it runs, and gives what it ended with."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                pass
    return process.wait()
