"""The rules decide, and give reasons, as datatrove's filters do: on Python's documentation and broken copies of it."""

import pydoc
import random
import sys
import sysconfig
from pathlib import Path

import pytest

from tiers.document import documents
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.stage import Context

MODULES = 25
ENTRIES = "calendar csv difflib enum pathlib random statistics textwrap zipfile".split()


@pytest.fixture(scope="module")
def texts():
    chosen = [name for name in ENTRIES if (Path(sysconfig.get_path("stdlib")) / name).with_suffix(".py").exists()]
    found = [sys.modules[name].__doc__ or "" for name in sorted(sys.modules) if hasattr(sys.modules[name], "__doc__")]
    found = [text for text in found if isinstance(text, str) and len(text) > 200][:MODULES]
    found += [pydoc.plaintext.document(pydoc.safeimport(name))[:4000] for name in chosen]
    order = random.Random(7)
    for text in list(found):
        lines = text.splitlines()
        found.append(" ".join(text.split()))
        found.append("\n".join(order.choices(lines, k=len(lines))))
        found.append("\n".join(line.strip() + "." for line in lines if line.strip()))
    return found


@pytest.fixture(scope="module")
def filters():
    pytest.importorskip("spacy", reason="datatrove splits English with spaCy")
    return pytest.importorskip("datatrove.pipeline.filters", reason="datatrove is the reference", exc_type=ImportError)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["gopher_repetition", "gopher_quality", "c4", "c4_any_line", "fineweb"])
def test_decisions_and_reasons_are_those_of_datatrove(filters, texts, family, tmp_path):
    from datatrove.data import Document

    theirs, parameters = {
        "gopher_repetition": (filters.GopherRepetitionFilter(), {}),
        "gopher_quality": (filters.GopherQualityFilter(), {}),
        "c4": (filters.C4QualityFilter(), {}),
        "c4_any_line": (filters.C4QualityFilter(filter_no_terminal_punct=False), {"terminal_punctuation": False}),
        "fineweb": (filters.FineWebQualityFilter(), {}),
    }[family]
    off = dict.fromkeys(("gopher_repetition", "gopher_quality", "c4", "fineweb"))
    stage = QualityRules(**{**off, family.removesuffix("_any_line"): parameters})
    table = documents([{"text": text, "source": str(number)} for number, text in enumerate(texts)])
    dropped = stage.prepare(Context(models=tmp_path))(table).dropped
    reasons = dict(zip(dropped["id"].to_pylist(), dropped["reason"].to_pylist(), strict=True))
    pairs = set()
    disagreed = 0
    for row_id, text in zip(table["id"].to_pylist(), texts, strict=True):
        their, our = theirs.filter(Document(text=text, id="")), reasons.get(row_id)
        disagreed += (their is True) != (our is None)
        pairs.add((None if their is True else their[1], our))

    assert disagreed <= 0.005 * len(texts)
    # Each of their reasons goes with one of ours, and the other way round.
    assert len({their for their, _ in pairs}) == len({our for _, our in pairs}) == len(pairs)
    assert len(pairs) > 1
