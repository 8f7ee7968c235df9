from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipelines.dataflow import RunSummary
from pipelines.dataset_files import dataset_files
from pipelines.inputs import InputFile, find_inputs
from pipelines.plan import Plan, make_plan
from pipelines.recipe import Input, Recipe
from pipelines.shard_task import read_input
from tests.poison import good_page, warc_record
from tiers.errors import RecipeError, SourceError
from tiers.l0_raw import WHOLE, Span


def rows_of(files: list[InputFile]) -> list[dict[str, object]]:
    return [row for file in files for outcome in read_input(file) for row in outcome.kept.to_pylist()]


def recipe(folder: Path, **changes: object) -> Recipe:
    return Recipe.model_validate({"name": "x", "inputs": [{"path": f"{folder}/*"}], **changes})


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crawl")
    records = [gzip.compress(warc_record(good_page(n), f"https://example.org/{n}"), mtime=0) for n in range(20)]
    (folder / "crawl.warc.gz").write_bytes(b"".join(records))
    lines = [json.dumps({"text": f"line {n}" * 20}) for n in range(40)]
    (folder / "lines.jsonl").write_text("\n".join(lines))
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode() * 9, mtime=0))
    pq.write_table(pa.table({"text": [f"row {n}" for n in range(90)]}), folder / "rows.parquet", row_group_size=30)
    return folder


def test_large_files_are_several_shards_with_stable_names(crawl: Path) -> None:
    plan = make_plan(recipe(crawl, shard_bytes=4_096))
    names = [shard.name.rsplit("-", 1) for shard in plan.shards]
    assert [number for name, number in names if name.startswith("crawl")] == [f"{n:05}" for n in range(len(names) - 4)]
    assert sum(shard.input.span == WHOLE for shard in plan.shards) == 2
    assert make_plan(recipe(crawl, shard_bytes=4_096)).to_json() == plan.to_json()
    whole = make_plan(recipe(crawl))
    assert len(whole.shards) == 4
    of_whole = {row["id"]: row for row in rows_of([shard.input for shard in whole.shards])}
    of_parts = rows_of([shard.input for shard in plan.shards])
    assert len(of_parts) == len(of_whole) == 20 + 40 + 90 + 9 * 40
    assert {row["id"]: row for row in of_parts} == of_whole


def test_another_size_of_shards_leaves_small_files_alone(crawl: Path) -> None:
    old, new = make_plan(recipe(crawl)), make_plan(recipe(crawl, shard_bytes=4_096))
    folder = new.steps[0].folder
    untouched = {shard.name for shard in new.shards if shard.input.span == WHOLE}
    assert untouched == {name for name, key in new.keys[folder].items() if old.keys[folder].get(name) == key}


def test_a_run_over_parts_keeps_what_a_run_over_whole_files_keeps(
    crawl: Path, tmp_path: Path, run: Callable[..., tuple[Plan, RunSummary]], write_recipe: Callable[..., Path]
) -> None:
    ids = []
    for name, shard_bytes in (("parts", 4_096), ("whole", 1 << 20)):
        inputs = [{"path": f"{crawl}/*"}]
        run(write_recipe(inputs=inputs, l0=["extract_html"], l1=[], shard_bytes=shard_bytes), tmp_path / name)
        shards = sorted((tmp_path / name).glob("L0/*/data/*.arrow"))
        ids.append([id for shard in shards for id in pa.ipc.open_file(shard).read_all()["id"].to_pylist()])
    assert sorted(ids[0]) == sorted(ids[1])


