"""Has a language model judge a sample of the documents.

The published selectors let a large model rate a seed set and distil its ratings into a cheap classifier that scores
everything (FineWeb-Edu; UltraData-Math-L2; Ultra-FineWeb, MiniCPM4 report, section 3.1). This is the first half;
`distil` is the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from math import isfinite
from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
import xxhash
from pydantic import Field, field_validator, model_validator

from tiers.document import add_column
from tiers.l2_scored.rubric import ChannelRubric, Rating, Rubric, load_rubric, rubric_names
from tiers.llm import LLM, Finish, Request, Result, is_transformers, open_llm
from tiers.stage import Context, Outcome, Stage, Usage, fates

JUDGE = pa.field("score.judge", pa.float32())
JUDGE_BY = pa.field("score.judge_by", pa.map_(pa.string(), pa.float32()))
JUDGE_AGAIN = pa.field(
    "score.judge_again", pa.struct([pa.field("repeated", pa.float32()), pa.field("permuted", pa.float32())])
)


_LONG_WORD = 50
"""A longer run of characters is no word: Chinese may have no space in a page."""


class AnnotateReason(StrEnum):
    """Why `annotate` could not process a row."""

    JUDGE_FAILED = "judge_failed"


class Annotate(Stage):
    """Rates a sample of the documents by a rubric; `score.judge` is null for the others.

    `score.judge_by` holds the rating in each dimension, where the rubric has several, and `score.judge_again` what the
    judge said of some of these rows when it was asked again.

    Attributes:
        llm: The judge, as `open_llm` names it.
        rubric: A rubric that comes with Tierline, by name, or a YAML file of your own, or one written out.
            `educational` suits small models in process, the others models that follow instructions, and servers.
        reading: How the judge's rating is read: `logits` is the expected value over the answers' probabilities;
            `reply` is what it writes, for servers that give no probabilities.
        share: How much of the documents to judge. Which ones follows from their ids alone, and a larger share
            contains a smaller one, so raising it asks only about the new ones.
        again: How much of the judged ones to judge twice more: by the same question, and by one whose parts stand in
            another order, if it has such parts. `distil` reports how far the judge agrees with itself.
        excerpt_chars: How much of a document's beginning the judge reads.
    """

    name: ClassVar[str] = "annotate"
    version: ClassVar[int] = 3
    gives: ClassVar[tuple[pa.Field, ...]] = (JUDGE, JUDGE_BY, JUDGE_AGAIN)
    uses_model: ClassVar[bool] = True

    llm: str = "smollm2-135m"
    rubric: str | Rubric = "educational"
    reading: Literal["logits", "reply"] = "logits"
    share: float = Field(default=0.1, gt=0, le=1)
    again: float = Field(default=0.05, ge=0, le=1)
    excerpt_chars: int = Field(default=700, ge=50)

    @field_validator("rubric")
    @classmethod
    def _known(cls, value: str | Rubric) -> str | Rubric:
        """A file is read here, so that workers need not have it."""
        if isinstance(value, str):
            rubric = load_rubric(value)
            return value if value in rubric_names() else rubric
        return value

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if not isinstance(self._rubric(), ChannelRubric):
            return self
        if self.reading == "reply":
            raise ValueError("a channel rubric weighs documents; it asks for no reply")
        if not is_transformers(self.llm):
            raise ValueError(
                f"a channel rubric weighs the document as a given reply, which {self.llm!r} can't; name a model that "
                "transformers runs in this process, or a rubric that asks, such as educational-rating"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """As for any stage, with the rubric's contents in place of its name."""
        identity = super().identity()
        identity["parameters"]["rubric"] = self._rubric().model_dump(mode="json")
        return identity

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Opens the judge."""
        judge = open_llm(self.llm, context.models, context.cache, context.threads)
        rubric, written = self._rubric(), self.reading == "reply"

        def annotate(table: pa.Table) -> Outcome:
            ids = table["id"].to_pylist()
            chosen = [row for row, row_id in enumerate(ids) if in_sample(row_id, self.share)]
            texts = [excerpt(table["text"][row].as_py(), self.excerpt_chars) for row in chosen]
            verdicts, usage = judged(judge, rubric, texts, written)
            ratings = dict(zip(chosen, verdicts, strict=True))
            failed = {row: verdict for row, verdict in ratings.items() if isinstance(verdict, str)}
            whole = [(row, text) for row, text in zip(chosen, texts, strict=True) if row not in failed]
            twice = {row: text for row, text in whole if in_sample(ids[row], self.again, "again")}
            again, more = asked_again(judge, rubric, list(twice.values()), written)
            columns = _columns(len(ids), ratings, dict(zip(twice, again, strict=True)))
            for column, values in columns.items():
                table = add_column(table, column, values)
            keep = pa.array([row not in failed for row in range(len(ids))], pa.bool_())
            reasons = [(ids[row], AnnotateReason.JUDGE_FAILED, wrong) for row, wrong in failed.items()]
            return Outcome(kept=table.filter(keep), failed=fates(reasons), usage=usage + more)

        return annotate

    def _rubric(self) -> Rubric:
        return load_rubric(self.rubric) if isinstance(self.rubric, str) else self.rubric


Verdict = Rating | str
"""A rating, or what went wrong."""


def judged(judge: LLM, rubric: Rubric, texts: Sequence[str], written: bool = False) -> tuple[list[Verdict], Usage]:
    """Has `judge` rate each text by `rubric`.

    Returns:
        The verdict on each text, and what was asked for.
    """
    return _verdicts(judge, rubric, [rubric.requests(text, written) for text in texts], written)


def asked_again(
    judge: LLM, rubric: Rubric, texts: Sequence[str], written: bool = False
) -> tuple[list[tuple[Verdict, Verdict | None]], Usage]:
    """Has `judge` rate each text by the same question anew, and by one whose parts stand in another order.

    Returns:
        Both verdicts on each text, the second `None` where no other order is asked differently, and what was asked for.
    """
    first = [rubric.requests(text, written) for text in texts]
    # what is asked is the same, but the cache of requests has no answer for its seed
    anew = [[replace(request, seed=1) for request in requests] for requests in first]
    repeated, usage = _verdicts(judge, rubric, anew, written)
    other = rubric.permuted()
    second = [other.requests(text, written) for text in texts]
    if all(request in before for before, after in zip(first, second, strict=True) for request in after):
        return [(verdict, None) for verdict in repeated], usage
    permuted, more = _verdicts(judge, other, second, written)
    return list(zip(repeated, permuted, strict=True)), usage + more


def _verdicts(
    judge: LLM, rubric: Rubric, asked: Sequence[Sequence[Request]], written: bool
) -> tuple[list[Verdict], Usage]:
    results = judge.complete([request for requests in asked for request in requests])
    answered = iter(results)
    verdicts = [_verdict(rubric, [next(answered) for _ in requests], written) for requests in asked]
    return verdicts, Usage.of(results)


def _verdict(rubric: Rubric, answers: Sequence[Result], written: bool) -> Verdict:
    wrong = next((answer for answer in answers if answer.finish is not Finish.STOP), None)
    if wrong is not None:
        return wrong.error or f"the reply ended with {wrong.finish}"
    try:
        rating = rubric.rating(answers, written)
    except ValueError as error:
        return str(error)
    return rating if all(map(isfinite, (rating.overall, *rating.by.values()))) else f"{rating.overall} is no rating"


def _columns(
    rows: int, ratings: Mapping[int, Verdict], again: Mapping[int, tuple[Verdict, Verdict | None]]
) -> dict[pa.Field, list[Any]]:
    """The columns that the stage gives."""
    said = [_said(ratings.get(row)) for row in range(rows)]
    twice = [
        {name: _overall(verdict) for name, verdict in zip(("repeated", "permuted"), again[row], strict=True)}
        if row in again
        else None
        for row in range(rows)
    ]
    return {
        JUDGE: [rating.overall if rating else None for rating in said],
        JUDGE_BY: [list(rating.by.items()) if rating else None for rating in said],
        JUDGE_AGAIN: twice,
    }


def _said(verdict: Verdict | None) -> Rating | None:
    return verdict if isinstance(verdict, Rating) else None


def _overall(verdict: Verdict | None) -> float | None:
    return verdict.overall if isinstance(verdict, Rating) else None


def in_sample(row_id: str, share: float, sample: str = "sample") -> bool:
    """Whether the row is in the sample of this share and name, by a hash of its id."""
    return xxhash.xxh3_64_intdigest(f"{sample}/{row_id}".encode()) < share * 2**64


def excerpt(text: str, chars: int) -> str:
    """The beginning of `text`, at most `chars` characters, cut behind a word where the script parts words by spaces."""
    if len(text) <= chars:
        return text
    end = text.rfind(" ", max(1, chars - _LONG_WORD), chars)
    return text[: end if end > 0 else chars]
