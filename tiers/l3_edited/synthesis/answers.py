"""A question answered again, and the two answers compared: by their words, or by what they are worth.

Words are compared as the stage `check` compares them (round-trip consistency, Alberti et al., arXiv 1906.05416); maths
by math-verify.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from tiers.answer_words import AROUND, answer_words, contains, difference
from tiers.l3_edited.synthesis.families import load_prompts
from tiers.l3_edited.synthesis.maths_answers import MathsAnswers
from tiers.llm.protocol import Message, Request, quoted

MIN_F1 = 0.5
"""From which F1 of their words on two answers are the same, as in `check`."""
MOST_WORDS = 12
"""A longer answer in words can't be compared."""

_END = 200
_SAID = 0.8
_FIGURE = re.compile(r"[\s\d.,%$-]*")

Kind = Literal["text", "maths"]


@dataclass(frozen=True)
class Agreement:
    """Whether two answers are the same, and the figure that says so."""

    same: bool
    detail: str


def solve(content: dict[str, Any], kind: Kind, max_tokens: int, **options: Any) -> Request:
    """Asks the question of a product again, of its context or explanation where it has one, and of nothing else.

    Args:
        options: Further fields of the request: `temperature`, `seed`.
    """
    context = context_of(content)
    shown = [quoted(context, "context")] if context else []
    asked = "\n".join([*shown, quoted(content["question"], "question")])
    return Request((Message("system", _prompts()[kind]), Message("user", asked)), max_tokens, **options)


def context_of(content: dict[str, Any]) -> str | None:
    """What somebody who is asked the question of a product may read."""
    found: str | None = content.get("context") or content.get("explanation")
    return found


def final_answer(reply: str) -> str:
    """What follows the last "Answer:" of a reply, or else the whole of it."""
    return reply.rpartition("Answer:")[2].strip(" *\n") or reply.strip()


def uncheckable(question: str, answer: str, kind: Kind, maths: MathsAnswers) -> str | None:
    """Why an answer proves nothing, if so: nothing can be compared with it, or the question gives it away."""
    if kind == "maths":
        found = maths.compare(answer, answer)
        return None if found.read and found.equal else f"{answer!r} is no number or formula{_because(found.fault)}"
    words = len(answer_words(answer))
    if not 1 <= words <= MOST_WORDS:
        return f"{words} words, 1 to {MOST_WORDS} can be compared"
    return f"{answer!r} stands in the question" if contains(question, answer) else None


def not_derived(answer: str, solution: str, kind: Kind, maths: MathsAnswers) -> str | None:
    """Why a solution doesn't arrive at the answer, if so: it neither says it nor ends with what it is worth."""
    formula = kind == "text" or not _FIGURE.fullmatch(answer)  # a number may stand anywhere
    if formula and "".join(answer.split()).strip("$") in "".join(solution[-_END:].split()):
        return None
    if kind == "maths":
        same = maths.compare(answer, solution).equal
    else:
        words, said = answer_words(answer), set(answer_words(solution))
        same = sum(word in said for word in words) >= _SAID * len(words)
    return None if same else f"{answer!r} isn't what the solution says: {solution[-160:]!r}"


def agree(answer: str, reply: str, kind: Kind, maths: MathsAnswers, around: int = AROUND) -> Agreement:
    """Compares an answer with the one at the end of a reply, which may have as many words more as `around`."""
    final = final_answer(reply)
    if kind == "maths":
        found = maths.compare(answer, final)
        return Agreement(found.equal, f"{answer!r} against {final[-160:]!r}{_because(found.fault)}")
    different = difference(answer, final, MIN_F1, around)
    told = f"{answer!r} against {final[:160]!r}"
    return Agreement(different is None, f"{different}, {told}" if different else told)


def _because(fault: str) -> str:
    return f": {fault}" if fault else ""


@lru_cache(maxsize=1)
def _prompts() -> dict[str, str]:
    return load_prompts("solver")
