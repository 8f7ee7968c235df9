"""The gates that a product passes or fails: one function each, which says what was measured where it fails.

They stand in the order in which they are asked, so that the first one that fails is the reason in the ledger; those
that need a model come last (`synthesise`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from tiers.l1_filtered.contamination import BenchmarkIndex, composed
from tiers.l1_filtered.word_hashes import Hashes
from tiers.l3_edited.synthesis import grounding
from tiers.l3_edited.synthesis.answers import not_derived, uncheckable
from tiers.l3_edited.synthesis.families import Domain, Family, named
from tiers.l3_edited.synthesis.grounding import Share
from tiers.l3_edited.synthesis.maths_answers import MathsAnswers
from tiers.l3_edited.synthesis.products import Draft
from tiers.l3_edited.synthesis.replies import invalid, read_object
from tiers.llm.protocol import Finish, Result
from tiers.reference import Reference

MAX_REPEATED = 0.2
"""The largest share of a product's runs of words that stand earlier in it."""
MAX_SIMILARITY = 0.8
"""From which similarity on two products of one source are one, as in `near_duplicates`."""


class Gate(StrEnum):
    """Why a product is dropped."""

    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    LENGTH = "length"
    REPETITIVE = "repetitive"
    NEW_NUMBERS = "new_numbers"
    NEW_NAMES = "new_names"
    UNGROUNDED = "ungrounded"
    COPIED = "copied"
    NEAR_DUPLICATE = "near_duplicate"
    CONTAMINATED = "contaminated"
    ANSWER_UNCHECKABLE = "answer_uncheckable"
    ANSWER_NOT_IN_SOLUTION = "answer_not_in_solution"
    ANSWER_DIFFERS = "answer_differs"
    UNFAITHFUL = "unfaithful"


class CallFailed(StrEnum):
    """Why a product is in quarantine."""

    MODEL = "model_failed"


def read(draft: Draft, result: Result, family: Family, prefill: str) -> None:
    """Finish reason and schema: takes up what the model wrote, if it is whole and what was asked for."""
    draft.rehearsed = result.rehearsed
    if result.finish is Finish.ERROR:
        draft.failed = (CallFailed.MODEL, result.error)
    elif result.finish is not Finish.STOP:
        draft.drop(Gate.TRUNCATED, f"{result.completion_tokens} tokens")
    elif isinstance(found := read_object(result.text, prefill), str):
        draft.drop(Gate.MALFORMED, found)
    elif (fault := invalid(found, family.reply)) and not result.rehearsed:
        draft.drop(Gate.MALFORMED, fault)
    else:
        draft.content, draft.text = found, rendered(found, family)


def rendered(content: dict[str, Any], family: Family) -> str:
    """The running text of a product."""
    return family.text.format(**{name: _written(content[name], family.item) for name in named(family.text)})


def _written(value: Any, item: str) -> Any:
    """A field as the text has it: of a list, each element as `item` says."""
    return "\n\n".join(_item(each, item) for each in value) if isinstance(value, list) else value


def _item(item: Any, template: str) -> str:
    return template.format(**item) if isinstance(item, dict) else str(item)


def length(draft: Draft, words: tuple[int, int]) -> str | None:
    """The text has as many words as its family asks for."""
    count = grounding.count_words(draft.text)
    if count < words[0]:
        return f"{count} < {words[0]} words"
    return f"{count} > {words[1]} words" if count > words[1] else None


def repetitive(draft: Draft) -> str | None:
    """No part of it says the same over and over; a solution may repeat the question."""
    found = [grounding.repeated(part) for part in _parts(draft.content)]
    whole = Share(sum(each.part for each in found), sum(each.whole for each in found))
    return _above(whole, MAX_REPEATED, "runs of words repeated")


def new_numbers(draft: Draft, source: str, most: float) -> str | None:
    """The numbers are those of the source."""
    return _above(grounding.new_numbers(prose(draft.content), source), most, "numbers")


def new_names(draft: Draft, source: str, most: float) -> str | None:
    """The names are those of the source."""
    speakers = [turn.get("speaker", "") for turn in draft.content.get("turns", [])]
    return _above(grounding.new_names(prose(draft.content), source, speakers), most, "names")


def ungrounded(draft: Draft, source: str, least: float) -> str | None:
    """Enough of the words are the source's."""
    found = grounding.coverage(prose(draft.content), source)
    if found.value >= least:
        return None
    return f"{found.part} of {found.whole} words in the source, {found.value:.2f} < {least:g}{_such_as(found)}"


def copied(draft: Draft, source: str, most: float) -> str | None:
    """The text isn't a copy of its source."""
    return _above(grounding.copied(draft.text, source), most, "runs of words copied")


def near_duplicate(draft: Draft, before: Iterable[tuple[str, Hashes]]) -> str | None:
    """The text isn't that of another product of the same source."""
    mine = grounding.runs(draft.text)
    for other, theirs in before:
        if (found := grounding.similarity(mine, theirs)) >= MAX_SIMILARITY:
            return f"{found:.3f} similar to {other}"
    return None


def index_of(benchmarks: dict[str, Reference]) -> BenchmarkIndex | None:
    """Benchmarks as `decontaminate` looks for them, if there are any."""
    return BenchmarkIndex(benchmarks, (), n=13, min_words=8, max_items=100) if benchmarks else None


def contaminated(texts: Sequence[str], index: BenchmarkIndex | None) -> list[str | None]:
    """For each text the longest run of words that a benchmark has too."""
    found = index.search([composed(text) for text in texts]) if index else {}
    longest = {row: max(spans, key=lambda span: span.words) for row, spans in found.items()}
    return [
        "{} words of {}, {}".format(longest[row].words, *index.places[longest[row].item])
        if index and row in longest
        else None
        for row in range(len(texts))
    ]


def answer_uncheckable(draft: Draft, domain: Domain, maths: MathsAnswers) -> str | None:
    """The answer can be compared, and the question doesn't give it away."""
    if domain.answers is None:
        return None
    return uncheckable(draft.content["question"], draft.content["answer"], domain.answers, maths)


def answer_not_in_solution(draft: Draft, domain: Domain, maths: MathsAnswers) -> str | None:
    """The solution arrives at the answer."""
    if domain.answers is None or "solution" not in draft.content:
        return None
    return not_derived(draft.content["answer"], draft.content["solution"], domain.answers, maths)


def prose(content: dict[str, Any]) -> str:
    """All that a product says, without labels and without what it was shown."""
    return "\n".join(_parts(content))


def _parts(content: dict[str, Any]) -> list[str]:
    """What each field of a product says; a list as one part."""
    said = [value for key, value in content.items() if key not in ("context", "compared_as")]
    return ["\n".join(map(_statement, value)) if isinstance(value, list) else str(value) for value in said]


def _statement(item: Any) -> str:
    """What an element of a list says, without its label."""
    if not isinstance(item, dict):
        return str(item)
    return " ".join(str(value) for key, value in item.items() if key not in ("speaker", "kind"))


def _above(found: Share, most: float, what: str) -> str | None:
    if found.value <= most:
        return None
    return f"{found.part} of {found.whole} {what}, {found.value:.2f} > {most:g}{_such_as(found)}"


def _such_as(found: Share) -> str:
    return f": {', '.join(found.examples)}" if found.examples else ""
