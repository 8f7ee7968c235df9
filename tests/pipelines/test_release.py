import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.artifact import Store, read_table
from pipelines.recipe import STAGES
from pipelines.release import loadable, release
from pipelines.spending import request_cache
from pipelines.status import run_status
from tiers.document import DOCUMENT, with_columns
from tiers.errors import ArtifactError, RecipeError
from tiers.llm import Finish, Result
from tiers.llm.folder import Folder
from tiers.llm.prices import Price
from tiers.llm.spending import Account, Budget

Recipes = Callable[..., Path]
Run = Callable[..., object]

LICENSES = ["MIT", "CC-BY-SA-4.0", "PSF-2.0", None]
HOSTILE = "|evil`</td>\n# not a heading"


@pytest.fixture(scope="module")
def licensed(
    tmp_path_factory: pytest.TempPathFactory, write_recipe: Callable[..., Path], run: Callable[..., object]
) -> Path:
    """A run over two files of texts with licences, one line of which is no JSON."""
    folder = tmp_path_factory.mktemp("licensed")
    for number in range(2):
        rows = [{"text": f"Text {number}.{n} of a corpus.", "license": LICENSES[n % 4], "page": n} for n in range(20)]
        lines = [json.dumps(row) for row in rows] + (["no json"] if number else [])
        (folder / f"part-{number}.jsonl").write_text("\n".join(lines))
    recipe = write_recipe(name="licensed", inputs=[{"path": f"{folder}/*.jsonl"}], l1=["exact_duplicates"])
    run(recipe, folder / "out")
    return folder / "out"


def front_matter(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


@pytest.mark.parametrize("tier", ["L0", "L1"])
def test_a_release_loads_with_datasets(finished: Path, tier: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    store = Store(str(finished))
    summary = release(store, tier, str(tmp_path / "set"))
    loaded = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))["train"]
    manifest = store.read_json(f"{tier}/manifest.json")
    folder = manifest["steps"][-1]["folder"]
    tables = [read_table(store, f"{folder}/data/{name}") for name in store.list(f"{folder}/data")]
    assert loaded.num_rows == summary.rows == manifest["rows"] > 0
    assert sorted(loaded["id"]) == sorted(row for table in tables for row in table["id"].to_pylist())
    assert loaded.column_names == tables[0].column_names
    if tier == "L1":
        assert loaded[0]["quality.lang_confidence"] > 0


def test_columns_of_every_kind_load(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    extra = [
        pa.field("score.quality", pa.float32()),
        pa.field("score.by", pa.map_(pa.string(), pa.float32())),
        pa.field("claim.spans", pa.list_(pa.struct([pa.field("start", pa.int64()), pa.field("kind", pa.string())]))),
    ]
    schema = pa.schema([*DOCUMENT, *extra])
    row = {"id": "a", "text": "t", "source": "s", "media": [], "parents": ["b"], "meta": [("key", "value")]}
    row |= {"score.quality": 0.5, "score.by": [("depth", 1.0)], "claim.spans": [{"start": 3, "kind": "x"}]}
    table = pa.Table.from_pylist([row], schema=schema)
    pq.write_table(table.cast(loadable(schema)), tmp_path / "train.parquet")
    loaded = datasets.load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))["train"][0]
    assert loaded["meta"] == [{"key": "key", "value": "value"}]
    assert loaded["score.by"] == [{"key": "depth", "value": 1.0}]
    assert (loaded["score.quality"], loaded["claim.spans"]) == (0.5, [{"start": 3, "kind": "x"}])


def test_the_columns_of_every_stage_are_known_to_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    given = {column.name: column for stages in STAGES.values() for stage in stages for column in stage.gives}
    assert {"score.quality", "quality.lang_confidence"} <= set(given)
    features = datasets.Features.from_arrow_schema(loadable(with_columns(list(given.values()))))
    assert set(features) == {*DOCUMENT.names, *given}


def test_the_card_tells_the_figures(licensed: Path, tmp_path: Path) -> None:
    release(Store(str(licensed)), "L1", str(tmp_path / "set"))
    card, front = (tmp_path / "set" / "README.md").read_text(), front_matter(tmp_path / "set")
    assert front["license"] == ["cc-by-sa-4.0", "mit", "other", "unknown"]
    assert front["license_name"] == "PSF-2.0"
    assert front["size_categories"] == ["n<1K"]
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert "| L0 raw | 41 | 0 | 1 | 40 |" in card
    assert "| L0 | `read_jsonl.invalid_json` | quarantined | 1 | 2.4 % |" in card
    assert "| `MIT` | 10 | 25.0 % |" in card
    assert "| unknown | 10 | 25.0 % |" in card
    status = run_status(Store(str(licensed)))["tiers"][1]
    assert f"{status['rows']:,} rows, {status['tokens']:,} tokens" in card