def test_options_reach_the_reader_and_the_identity(tmp_path: Path) -> None:
    records = [
        warc_record(b"plain words", http="Content-Type: text/plain\r\n"),
        warc_record(b"<p>gone", status="410 Gone"),
        warc_record(b"<p>page"),
    ]
    (tmp_path / "c.warc").write_bytes(b"".join(records))
    (tmp_path / "t.tsv").write_text("body\tkey\nwords\tk1\n")
    crawl, table = f"{tmp_path}/c.warc", f"{tmp_path}/t.tsv"
    chosen = find_inputs([Input(path=crawl, mime=["text/plain", "text/html"], status=[200, 410])])
    assert [row["text"] or row["record.content"] for row in rows_of(chosen)] == ["plain words", b"<p>gone", b"<p>page"]
    assert find_inputs([Input(path=crawl)])[0].identity() != chosen[0].identity()
    (row,) = rows_of(find_inputs([Input(path=table, text_field="body", id_field="key", license="MIT")]))
    assert (row["text"], row["source"], row["license"]) == ("words", "t.tsv#k1", "MIT")
    with pytest.raises(RecipeError, match=r"means nothing to tsv.*mime"):
        find_inputs([Input(path=table, mime=["text/html"])])


def test_a_document_that_tells_its_licence_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "license": "CC0-1.0"}\n{"text": "b"}\n')
    rows = rows_of(find_inputs([Input(path=f"{tmp_path}/a.jsonl", license="CC-BY-4.0")]))
    assert [row["license"] for row in rows] == ["CC0-1.0", "CC-BY-4.0"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "either a path or a dataset"),
        ({"path": "x", "dataset": "y"}, "either a path or a dataset"),
        ({"path": "x", "split": "train"}, "split means something only beside a dataset"),
        ({"path": "x", "format": "docx"}, "no format is called 'docx'"),
        ({"path": "x", "mimes": ["text/html"]}, "mimes"),
    ],
)
def test_inputs_that_say_what_they_may_not(entry: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Input.model_validate(entry)


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    (file,) = find_inputs([Input(path=f"{tmp_path}/a.jsonl")])
    Path(file.path.removeprefix("file://")).unlink()
    with pytest.raises(SourceError, match=r"a\.jsonl: the file is gone"):
        list(read_input(file))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    datasets.disable_progress_bars()
    folder = tmp_path_factory.mktemp("saved")
    info = datasets.DatasetInfo(license="CC-BY-4.0")
    train = datasets.Dataset.from_dict({"text": [f"row {n}" for n in range(10)], "n": list(range(10))}, info=info)
    train.save_to_disk(folder / "one", num_shards=2)
    datasets.DatasetDict(train=train, test=train.select(range(3))).save_to_disk(folder / "dict")
    (folder / "files").mkdir()
    (folder / "files" / "train.csv").write_text("text\na\nb\n")
    (folder / "files" / "test.csv").write_text("text\nc\n")
    return folder


def test_saved_data_sets_are_read_file_by_file(saved: Path) -> None:
    files = find_inputs([Input(dataset=str(saved / "one"))])
    assert [file.uri for file in files] == [f"one/data-0000{n}-of-00002.arrow" for n in range(2)]
    rows = rows_of(files)
    assert [row["text"] for row in rows] == [f"row {n}" for n in range(10)]
    assert {row["license"] for row in rows} == {"CC-BY-4.0"}
    assert len({row["id"] for row in rows}) == 10
    assert len(rows_of(find_inputs([Input(dataset=str(saved / "dict"), split="test")]))) == 3


def test_folders_of_data_files_have_the_splits_that_the_library_finds(saved: Path) -> None:
    files = find_inputs([Input(dataset=str(saved / "files"), split="train")])
    assert [file.uri for file in files] == ["files/train.csv"]
    assert [row["text"] for row in rows_of(files)] == ["a", "b"]


def test_data_sets_that_cannot_be_had(saved: Path) -> None:
    for name in ("dict", "files"):
        with pytest.raises(SourceError, match=r"no such split; got 'dev'; expected \['test', 'train'\]"):
            list(dataset_files(str(saved / name), None, "dev", None))
    with pytest.raises(SourceError, match=r"nobody/nothing: the data set can't be had.*HF_TOKEN"):
        list(dataset_files("nobody/nothing", None, "train", None))


def test_a_span_holds_its_start_and_not_its_end() -> None:
    assert [place for place in range(5) if place in Span(1, 3)] == [1, 2]
