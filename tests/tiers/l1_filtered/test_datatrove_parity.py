"""The rules decide, and give reasons, as datatrove's filters do: on Python's documentation and broken copies of it."""

import pydoc
import random
import sys
import sysconfig
from pathlib import Path

import pytest

from tiers.l1_filtered.measures import Measures, WordMemory
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.l1_filtered.rules import C4

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
def test_decisions_and_reasons_are_those_of_datatrove(filters, texts, family):
    from datatrove.data import Document

    rules = QualityRules()
    memory = WordMemory()
    theirs, ours = {
        "gopher_repetition": (
            filters.GopherRepetitionFilter(),
            lambda t: rules.gopher_repetition.judge(Measures(t, memory)),
        ),
        "gopher_quality": (filters.GopherQualityFilter(), lambda t: rules.gopher_quality.judge(Measures(t, memory))),
        "c4": (filters.C4QualityFilter(), lambda t: rules.c4.judge(t, memory)[0]),
        "c4_any_line": (
            filters.C4QualityFilter(filter_no_terminal_punct=False),
            lambda t: C4(terminal_punctuation=False).judge(t, memory)[0],
        ),
        "fineweb": (filters.FineWebQualityFilter(), lambda t: rules.fineweb.judge(Measures(t, memory))),
    }[family]
    pairs = set()
    disagreed = 0
    for text in texts:
        their, our = theirs.filter(Document(text=text, id="")), ours(text)
        disagreed += (their is True) != (our is None)
        pairs.add((None if their is True else their[1], our and our[0]))

    assert disagreed <= 0.005 * len(texts)
    # Each of their reasons goes with one of ours, and the other way round.
    assert len({their for their, _ in pairs}) == len({our for _, our in pairs}) == len(pairs)
    assert len(pairs) > 1
