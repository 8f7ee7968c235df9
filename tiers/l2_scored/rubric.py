"""What a judge is asked, as data: a rubric is a file, and its contents are its identity.

The score is the expected value over the answers that the rubric allows, read from the model's probabilities of the
next token. So one forward pass is enough, nothing is sampled, and small differences between documents survive that
a generated digit would round away (G-Eval, Liu et al. 2023, section 2, weights scores by token probabilities too).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from tiers.errors import RecipeError
from tiers.llm.protocol import Message, Request, quoted

_FOLDER = Path(__file__).parent / "rubrics"


class Example(BaseModel):
    """A text with the answer that it should get; shown to the judge before the document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    answer: str


class Rubric(BaseModel):
    """One quality that a judge rates.

    Attributes:
        name: Of the quality.
        instruction: The system message.
        question: What is asked about each document, after it.
        prefill: The beginning of the judge's reply, before the answer.
        answers: The answers to choose from, each one token, and the value of each.
        examples: Texts with their right answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    instruction: str
    question: str
    prefill: str = ""
    answers: dict[str, float]
    examples: tuple[Example, ...] = ()

    def request(self, text: str) -> Request:
        """What to ask about `text`, which enters the prompt as quoted data."""
        turns = [Message("system", self.instruction)]
        for example in self.examples:
            turns.append(self._turn(example.text))
            turns.append(Message("assistant", self.prefill + example.answer))
        turns.append(self._turn(text))
        return Request(tuple(turns), choices=tuple(self.answers), prefill=self.prefill)

    def score(self, logprobs: Sequence[float]) -> float:
        """The expected value of the answer, given the log-probability of each, in the scale of `answers`."""
        highest = max(logprobs)
        weights = [math.exp(logprob - highest) for logprob in logprobs]
        return sum(w * value for w, value in zip(weights, self.answers.values(), strict=True)) / sum(weights)

    def _turn(self, text: str) -> Message:
        return Message("user", f"{quoted(text)}\n\n{self.question}")


def rubric_names() -> list[str]:
    """The rubrics that come with Tierline."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_rubric(name: str) -> Rubric:
    """The rubric `name`.

    Raises:
        RecipeError: There is none of that name.
    """
    path = _FOLDER / f"{name}.yaml"
    if name not in rubric_names():
        raise RecipeError("there is no rubric of this name", got=name, expected=rubric_names())
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Rubric(**data)
