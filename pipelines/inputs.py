"""Finds what a recipe's inputs name, and gives each file its identity."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec
import xxhash

from pipelines.dataset_files import dataset_files
from pipelines.recipe import Input
from tiers.errors import RecipeError, SourceError
from tiers.l0_raw import DEFAULT_OPTIONS, FORMATS, WHOLE, ReadOptions, Span, format_of

_STORE_DIGESTS = ("size", "ETag", "etag", "md5Hash", "crc32c", "blob_id", "LastModified")


@dataclass(frozen=True)
class InputFile:
    """A file to read, or a part of it. `path` is where it lies now; everything else is its identity."""

    path: str
    uri: str
    format: str
    bytes: int
    digest: str
    license: str | None
    options: ReadOptions = DEFAULT_OPTIONS
    span: Span = WHOLE

    def identity(self) -> dict[str, Any]:
        """What distinguishes its documents from those of any other file or part."""
        return {
            "uri": self.uri,
            "format": self.format,
            "digest": self.digest,
            "license": self.license,
            "options": FORMATS[self.format].identity(self.options),
            "span": None if self.span == WHOLE else [self.span.start, self.span.end],
        }


def find_inputs(inputs: Sequence[Input]) -> list[InputFile]:
    """The files that the inputs name, sorted by their names.

    A file's name in records is its path below the glob's fixed part, or below the data set's name, so that it's the
    same on every machine.

    Raises:
        SourceError: nothing matches, two files would have the same name, or a format is unknown.
        RecipeError: an option bears on no file of its input.
    """
    found: dict[str, InputFile] = {}
    for entry in inputs:
        files = list(_of_dataset(entry) if entry.dataset else _of_glob(entry, entry.path or ""))
        _check_options(entry, files)
        for file in files:
            if file.uri in found:
                raise SourceError(
                    "two inputs have the same name", where=file.uri, got=[found[file.uri].path, file.path]
                )
            found[file.uri] = file
    return [found[uri] for uri in sorted(found)]


def _of_glob(entry: Input, pattern: str) -> Iterable[InputFile]:
    fs, pattern = fsspec.core.url_to_fs(pattern)
    if fs.isdir(pattern):
        pattern = f"{pattern}/**"
    paths = [path for path in fs.glob(pattern) if fs.isfile(path)]
    if not paths:
        raise SourceError(
            "no file matches", where=entry.path or "", hint="A relative path starts from the working folder"
        )
    base = _fixed_part(pattern)
    for path in paths:
        uri = path.removeprefix(base).lstrip("/")
        yield _input_file(entry, fs, path, uri, entry.format or format_of(uri), entry.license)


def _of_dataset(entry: Input) -> Iterable[InputFile]:
    for file in dataset_files(entry.dataset or "", entry.subset, entry.split, entry.revision):
        fs, path = fsspec.core.url_to_fs(file.url)
        form = entry.format or format_of(file.uri)
        yield _input_file(entry, fs, path, file.uri, form, entry.license or file.license)


def _input_file(entry: Input, fs: Any, path: str, uri: str, form: str, license: str | None) -> InputFile:
    options = ReadOptions(**entry.model_dump(include=set(ReadOptions.model_fields)))
    return InputFile(fs.unstrip_protocol(path), uri, form, fs.size(path), _digest(fs, path), license, options)


def _check_options(entry: Input, files: Iterable[InputFile]) -> None:
    """Refuses options that no reader of the entry's files looks at."""
    formats = sorted({file.format for file in files})
    known = {option for form in formats for option in FORMATS[form].options}
    unread = (entry.model_fields_set & set(ReadOptions.model_fields)) - known
    if unread:
        raise RecipeError(
            f"an option means nothing to {' or '.join(formats)}",
            where=entry.path or entry.dataset or "",
            got=sorted(unread),
            expected=sorted(known),
        )


def _fixed_part(pattern: str) -> str:
    """The folder of a glob that holds no wildcard."""
    parts = PurePosixPath(pattern).parts
    fixed = next((n for n, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts) - 1)
    return str(PurePosixPath(*parts[:fixed]))


def _digest(fs: Any, path: str) -> str:
    """What changes when the file does: on a local disk its content's xxh3, else what the store says of it."""
    if isinstance(fs, fsspec.implementations.local.LocalFileSystem):
        digest = xxhash.xxh3_128()
        with fs.open(path, "rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
        return digest.hexdigest()
    info = fs.info(path)
    known = {key: str(info[key]) for key in _STORE_DIGESTS if key in info}
    return xxhash.xxh3_128_hexdigest(json.dumps(known, sort_keys=True).encode())
