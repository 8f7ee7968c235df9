import gzip
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from pipelines.artifact import Store, read_table
from pipelines.dataflow import run_plan
from pipelines.engine import LocalEngine
from pipelines.plan import make_plan
from pipelines.plots import Bar, Series, bars, escape, histogram
from pipelines.progress import RunProgress
from pipelines.recipe import load_recipe
from pipelines.report import write_report
from pipelines.report_data import LENGTH_BINS, gather
from pipelines.status import run_status
from tiers.errors import ArtifactError
from tiers.stage import Context

Recipes = Callable[..., Path]
Run = Callable[..., object]

HOSTILE = '</pre><script>alert("x")</script><img src=x onerror=alert(1)> \x00 tail'
VOID = {"meta", "br"}


class Page(HTMLParser):
    """What a browser would find: the tags, balanced, with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report(Store(str(finished)), out) == str(out)
    return out.read_text()


def test_the_page_tells_every_tier_reason_and_figure(finished: Path, page: str) -> None:
    found = Page(page)
    text = " ".join(found.text)
    for tier in run_status(Store(str(finished)))["tiers"]:
        assert f"{tier['rows_in']:,} rows in" in text
        for step in tier["steps"]:
            for stage in step["stages"]:
                assert stage["stage"] in text
                for reason, number in stage["dropped"].items():
                    label = reason.removeprefix(f"{stage['stage']}.")
                    assert f">{label}</text>" in page
                    assert f"{label}: {number:,} (" in text
    assert "Every row between is accounted for." in text


def test_the_page_needs_nothing_beside_itself(page: str) -> None:
    found = Page(page)
    assert not {"script", "img", "link", "iframe", "object", "embed"} & {tag for tag, _ in found.tags}
    assert not re.search(r"url\(|@import|https?://", page.split("</style>")[0])
    links = [attrs["href"] for tag, attrs in found.tags if tag == "a"]
    anchors = {attrs["id"] for _, attrs in found.tags if "id" in attrs}
    assert links
    assert {link[1:] for link in links if link} <= anchors
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)


def test_the_same_run_gives_the_same_page(finished: Path, page: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    assert write_report(Store(str(copy))) == str(copy / "report.html")
    assert (copy / "report.html").read_text() == page


def test_hostile_text_is_shown_and_not_obeyed(tmp_path: Path, write_recipe: Recipes, run: Run) -> None:
    rows = [{"text": HOSTILE + " word" * number} for number in range(4)] * 2
    source = tmp_path / "<b>in.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    run(write_recipe(inputs=[{"path": str(source)}], l1=["exact_duplicates"]), tmp_path / "out")
    written = write_report(Store(str(tmp_path / "out")))
    page = Path(written).read_text()
    found = Page(page)
    assert not {"script", "img", "b>in.jsonl#0"} & {tag for tag, _ in found.tags}
    assert '<script>alert("x")</script>' in "".join(found.text)
    assert "\x00" not in page


def test_examples_of_lost_rows_show_text_and_figure(finished: Path) -> None:
    store = Store(str(finished))
    report = gather(store)
    losses = [loss for tier in report.tiers for loss in tier.losses if loss.stage == "quality_rules"]
    assert losses
    texts = {
        row["id"]: row["text"]
        for name in store.list("L0/1-read/data")
        for row in read_table(store, f"L0/1-read/data/{name}").to_pylist()
    }
    ledger = pa.concat_tables(
        [read_table(store, f"L1/1-language+quality_rules/ledger/{name}") for name in store.list("L0/1-read/data")]
    ).to_pylist()
    for loss in losses:
        mine = sorted((row["id"], row["detail"]) for row in ledger if row["reason"] == loss.reason)
        assert loss.count == len(mine)
        assert [(example.id, example.detail) for example in loss.examples] == mine[:2]
        for example in loss.examples:
            assert texts[example.id].startswith(example.text)
            assert example.length == len(texts[example.id])


def test_lengths_count_every_text(finished: Path) -> None:
    store = Store(str(finished))
    first = gather(store).tiers[0]
    lengths = [
        len(text)
        for name in store.list("L0/1-read/data")
        for text in read_table(store, f"L0/1-read/data/{name}")["text"].to_pylist()
    ]
    assert first.lengths.sum() == len(lengths)
    assert first.lengths[16:18].sum() == sum(256 <= length < 512 for length in lengths)
    assert first.lengths.shape == (LENGTH_BINS,)


def test_an_unfinished_run_says_so(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    (copy / "L1" / "manifest.json").unlink()
    for path in copy.glob("L1/3-near_duplicates/commits/*.json"):
        path.unlink()
    assert "Unfinished: L1 filtered." in Path(write_report(Store(str(copy)))).read_text()


def test_counts_that_do_not_balance_stand_at_the_top(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    victim = sorted(copy.glob("L1/1-*/commits/*.json"))[0]
    record = json.loads(victim.read_text())
    record["stages"][0]["kept"] -= 1
    victim.write_text(json.dumps(record))
    page = Path(write_report(Store(str(copy)))).read_text()
    assert "accounted for</span>" in page
    assert "Every row between is accounted for." not in page


def test_where_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"plan\.json: the file is missing"):
        write_report(Store(str(tmp_path)))


def test_a_score_shows_what_was_cut_and_where(
    tmp_path: Path, corpus: Path, write_recipe: Recipes, models_dir: Path
) -> None:
    lines = gzip.decompress((corpus / "part-0.jsonl.gz").read_bytes()).splitlines()[:12]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    judge = {"llm": "smollm2-135m", "share": 1.0, "excerpt_chars": 50}
    stages = [{"annotate": judge}, {"distil": {"least": 10}}, {"select": {"keep_share": 0.25}}]
    recipe = write_recipe(inputs=[{"path": str(tmp_path / "in.jsonl")}], l1=["exact_duplicates"], l2=stages)
    progress = RunProgress(Console(quiet=True), quiet=True)
    run_plan(make_plan(load_recipe(recipe)), str(tmp_path / "out"), LocalEngine(), Context(models=models_dir), progress)
    store = Store(str(tmp_path / "out"))
    judged, quality = gather(store).tiers[2].scores
    assert (judged.column, judged.threshold) == ("score.judge", None)
    assert (quality.column, quality.before.sum(), quality.after.sum()) == ("score.quality", 12, 3)
    kept = [
        score
        for name in store.list("L2/3-select/data")
        for score in read_table(store, f"L2/3-select/data/{name}")["score.quality"].to_pylist()
    ]
    assert quality.threshold == min(kept)
    assert quality.high == max(kept)
    assert quality.measured["judged"] == [12]
    page = Path(write_report(store)).read_text()
    assert f"threshold {quality.threshold:.3g}</text>" in page
    assert "judged 12, spearman" in page
    assert "Calibration and keep rates" in page
    assert "12 rows scored" in page
    assert "3 rows kept" in page


def test_plots_hold_their_data() -> None:
    plot = bars([Bar("<a>", "3", (1.0, 0.5)), Bar("b", "0", (0.0,))], "keep", "t")
    assert [attrs.get("width") for tag, attrs in Page(plot).tags if tag == "rect" and attrs["class"] != "rail"] == [
        "100%",
        "50%",
    ]
    assert "&lt;a&gt;" in plot
    drawn = Page(histogram([Series("rows", [0, 5, 10], "keep")], ["x", "y", "z"], [(0.0, "0"), (1.0, "3")], "t"))
    heights = [float(attrs["height"]) for tag, attrs in drawn.tags if tag == "rect"]
    assert heights == [48.0, 96.0]
    assert escape("a\x07<\n") == "a\ufffd&lt;\n"
