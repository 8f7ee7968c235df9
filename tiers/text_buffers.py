"""Texts as compiled kernels read them: the bytes that Arrow holds, no Python object for each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def text_buffers(
    texts: pa.ChunkedArray, size: int, limit: int | None = None
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Bytes, and where texts begin in them, with the end of the last: all texts in order, views without a copy.

    Args:
        texts: Strings.
        size: About how many bytes are read at a time, if they are of more than one text.
        limit: How many bytes of a text are read; all by default.
    """
    for chunk in texts.cast(pa.large_string()).chunks:
        _, offsets_buffer, data_buffer = chunk.buffers()
        if not len(chunk):
            continue
        data = np.frombuffer(data_buffer or b"", np.uint8)
        offsets = np.frombuffer(offsets_buffer, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        lengths = np.diff(offsets) if limit is None else np.minimum(np.diff(offsets), limit)
        read = np.concatenate([[0], np.cumsum(lengths)])
        first = 0
        while first < len(chunk):
            last = max(first + 1, int(np.searchsorted(read, read[first] + size, "right")) - 1)
            yield data, offsets[first : last + 1]
            first = last
