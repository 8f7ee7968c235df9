"""Files of the user's that a stage reads beside its documents: block lists, word lists, benchmarks."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import posixpath
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

from tiers.errors import SourceError

_DECOMPRESS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ\x00", lzma.decompress),
    (b"\x28\xb5\x2f\xfd", lambda content: pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()),
)


class Reference(BaseModel):
    """A file, or a folder of files, on which a stage's results depend.

    A recipe writes a path or any fsspec URL; a relative path starts from the working folder. Its identity is what is
    in it, taken when the recipe is read: where it lies, and a single file's name, are no part of it. So that names
    can't matter, whoever reads it tells formats by content.

    Attributes:
        url: Where it lies; absolute, so that a worker finds it from any folder.
        sha256: Of a file: the SHA-256 of its bytes. Of a folder: that of `sha256sum`'s lines for the files in it, by
            their names within the folder, sorted. A recipe may give it, as `{url: …, sha256: …}`, to pin the content.

    Raises:
        SourceError: there is no such file, it can't be read, or it isn't what was pinned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    sha256: str

    @model_validator(mode="before")
    @classmethod
    def _find(cls, value: Any) -> Any:
        given = {"url": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or not isinstance(given.get("url"), str):
            return value
        url, digest = _stamp(given["url"])
        if given.get("sha256", digest) != digest:
            raise SourceError("it is not the file that was pinned", where=url, got=digest, expected=given["sha256"])
        return {**given, "url": url, "sha256": digest}

    @model_serializer(mode="plain", when_used="json")
    def _identity(self) -> str:
        return self.sha256

    def read(self) -> dict[str, bytes]:
        """What is in it, whole and uncompressed (gzip, bzip2, xz, zstd): by names within the folder, or by the name "".

        Raises:
            SourceError: it can't be read, or is no longer what it was when the recipe was read.
        """
        with _readable(self.url):
            fs, path = fsspec.core.url_to_fs(self.url)
            contents = {name: fs.cat_file(file) for name, file in _files(fs, path)}
        digest = _combined({name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
        if digest != self.sha256:
            raise SourceError(
                "the file has changed since the recipe was read",
                where=self.url,
                got=digest,
                expected=self.sha256,
                hint="Run again, so that what it decides is decided anew",
            )
        return {name: _decompressed(content, posixpath.join(self.url, name)) for name, content in contents.items()}


def _stamp(url: str) -> tuple[str, str]:
    """The absolute form of `url`, and the digest of what lies there."""
    with _readable(url):
        fs, path = fsspec.core.url_to_fs(url)
        digests = {}
        for name, file in _files(fs, path):
            digest = hashlib.sha256()
            with fs.open(file, "rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
            digests[name] = digest.hexdigest()
        return fs.unstrip_protocol(path), _combined(digests)


def _files(fs: Any, path: str) -> list[tuple[str, str]]:
    """(name within the folder, path) of each file, sorted; one file has an empty name."""
    if fs.isfile(path):
        return [("", path)]
    found = sorted((file[len(path.rstrip("/")) + 1 :], file) for file in fs.find(path))
    if not found:
        raise FileNotFoundError(path)
    return found


def _combined(digests: dict[str, str]) -> str:
    if list(digests) == [""]:
        return digests[""]
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()


@contextmanager
def _readable(url: str) -> Iterator[None]:
    """Turns whatever a file system raises into one kind of error."""
    try:
        yield
    except FileNotFoundError:
        raise SourceError(
            "there is no such file, or no file in the folder",
            where=url,
            hint="A relative path starts from the working folder",
        ) from None
    except (OSError, ImportError, ValueError) as error:
        raise SourceError("the file cannot be read", where=url, got=f"{type(error).__name__}: {error}") from None


def _decompressed(content: bytes, where: str) -> bytes:
    for magic, decompress in _DECOMPRESS:
        if content.startswith(magic):
            try:
                return decompress(content)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise SourceError("the compressed file is damaged", where=where, got=str(error)) from None
    return content
