"""The files that a Hugging Face data set consists of, for the readers of their formats.

Nothing is downloaded or converted: a saved folder holds Arrow files, and of any other data set the library `datasets`
says which files its split has, on the hub at one commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiers.errors import SourceError


@dataclass(frozen=True)
class DatasetFile:
    """A file of a data set: where it lies, its stable name, and the data set's licence if it names one."""

    url: str
    uri: str
    license: str | None


def dataset_files(dataset: str, subset: str | None, split: str, revision: str | None) -> Iterator[DatasetFile]:
    """The files of a split, in order.

    Args:
        dataset: A folder that `save_to_disk` wrote, a folder of data files, or a name on the hub.
        subset: Its configuration, where it has several.
        split: The part of it.
        revision: The branch, tag or commit on the hub.

    Raises:
        SourceError: there is no such data set, subset or split, the hub can't be reached, or `datasets` isn't there.
    """
    folder = Path(dataset)
    if (folder / "dataset_dict.json").is_file():
        splits = _read_json(folder / "dataset_dict.json")["splits"]
        _check_split(dataset, split, splits)
        return _saved_files(folder / split, f"{folder.name}/{split}")
    if (folder / "state.json").is_file():
        return _saved_files(folder, folder.name)
    return _loadable_files(dataset, subset, split, revision)


def _saved_files(folder: Path, name: str) -> Iterator[DatasetFile]:
    license = _read_json(folder / "dataset_info.json").get("license") or None
    for file in _read_json(folder / "state.json")["_data_files"]:
        yield DatasetFile(str(folder / file["filename"]), f"{name}/{file['filename']}", license)


def _loadable_files(dataset: str, subset: str | None, split: str, revision: str | None) -> Iterator[DatasetFile]:
    builder = _builder(dataset, subset, revision)
    splits: dict[str, list[Any]] = {str(name): list(files) for name, files in (builder.config.data_files or {}).items()}
    _check_split(dataset, split, splits)
    base = (builder.base_path or "").rstrip("/") + "/"
    name = dataset.rstrip("/").rsplit("/", 1)[-1] if Path(dataset).is_dir() else dataset
    for file in splits[split]:
        url = str(file)
        yield DatasetFile(url, f"{name}/{url.removeprefix(base)}", builder.info.license or None)


def _builder(dataset: str, subset: str | None, revision: str | None) -> Any:
    try:
        from datasets import load_dataset_builder
    except ImportError:
        raise SourceError(
            "data sets need a library", where=dataset, hint="Install it: pip install 'tierline[datasets]'"
        ) from None
    try:
        return load_dataset_builder(dataset, subset, revision=revision)
    except Exception as error:  # the library, the hub's client and the network raise errors of their own
        raise SourceError(
            "the data set can't be had",
            where=dataset,
            got=f"{type(error).__name__}: {error}",
            expected="a folder that save_to_disk wrote, a folder of data files, or a name that the hub knows",
            hint="Without a network only folders can be read; a gated data set needs HF_TOKEN",
            retryable=True,
        ) from None


def _check_split(dataset: str, split: str, splits: Any) -> None:
    if split not in splits:
        raise SourceError("the data set has no such split", where=dataset, got=split, expected=sorted(splits))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError("the saved data set is damaged", where=str(path), got=str(error)) from None
    return content
