"""Compressed streams, as their plain bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import BinaryIO, cast

import pyarrow as pa

from tiers.l0_raw.batches import ReadReason

GZIP = b"\x1f\x8b"
BROKEN_STREAM = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""What reading a broken stream raises; `why_broken` tells them from errors of the disk or the network."""


def decompressed(stream: BinaryIO) -> BinaryIO:
    """`stream`, from its start, as plain bytes: its first bytes tell gzip, bzip2, xz and zstd."""
    stream.seek(0)
    head = stream.read(6)
    stream.seek(0)
    if head.startswith(GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    if head.startswith(b"BZh"):
        return cast(BinaryIO, bz2.BZ2File(stream))
    if head.startswith(b"\xfd7zXZ\x00"):
        return cast(BinaryIO, lzma.LZMAFile(stream))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd"), 1 << 16))
    return stream


def is_compressed(stream: BinaryIO) -> bool:
    """Whether `stream` is compressed as a whole or in parts; leaves it at its start."""
    return decompressed(stream) is not stream


def why_broken(error: Exception) -> tuple[ReadReason, str]:
    """Reason and detail of a row that a broken stream takes along.

    Raises:
        OSError: the error says that reading failed, not that what was read is broken.
    """
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    torn = isinstance(error, EOFError) or "truncated" in str(error).lower()
    return ReadReason.TRUNCATED if torn else ReadReason.BAD_COMPRESSION, f"{type(error).__name__}: {error}"
