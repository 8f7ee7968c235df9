"""What a judge is asked, as data: a rubric is a file, and its contents are its identity.

Two ways to ask, since small models can't be asked like large ones.

`AnswerRubric` shows the document and asks for a rating. The score is the expected value over the allowed answers,
read from the probabilities of the next token, so nothing is sampled and small differences survive that a generated
digit would round away (as in G-Eval, Liu et al. 2023, section 2). It takes a model that follows instructions.

`ChannelRubric` asks the other way round: how likely is the document as the reply to "explain something", and how
likely as the reply to "write an advertisement"? (Noisy channel prompting, Min et al. 2022, section 3.) A language
model is trained to tell what text follows, so this works with the smallest; and a document that is the reply, not
part of the prompt, can't instruct its judge. `benchmarks/judge.py` measures both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from tiers.errors import RecipeError
from tiers.llm.protocol import Message, Request, Result, quoted

_FOLDER = Path(__file__).parent / "rubrics"


class Example(BaseModel):
    """A text with the answer that it should get; shown to the judge before the document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    answer: str


class AnswerRubric(BaseModel):
    """A question about each document, with a value for each answer.

    Attributes:
        kind: `answer`.
        instruction: The system message.
        question: What is asked about each document, after it.
        prefill: The beginning of the judge's reply, before the answer.
        answers: The answers to choose from, each one token, and the value of each.
        examples: Texts with their right answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["answer"]
    instruction: str
    question: str
    prefill: str = ""
    answers: dict[str, float] = Field(min_length=2)
    examples: tuple[Example, ...] = ()

    def requests(self, text: str) -> list[Request]:
        """What to ask about `text`, which enters the prompt as quoted data."""
        turns = [Message("system", self.instruction)]
        for example in self.examples:
            turns.append(self._turn(example.text))
            turns.append(Message("assistant", self.prefill + example.answer))
        turns.append(self._turn(text))
        return [Request(tuple(turns), choices=tuple(self.answers), prefill=self.prefill)]

    def score(self, results: Sequence[Result]) -> float:
        """The expected value of the answer, in the scale of `answers`."""
        (result,) = results
        highest = max(result.logprobs)
        weights = [math.exp(logprob - highest) for logprob in result.logprobs]
        return sum(w * value for w, value in zip(weights, self.answers.values(), strict=True)) / sum(weights)

    def _turn(self, text: str) -> Message:
        return Message("user", f"{quoted(text)}\n\n{self.question}")


class ChannelRubric(BaseModel):
    """Prompts that would bring forth good documents, and prompts that would bring forth bad ones.

    Attributes:
        kind: `channel`.
        good: What somebody would have to ask for to be given a good document.
        bad: The same for each kind of bad document.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["channel"]
    good: tuple[str, ...] = Field(min_length=1)
    bad: tuple[str, ...] = Field(min_length=1)

    def requests(self, text: str) -> list[Request]:
        """One for each prompt, with `text` as its reply; a blank text is weighed as a line break."""
        reply = text if text.strip() else "\n"
        return [Request((Message("user", prompt),), reply=reply) for prompt in (*self.good, *self.bad)]

    def score(self, results: Sequence[Result]) -> float:
        """How much likelier the document is as a good one than as a bad one, in nats a token."""
        totals = [math.fsum(result.logprobs) for result in results]
        tokens = len(results[0].logprobs)
        return (_log_sum(totals[: len(self.good)]) - _log_sum(totals[len(self.good) :])) / tokens


Rubric = AnswerRubric | ChannelRubric


class _Named(BaseModel):
    rubric: Rubric = Field(discriminator="kind")


def rubric_names() -> list[str]:
    """The rubrics that come with Tierline."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_rubric(name: str) -> Rubric:
    """The rubric `name`.

    Raises:
        RecipeError: There is none of that name.
    """
    if name not in rubric_names():
        raise RecipeError("there is no rubric of this name", got=name, expected=rubric_names())
    data = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return _Named(rubric=data).rubric


def _log_sum(logs: Sequence[float]) -> float:
    """The logarithm of the sum of what `logs` are the logarithms of."""
    highest = max(logs)
    return highest + math.log(math.fsum(math.exp(value - highest) for value in logs))
