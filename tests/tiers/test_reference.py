import gzip
import hashlib
import pickle
from collections.abc import Callable
from typing import ClassVar

import fsspec
import pyarrow as pa
import pytest

from tiers.errors import SourceError
from tiers.reference import Reference
from tiers.stage import Context, Outcome, Stage


class Reads(Stage):
    name: ClassVar[str] = "reads"

    lists: dict[str, Reference]

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        return lambda table: Outcome(table)


def identity(path):
    return Reads.model_validate({"lists": {"own": str(path)}}).identity()


def test_identity_is_the_content_wherever_it_lies(tmp_path, monkeypatch):
    for name in ("one/a.txt", "two/b.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("example.com\n")
    monkeypatch.chdir(tmp_path / "two")
    first = identity(tmp_path / "one/a.txt")

    assert identity("b.txt") == identity(f"file://{tmp_path}/one/a.txt") == first
    assert first["parameters"] == {"lists": {"own": hashlib.sha256(b"example.com\n").hexdigest()}}
    (tmp_path / "two/b.txt").write_text("example.org\n")
    assert identity("b.txt") != first


def test_a_folder_is_its_files_and_their_names(tmp_path):
    for folder in ("one", "two"):
        for name in ("adult/domains", "ads/domains"):
            (tmp_path / folder / name).parent.mkdir(parents=True)
            (tmp_path / folder / name).write_text(name)
    first = Reference.model_validate(str(tmp_path / "one"))

    assert first.read() == {"ads/domains": b"ads/domains", "adult/domains": b"adult/domains"}
    assert identity(tmp_path / "one") == identity(f"{tmp_path}/two/")
    (tmp_path / "two/ads/domains").rename(tmp_path / "two/ads/urls")
    assert identity(tmp_path / "one") != identity(tmp_path / "two")


def test_a_worker_reads_it_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / "list.gz").write_bytes(gzip.compress(b"example.com\n"))
    monkeypatch.chdir(tmp_path)
    reference = pickle.loads(pickle.dumps(Reference.model_validate("list.gz")))
    monkeypatch.chdir("/")

    assert reference.read() == {"": b"example.com\n"}


def test_any_file_system_will_do():
    fsspec.filesystem("memory").pipe("/lists/own.txt", b"example.com\n")

    assert Reference.model_validate("memory://lists/own.txt").read() == {"": b"example.com\n"}


@pytest.mark.parametrize("path", ["none.txt", "empty", "nowhere://none.txt"])
def test_what_cannot_be_read_is_refused_when_the_recipe_is_read(tmp_path, path):
    (tmp_path / "empty").mkdir()
    url = path if "://" in path else str(tmp_path / path)

    with pytest.raises(SourceError, match=f"{path}: (there is no such file|the file cannot be read)"):
        identity(url)


def test_a_file_that_changed_or_is_not_the_pinned_one_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("example.com\n")
    reference = Reference.model_validate(str(path))
    pinned = {"url": str(path), "sha256": reference.sha256}

    assert Reference.model_validate(pinned) == reference
    path.write_text("example.org\n")
    with pytest.raises(SourceError, match="has changed since"):
        reference.read()
    with pytest.raises(SourceError, match="not the file that was pinned"):
        Reference.model_validate(pinned)


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "list.gz").write_bytes(gzip.compress(b"example.com\n" * 99)[:-20])

    with pytest.raises(SourceError, match=r"list\.gz.*damaged"):
        Reference.model_validate(str(tmp_path / "list.gz")).read()
