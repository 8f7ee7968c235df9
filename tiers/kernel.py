"""Functions that are compiled to machine code, once for an installation (numba)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def variable(value: int) -> int:
    """A number for kernels that is typed as variables are: for a literal what they call with it is compiled anew."""
    return cast(int, np.int64(value))


START = variable(0)


@lru_cache
def _digest(folder: Path) -> str:
    """Of the sources in a folder of kernels."""
    return sha256(b"".join(source.read_bytes() for source in sorted(folder.glob("*.py")))).hexdigest()[:16]


def compiled(function: Kernel) -> Kernel:
    """Compiles a kernel when it is first called; later processes find it beside its source, or in the user's cache.

    A kernel's entry there is found by its name and holds those it calls, so the name tells of which sources it is: a
    kernel and all that it calls or reads lie in one folder. Where no cache can be written, each process compiles anew.
    """
    function.__qualname__ += f"-{_digest(Path(function.__code__.co_filename).parent)}"
    try:
        return cast(Kernel, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(Kernel, numba.njit(nogil=True)(function))


def inlined(function: Kernel) -> Kernel:
    """Makes a function part of the kernels that call it; Python can call it too, and compiles it then."""
    return cast(Kernel, numba.njit(nogil=True, forceinline=True)(function))


def called(function: Kernel) -> Kernel:
    """Makes a function one that kernels call, which takes less compiling than `inlined` does."""
    return cast(Kernel, numba.njit(nogil=True)(function))
