"""What a judge is asked, as data: a rubric is a file, and its contents are its identity.

Two ways to ask, since small models can't be asked like large ones.

`AnswerRubric` shows the document and asks for a rating, by one or several dimensions. The rating is the expected value
over the allowed answers, read from the probabilities of the next token, so nothing is sampled and small differences
survive that a generated digit would round away (as in G-Eval, Liu et al. 2023, section 2); or, where a server gives no
probabilities, what the reply says, as JSON that is checked. It takes a model that follows instructions.

`ChannelRubric` asks the other way round: how likely is the document as the reply to "explain something", and how
likely as the reply to "write an advertisement"? (Noisy channel prompting, Min et al. 2022, section 3.) A language
model is trained to tell what text follows, so this works with the smallest; and a document that is the reply, not
part of the prompt, can't instruct its judge. `benchmarks/judge.py` measures both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tiers.errors import RecipeError
from tiers.llm.protocol import Message, Request, Result, quoted, unfenced

_FOLDER = Path(__file__).parent / "rubrics"
_ONE = "rating"
"""What the only dimension is called in a written reply."""


@dataclass(frozen=True)
class Rating:
    """A judgement.

    Attributes:
        overall: The weighted mean over the dimensions, or the only score there is.
        by: The rating in each dimension; empty where a rubric has one.
    """

    overall: float
    by: Mapping[str, float] = field(default_factory=dict)


class Example(BaseModel):
    """A text with the answer that it should get, in each dimension if there are several; shown to the judge first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    answer: str | dict[str, str]


class AnswerRubric(BaseModel):
    """A question about each document, or one for each dimension, with a value for each answer.

    Attributes:
        kind: `answer`.
        instruction: The system message.
        question: What is asked about each document, after it; by dimensions where there are several.
        weights: What each dimension counts in the overall rating; by default all the same.
        prefill: The beginning of the judge's reply, before the answer.
        answers: The answers to choose from, each one token, and the value of each.
        examples: Texts with their right answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["answer"]
    instruction: str
    question: str | dict[str, str]
    weights: dict[str, float] = Field(default_factory=dict)
    prefill: str = ""
    answers: dict[str, float] = Field(min_length=2)
    examples: tuple[Example, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = set(self.question) if isinstance(self.question, dict) else None
        if names is not None and len(names) < 2:
            raise ValueError("a question by dimensions has several of them")
        if set(self.weights) - (names or set()) or any(weight < 0 for weight in self.weights.values()):
            raise ValueError(f"weights are of dimensions and not negative; dimensions: {sorted(names or ())}")
        if self.weights and not 0 < sum(self.weights.values()) < math.inf:
            raise ValueError(f"weights have a sum above 0; got {self.weights}")
        for example in self.examples:
            given = example.answer if isinstance(example.answer, dict) else {"": example.answer}
            if set(given) != (names or {""}) or set(given.values()) - set(self.answers):
                raise ValueError(f"an example has an allowed answer in every dimension; got {example.answer!r}")
        return self

    def requests(self, text: str, written: bool = False) -> list[Request]:
        """What to ask about `text`, which enters the prompt as quoted data.

        Args:
            text: The document.
            written: Asks once for a reply in JSON, not in each dimension for the probabilities of the answers.
        """
        if written:
            return [self._written(text)]
        return [self._rated(text, name, question) for name, question in self._questions().items()]

    def rating(self, results: Sequence[Result], written: bool = False) -> Rating:
        """The judgement in the results of these requests, in the scale of `answers`.

        Raises:
            ValueError: A written reply isn't the JSON that was asked for.
        """
        names = list(self._questions())
        values = self._parsed(results[0].text) if written else [self._expected(result) for result in results]
        weights = [self.weights.get(name, 0.0 if self.weights else 1.0) for name in names]
        overall = sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)
        return Rating(overall, dict(zip(names, values, strict=True)) if len(names) > 1 else {})

    def permuted(self) -> AnswerRubric:
        """The same rubric, asked in another order: examples and dimensions the other way round.

        With fewer than two of either it asks the same; so it does of dimensions alone that are asked about one by one.
        """
        question = self.question
        if isinstance(question, dict):
            question = dict(reversed(question.items()))
        return self.model_copy(update={"question": question, "examples": self.examples[::-1]})

    def _questions(self) -> dict[str, str]:
        return self.question if isinstance(self.question, dict) else {_ONE: self.question}

    def _rated(self, text: str, name: str, question: str) -> Request:
        turns = [Message("system", self.instruction)]
        for example in self.examples:
            answer = example.answer[name] if isinstance(example.answer, dict) else example.answer
            turns += [_turn(example.text, question), Message("assistant", self.prefill + answer)]
        turns.append(_turn(text, question))
        return Request(tuple(turns), choices=tuple(self.answers), prefill=self.prefill)

    def _written(self, text: str) -> Request:
        names = list(self._questions())
        allowed = ", ".join(self.answers)
        asked = " ".join(f"{name}: {question}" for name, question in self._questions().items())
        question = f"{asked} Reply with nothing but JSON: an object with {', '.join(names)}, each one of {allowed}."
        turns = [Message("system", self.instruction)]
        for example in self.examples:
            given = example.answer if isinstance(example.answer, dict) else {_ONE: example.answer}
            answer = json.dumps({name: given[name] for name in names})
            turns += [_turn(example.text, question), Message("assistant", answer)]
        turns.append(_turn(text, question))
        one = {"type": "string", "enum": list(self.answers)}
        schema = {
            "type": "object",
            "properties": dict.fromkeys(names, one),
            "required": names,
            "additionalProperties": False,
        }
        return Request(tuple(turns), max_tokens=16 + 16 * len(names), schema=schema)

    def _expected(self, result: Result) -> float:
        highest = max(result.logprobs)
        weights = [math.exp(logprob - highest) for logprob in result.logprobs]
        return sum(w * value for w, value in zip(weights, self.answers.values(), strict=True)) / sum(weights)

    def _parsed(self, reply: str) -> list[float]:
        """The values in a written reply: an object with every dimension and nothing else, each an allowed answer.

        A fence around it is passed over.
        """
        try:
            said: Any = json.loads(unfenced(reply))
        except (ValueError, RecursionError):
            raise ValueError(f"the reply isn't JSON: {reply[:80]!r}") from None
        names = list(self._questions())
        if not isinstance(said, dict) or set(said) != set(names):
            raise ValueError(f"the reply isn't an object of {', '.join(names)}: {reply[:80]!r}")
        answers = [str(said[name]) if type(said[name]) in (str, int) else "" for name in names]
        if not set(answers) <= set(self.answers):
            raise ValueError(f"the reply has an answer that isn't allowed: {reply[:80]!r}")
        return [self.answers[answer] for answer in answers]


class Prompts(BaseModel):
    """What somebody would have to ask for to be given a good document, and each kind of bad one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    good: tuple[str, ...] = Field(min_length=1)
    bad: tuple[str, ...] = Field(min_length=1)


