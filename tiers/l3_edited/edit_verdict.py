"""Whether a document is worth keeping at all, as a language model judges by its beginning.

ProX (arXiv 2409.17115) asks this first too, of a model of its own that writes `drop_doc()`. Here the editor is asked,
in another prompt, and writes nothing: how likely `drop` is as its one word costs one reading, and can be held against
a threshold. What is dropped costs no window.
"""

from __future__ import annotations

import math
from enum import StrEnum

import pyarrow as pa

from tiers.l3_edited.edit_prompt import Verdict, verdict_conversation
from tiers.l3_edited.editor import EditNote, without
from tiers.llm import LLM, Finish, Request, Result
from tiers.stage import Outcome, Usage, fates

BEGINNING = 3000
"""Characters of a document that the packaged editor has learned to judge by. ProX shows 2,000 tokens."""


class VerdictDropped(StrEnum):
    """Why a document is dropped."""

    WORTHLESS = "edit_dropped.worthless"


def verdict_request(text: str, shown: int = BEGINNING) -> Request:
    """Asks how likely a document is to be worthless by its first `shown` characters."""
    return Request(verdict_conversation(text[:shown]), choices=tuple(Verdict))


def worthless(result: Result) -> float:
    """How likely `drop` is, of the two words that may be said."""
    keep, drop = result.logprobs
    return 0.5 * (1 + math.tanh(0.5 * (drop - keep)))


def judge(table: pa.Table, llm: LLM, threshold: float, shown: int = BEGINNING) -> Outcome:
    """Drops the documents of `table` that are worthless with a probability above `threshold`."""
    texts = table["text"].to_pylist()
    asked = list(dict.fromkeys(text[:shown] for text in texts))
    results = llm.complete([verdict_request(text, shown) for text in asked])
    verdicts = dict(zip(asked, results, strict=True))
    dropped, failed = [], []
    for row_id, text in zip(table["id"].to_pylist(), texts, strict=True):
        verdict = verdicts[text[:shown]]
        if verdict.finish is Finish.ERROR:
            failed.append((row_id, EditNote.MODEL_FAILED, verdict.error))
        elif (probability := worthless(verdict)) > threshold:
            dropped.append((row_id, VerdictDropped.WORTHLESS, f"{probability:.4f} > {threshold:g}"))
    kept = without(table, [row_id for row_id, *_ in (*dropped, *failed)])
    return Outcome(kept, fates(dropped), fates(failed), usage=Usage.of(results))