def test_the_card_tells_what_language_models_were_asked_up_to_its_tier(licensed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(licensed, out)
    cache = request_cache(str(out), {}, Budget())
    for stage in ("L1/annotate", "L1/annotate", "L2/edit"):  # one that was killed, and the one behind it
        account = Account(Folder(cache.spending), stage, "a|model", Price(prompt=1, completion=2), Budget())
        account.charge([Result("", Finish.STOP, prompt_tokens=1_000_000, completion_tokens=250_000)])
    release(Store(str(out)), "L1", str(tmp_path / "set"))
    cost = (tmp_path / "set" / "README.md").read_text().partition("## What it cost")[2]
    assert "| L1/annotate | a model | 2 | 2,000,000 | 0 | 500,000 | 3.00 USD |" in cost
    assert "L2/edit" not in cost


def test_lineage_names_inputs_steps_and_prints(licensed: Path, tmp_path: Path) -> None:
    release(Store(str(licensed)), "L1", str(tmp_path / "set"))
    lineage = json.loads((tmp_path / "set" / "lineage.json").read_text())
    plan = json.loads((licensed / "plan.json").read_text())
    assert [file["digest"] for file in lineage["inputs"]] == [shard["digest"] for shard in plan["shards"]]
    assert [part["tier"] for part in lineage["tiers"]] == ["L0", "L1"]
    manifest = licensed / "L1" / "manifest.json"
    assert lineage["tiers"][1]["manifest"]["sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert lineage["tiers"][1]["steps"][0]["stages"] == plan["steps"][1]["stages"]
    assert str(licensed.parent) not in (tmp_path / "set" / "lineage.json").read_text()


def test_the_same_run_gives_the_same_files_and_their_checksums(licensed: Path, tmp_path: Path) -> None:
    files = release(Store(str(licensed)), "L1", str(tmp_path / "one")).files
    release(Store(str(licensed)), "L1", str(tmp_path / "two"))
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    listed = dict(line.split("  ")[::-1] for line in (tmp_path / "one" / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == set(files) - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((tmp_path / "one" / name).read_bytes()).hexdigest() == digest


def test_the_rows_are_those_of_the_tier_in_its_order(licensed: Path, tmp_path: Path) -> None:
    release(Store(str(licensed)), "L1", str(tmp_path / "set"))
    released = pq.read_table(tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
    store, shards = Store(str(licensed)), json.loads((licensed / "plan.json").read_text())["shards"]
    tables = [read_table(store, f"L1/1-exact_duplicates/data/{shard['name']}.arrow") for shard in shards]
    for column in ("id", "text", "license", "source"):
        assert released[column].to_pylist() == pa.concat_tables(tables)[column].to_pylist()


def test_what_is_not_whole_or_damaged_is_refused(licensed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(licensed, tmp_path / "copy"))
    victim = next(iter(sorted(copy.glob("L1/*/data/*.arrow"))))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(ArtifactError, match="not what was committed"):
        release(Store(str(copy)), "L1", str(tmp_path / "set"))
    (copy / "L1" / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="not whole"):
        release(Store(str(copy)), "L1", str(tmp_path / "set"))
    with pytest.raises(RecipeError, match=r"no such tier; got 'L4'; expected \['L0', 'L1'\]"):
        release(Store(str(copy)), "L4", str(tmp_path / "set"))
    assert {path.name for path in tmp_path.iterdir()} == {"copy"}


def test_nothing_is_overwritten(licensed: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    release(Store(str(licensed)), "L0", str(tmp_path / "set"))
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}
    with pytest.raises(ArtifactError, match="is not empty"):
        release(Store(str(licensed)), "L1", str(tmp_path / "set"))
    assert before == {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}


def test_an_object_store_can_be_released_to(licensed: Path) -> None:
    summary = release(Store(str(licensed)), "L1", "memory://releases/licensed")
    target = Store("memory://releases/licensed")
    assert target.list("") == ["README.md", "SHA256SUMS", "data", "lineage.json"]
    assert len(target.read("data/train-00000-of-00001.parquet")) == summary.bytes


def test_a_hostile_licence_stays_in_its_cell(tmp_path: Path, write_recipe: Recipes, run: Run) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "a text", "license": HOSTILE}))
    run(write_recipe(inputs=[{"path": str(tmp_path / "in.jsonl")}], l1=[]), tmp_path / "out")
    release(Store(str(tmp_path / "out")), "L0", str(tmp_path / "set"))
    card = (tmp_path / "set" / "README.md").read_text()
    assert not any(line.startswith("# not") for line in card.splitlines())
    assert "| `evil </td> # not a heading` | 1 | 100.0 % |" in card
    assert front_matter(tmp_path / "set")["license"] == "other"