class ChannelRubric(Prompts):
    """Prompts that would bring forth good documents, and prompts that would bring forth bad ones.

    Attributes:
        kind: `channel`.
        good: What somebody would have to ask for to be given a good document.
        bad: The same for each kind of bad document.
        reordered: The same prompts with their parts in another order, to see what hangs on it.
    """

    kind: Literal["channel"]
    reordered: Prompts | None = None

    def requests(self, text: str, written: bool = False) -> list[Request]:
        """One for each prompt, with `text` as its reply; a blank text is weighed as a line break."""
        reply = text if text.strip() else "\n"
        return [Request((Message("user", prompt),), reply=reply) for prompt in (*self.good, *self.bad)]

    def rating(self, results: Sequence[Result], written: bool = False) -> Rating:
        """How much likelier the document is as a good one than as a bad one, in nats a token."""
        totals = [math.fsum(result.logprobs) for result in results]
        tokens = len(results[0].logprobs)
        return Rating((_log_sum(totals[: len(self.good)]) - _log_sum(totals[len(self.good) :])) / tokens)

    def permuted(self) -> ChannelRubric:
        """The same rubric with its prompts reordered, where it says how."""
        return self.model_copy(update=dict(self.reordered or {}))


Rubric = AnswerRubric | ChannelRubric


class _Named(BaseModel):
    rubric: Rubric = Field(discriminator="kind")


def rubric_names() -> list[str]:
    """The rubrics that come with Tierline."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_rubric(name: str) -> Rubric:
    """The rubric of this name, or in this YAML file.

    Raises:
        RecipeError: There is none, or the file is no rubric.
    """
    own = name.endswith((".yaml", ".yml"))
    if not own and name not in rubric_names():
        raise RecipeError(
            "there is no rubric of this name", got=name, expected=rubric_names(), hint="Or name a YAML file of your own"
        )
    path = Path(name) if own else _FOLDER / f"{name}.yaml"
    try:
        return _Named(rubric=yaml.safe_load(path.read_text(encoding="utf-8"))).rubric
    except FileNotFoundError:
        raise RecipeError("there is no such rubric", where=name) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise RecipeError("the file is no rubric", where=name, got=str(error)) from None


def _turn(text: str, question: str) -> Message:
    return Message("user", f"{quoted(text)}\n\n{question}")


def _log_sum(logs: Sequence[float]) -> float:
    """The logarithm of the sum of what `logs` are the logarithms of."""
    highest = max(logs)
    return highest + math.log(math.fsum(math.exp(value - highest) for value in logs))
