from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipelines.sample import SHARES, SampleSummary, write_sample
from pipelines.sample_pages import docstring_html
from tiers.errors import RecipeError, SourceError
from tiers.l0_raw import ExtractHtml, read_warc
from tiers.stage import Context

WRITE = "import sys; from pathlib import Path; from pipelines.sample import write_sample as w; w(Path(sys.argv[1]), 60)"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return write_sample(tmp_path_factory.mktemp("sample"), pages=60, files=3)


def test_the_same_seed_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITE, str(tmp_path / hash_seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        for hash_seed in ("1", "2")
    ]
    assert [run.wait() for run in runs] == [0, 0]
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert len(names) == 8
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_every_page_is_read_back(sample: SampleSummary, tmp_path: Path) -> None:
    apply = ExtractHtml().prepare(Context(models=tmp_path))
    rows, dropped = [], Counter[str]()
    for path in sample.files:
        with path.open("rb") as stream:
            for read in read_warc(stream, path.name):
                assert not read.failed.num_rows
                dropped.update(read.dropped["reason"].to_pylist())
                outcome = apply(read.kept)
                assert not outcome.failed.num_rows
                rows += outcome.kept.to_pylist()
    assert len(rows) == sum(sample.pages.values()) == 60
    assert dropped["not_a_response"] == 3
    assert dropped["redirect"] == sample.redirects
    assert len({row["url"] for row in rows}) == 60
    assert not [row["url"] for row in rows if " at 0x" in row["text"] or "/home/" in row["text"]]
    assert not [row["url"] for row in rows if "cookies to make this site" in row["text"]]


def test_kinds_have_their_shares_and_files_about_one_size(sample: SampleSummary) -> None:
    assert set(sample.pages) == set(SHARES)
    assert all(abs(sample.pages[kind] - 60 * share) <= 3 for kind, share in SHARES.items())
    sizes = [path.stat().st_size for path in sample.files]
    assert sum(sizes) == sample.bytes
    assert max(sizes) < 2 * min(sizes)


def test_another_seed_gives_other_pages(sample: SampleSummary, tmp_path: Path) -> None:
    other = write_sample(tmp_path, pages=60, seed=1, files=3)
    assert [path.read_bytes() for path in other.files] != [path.read_bytes() for path in sample.files]


@pytest.mark.parametrize("wrong", [{"pages": 0}, {"files": 0}, {"shares": {"topics": 1.0}}, {"shares": {"topic": 0.0}}])
def test_wrong_parameters_are_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        write_sample(tmp_path, **wrong)  # type: ignore[arg-type]


def test_a_missing_renderer_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "docutils" else find_spec(name))
    with pytest.raises(SourceError, match=r"docutils.*tierline\[html\]"):
        write_sample(tmp_path)


def test_docstrings_become_html() -> None:
    text = (
        "First & last.\n\nParameters\n----------\nx : int\n    A number.\n\n>>> 1 < 2\nTrue\n\n- one\n- two\n  more\n"
    )
    assert docstring_html(text).split("\n") == [
        "<p>First &amp; last.</p>",
        "<h4>Parameters</h4>",
        "<pre>x : int",
        "    A number.</pre>",
        "<pre>&gt;&gt;&gt; 1 &lt; 2",
        "True</pre>",
        "<ul><li>one</li><li>two more</li></ul>",
    ]
