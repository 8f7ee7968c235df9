"""Has a language model judge a sample of the documents.

The published selectors let a large model rate a seed set and distil its ratings into a cheap classifier that scores
everything (FineWeb-Edu; UltraData-Math-L2; Ultra-FineWeb, MiniCPM4 report, section 3.1). This is the first half;
`distil` is the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, ClassVar

import pyarrow as pa
import xxhash
from pydantic import Field, field_validator

from tiers.document import add_column
from tiers.l2_scored.rubric import Rubric, load_rubric
from tiers.llm import LLM, Finish, open_llm
from tiers.stage import Context, Outcome, Stage, Usage, fates

JUDGE = pa.field("score.judge", pa.float32())


class AnnotateReason(StrEnum):
    """Why `annotate` could not process a row."""

    JUDGE_FAILED = "judge_failed"


class Annotate(Stage):
    """Rates a sample of the documents by a rubric; `score.judge` is null for the others.

    Attributes:
        llm: The judge, as `open_llm` names it.
        rubric: A rubric that comes with Tierline, by name, or one written out. `educational` suits small models in
            process, `educational-rating` models that follow instructions and servers.
        share: How much of the documents to judge. Which ones follows from their ids alone, and a larger share
            contains a smaller one, so raising it asks only about the new ones.
        excerpt_chars: How much of a document's beginning the judge reads.
    """

    name: ClassVar[str] = "annotate"
    gives: ClassVar[tuple[pa.Field, ...]] = (JUDGE,)
    uses_model: ClassVar[bool] = True

    llm: str = "smollm2-135m"
    rubric: str | Rubric = "educational"
    share: float = Field(default=0.1, gt=0, le=1)
    excerpt_chars: int = Field(default=700, ge=50)

    @field_validator("rubric")
    @classmethod
    def _known(cls, value: str | Rubric) -> str | Rubric:
        if isinstance(value, str):
            load_rubric(value)
        return value

    def identity(self) -> dict[str, Any]:
        """As for any stage, with the rubric's contents in place of its name."""
        identity = super().identity()
        identity["parameters"]["rubric"] = self._rubric().model_dump(mode="json")
        return identity

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Opens the judge."""
        judge = open_llm(self.llm, context.models, context.cache, context.threads)
        rubric = self._rubric()

        def annotate(table: pa.Table) -> Outcome:
            ids = table["id"].to_pylist()
            chosen = [row for row, row_id in enumerate(ids) if in_sample(row_id, self.share)]
            texts = table["text"].take(pa.array(chosen, pa.int64())).to_pylist()
            verdicts, usage = judged(judge, rubric, [excerpt(text, self.excerpt_chars) for text in texts])
            scores: list[float | None] = [None] * len(ids)
            keep, failed = [True] * len(ids), []
            for row, verdict in zip(chosen, verdicts, strict=True):
                if isinstance(verdict, float):
                    scores[row] = verdict
                else:
                    keep[row] = False
                    failed.append((ids[row], AnnotateReason.JUDGE_FAILED, verdict))
            kept = add_column(table, JUDGE, scores).filter(pa.array(keep, pa.bool_()))
            return Outcome(kept=kept, failed=fates(failed), usage=usage)

        return annotate

    def _rubric(self) -> Rubric:
        return load_rubric(self.rubric) if isinstance(self.rubric, str) else self.rubric


def judged(judge: LLM, rubric: Rubric, texts: Sequence[str]) -> tuple[list[float | str], Usage]:
    """Has `judge` rate each text by `rubric`.

    Returns:
        For each text its score, or what went wrong; and what was asked for.
    """
    asked = [rubric.requests(text) for text in texts]
    results = judge.complete([request for requests in asked for request in requests])
    answered = iter(results)
    verdicts: list[float | str] = []
    for requests in asked:
        answers = [next(answered) for _ in requests]
        wrong = next((answer for answer in answers if answer.finish is not Finish.STOP), None)
        verdicts.append(
            rubric.score(answers) if wrong is None else wrong.error or f"the reply ended with {wrong.finish}"
        )
    return verdicts, Usage.of(results)


def in_sample(row_id: str, share: float) -> bool:
    """Whether the row is in the sample of this share, by a hash of its id."""
    return xxhash.xxh3_64_intdigest(f"sample/{row_id}".encode()) < share * 2**64


def excerpt(text: str, chars: int) -> str:
    """The beginning of `text`, at most `chars` characters, cut behind a word where there is one."""
    if len(text) <= chars:
        return text
    return text[:chars].rpartition(" ")[0] or text[:chars]
