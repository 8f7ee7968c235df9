from __future__ import annotations

import gzip
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.poison import break_parser, warc_record, write_poison
from tiers.l0_raw import FORMATS, ExtractHtml, format_of, read_warc
from tiers.stage import Context, check_outcome


def test_poison_fails_row_by_row_and_every_good_document_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_poison(tmp_path / "poison", good=30, per_file=20)
    break_parser(monkeypatch)
    stage = ExtractHtml()
    apply = stage.prepare(Context(models=tmp_path))
    failed: Counter[str] = Counter()
    ids: list[str] = []
    kept = 0
    for path in sorted(corpus.folder.iterdir()):
        with path.open("rb") as stream:
            for read in FORMATS[format_of(path.name)].read(stream, path.name):
                outcome = apply(read.kept)
                check_outcome(stage, read.kept, outcome)
                assert read.dropped.num_rows == outcome.dropped.num_rows == 0
                for gone in (read.failed, outcome.failed):
                    failed.update(gone["reason"].to_pylist())
                    ids += gone["id"].to_pylist()
                kept += outcome.kept.num_rows
                ids += outcome.kept["id"].to_pylist()
                assert all(text and "\0" not in text for text in outcome.kept["text"].to_pylist())
    assert kept == corpus.good
    assert failed == corpus.failed
    assert len(set(ids)) == len(ids)


def test_a_broken_parser_names_its_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    corpus = write_poison(tmp_path, good=4)
    break_parser(monkeypatch)
    apply = ExtractHtml().prepare(Context(models=tmp_path))
    with (corpus.folder / "crawl-000.warc.gz").open("rb") as stream:
        rows = [row for read in read_warc(stream, "x") for row in apply(read.kept).failed.to_pylist()]
    (detail,) = [row["detail"] for row in rows if row["reason"] == "parser_error"]
    assert detail == "ValueError: the parser gave up"


_MEASURE = """
import resource, sys
from tiers.l0_raw import read_warc
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as stream:
    reasons = [reason for read in read_warc(stream, "x") for reason in read.failed["reason"].to_pylist()]
print(*reasons, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts kilobytes as Linux does")
def test_records_too_large_are_never_held_whole(tmp_path: Path) -> None:

    bomb = gzip.compress(b"x" * 120_000_000, 1)
    http = "Content-Type: text/html\r\nContent-Encoding: gzip\r\n"
    inner = warc_record(bomb, http=http)
    path = tmp_path / "large.warc.gz"
    path.write_bytes(gzip.compress(warc_record(b"x" * 120_000_000), 1) + gzip.compress(inner))
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)], check=True, capture_output=True, text=True, timeout=120
    )
    *reasons, megabytes = run.stdout.split()
    assert reasons == ["too_large", "too_large"]
    assert int(megabytes) < 90
