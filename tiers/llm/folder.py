"""Small files that processes share, below one folder or fsspec URL."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import fsspec


class Folder:
    """Files that appear whole or not at all; a process that is killed leaves no half of one.

    Args:
        url: The folder; made when it is first written to.
    """

    def __init__(self, url: str | Path) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(str(url))
        self._local = isinstance(self._fs, fsspec.implementations.local.LocalFileSystem)

    def names(self) -> list[str]:
        """The names of the files right below it, sorted."""
        with suppress(FileNotFoundError):
            found = self._fs.ls(self._root, detail=False, refresh=True)
            return sorted(name for path in found if not (name := path.rsplit("/", 1)[-1]).startswith("."))
        return []

    def read(self, name: str) -> bytes | None:
        """The content of a file, or `None` where there is none that can be read."""
        try:
            content: bytes = self._fs.cat_file(f"{self._root}/{name}")
        except OSError:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, or replaces it."""
        if not self._local:
            self._fs.pipe_file(f"{self._root}/{name}", content)
            return
        path = Path(self._root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).replace(path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
