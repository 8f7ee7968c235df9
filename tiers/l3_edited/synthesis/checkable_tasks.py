"""The stage `checkable_tasks`: questions with one answer that a program can check, and how often a model gets it.

A task that is always solved teaches nothing, and one that never is gives no reward to learn from; so tasks are kept by
their pass rate over sampled solutions, as is done for reinforcement learning with verifiable rewards (UltraData-RL's
data set card; Yu et al. 2025, DAPO, arXiv:2503.14476, section 3.2). Where most solutions agree on another answer than
the product's, one of the two is wrong, and the task goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from tiers.l3_edited.synthesis.answers import Kind, agree, final_answer, solve
from tiers.l3_edited.synthesis.gates import CallFailed
from tiers.l3_edited.synthesis.maths_answers import MathsAnswers
from tiers.l3_edited.synthesis.products import COLUMNS, TASK, VARIANT, Draft, answerable, outcome, product_id
from tiers.llm import LLM, Finish, Result, open_llm
from tiers.stage import Context, Outcome, Stage, Usage


class TaskDropped(StrEnum):
    """Why a question becomes no task."""

    TOO_HARD = "too_hard"
    TOO_EASY = "too_easy"
    LABEL_DISPUTED = "label_disputed"


class CheckableTasks(Stage):
    """Adds a task for each product whose answer can be compared, if its pass rate lies within bounds.

    The content of a task has `question`, `answer`, `context` or `explanation` where there is one, `compared_as` (`text`
    or `maths`), `rollouts`, `solved`, `pass_rate`, and `pass_rate_interval` (95 %). A solution without an end counts as
    wrong. One whose call failed isn't counted; where all did, the task goes to quarantine.

    Attributes:
        llm: Who solves, as `open_llm` names it.
        rollouts: How many solutions are sampled.
        temperature: See `Request`.
        seed: That of the first solution; the others follow.
        max_tokens: How long a solution may be.
        share: How much of the products to make tasks of.
        min_pass_rate: The least; 0 keeps tasks that were never solved, whose answers should then be sure.
        max_pass_rate: The greatest.
    """

    name: ClassVar[str] = "checkable_tasks"
    version: ClassVar[int] = 3
    uses_model: ClassVar[bool] = True
    gives: ClassVar[tuple[pa.Field, ...]] = COLUMNS

    llm: str = "qwen2.5-coder-0.5b"
    rollouts: int = Field(default=8, ge=2)
    temperature: float = Field(default=0.8, gt=0)
    seed: int = 0
    max_tokens: int = Field(default=512, ge=1)
    share: float = Field(default=1, gt=0, le=1)
    min_pass_rate: float = Field(default=0.1, ge=0, le=1)
    max_pass_rate: float = Field(default=0.9, ge=0, le=1)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Loads the model."""
        llm, maths = open_llm(self.llm, context.models, context.cache, context.threads), MathsAnswers()
        return lambda table: self.make(table, llm, maths)

    def make(self, table: pa.Table, llm: LLM, maths: MathsAnswers) -> Outcome:
        """Has the questions of `table` solved, and adds the tasks behind its rows."""
        found = list(answerable(table, self.share))
        requests = [
            solve(
                content, content["compared_as"], self.max_tokens, temperature=self.temperature, seed=self.seed + number
            )
            for _, _, content in found
            for number in range(self.rollouts)
        ]
        results = llm.complete(requests)
        drafts = []
        for at, (row, product, content) in enumerate(found):
            solutions = results[at * self.rollouts : (at + 1) * self.rollouts]
            drafts.append(
                self._task(
                    Draft(product_id(product["id"], TASK, 0, llm, seed=self.seed), row, product[VARIANT.name]),
                    content,
                    solutions,
                    maths,
                )
            )
        return outcome(table, TASK, drafts, Usage.of(results))

    def _task(self, draft: Draft, content: dict[str, Any], solutions: Sequence[Result], maths: MathsAnswers) -> Draft:
        counted = [solution for solution in solutions if solution.finish is not Finish.ERROR]
        if not counted:
            draft.failed = (CallFailed.MODEL, solutions[0].error)
            return draft
        draft.rehearsed = solutions[0].rehearsed
        kind: Kind = content["compared_as"]
        ended = [final_answer(solution.text) for solution in counted if solution.finish is Finish.STOP]
        right = [agree(content["answer"], reply, kind, maths).same for reply in ended]
        rate = PassRate(sum(right), len(counted))
        wrong = [reply for reply, same in zip(ended, right, strict=True) if not same]
        rival, votes = _most_common(wrong, kind, maths)
        if votes * 2 > rate.rollouts:
            draft.drop(
                TaskDropped.LABEL_DISPUTED, f"{votes} of {rate.rollouts} say {rival[:120]!r}, not {content['answer']!r}"
            )
        if rate.value < self.min_pass_rate:
            draft.drop(TaskDropped.TOO_HARD, f"{rate} < {self.min_pass_rate:g}")
        if rate.value > self.max_pass_rate:
            draft.drop(TaskDropped.TOO_EASY, f"{rate} > {self.max_pass_rate:g}")
        draft.content = {key: content[key] for key in _TAKEN if key in content} | rate.fields()
        draft.text = f"{content['question']}\n\nAnswer: {content['answer']}"
        return draft


_TAKEN = ("context", "explanation", "question", "answer", "compared_as")


@dataclass(frozen=True)
class PassRate:
    """How often a task was solved."""

    solved: int
    rollouts: int

    @property
    def value(self) -> float:
        """The share of solutions that are right."""
        return self.solved / self.rollouts

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of Wilson (1927), which holds for few solutions and rates near 0 and 1 too."""
        z, n, p = 1.959964, self.rollouts, self.value
        middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)

    def fields(self) -> dict[str, Any]:
        """As a task's content has it."""
        interval = [round(end, 4) for end in self.interval()]
        rate = round(self.value, 4)
        return {"rollouts": self.rollouts, "solved": self.solved, "pass_rate": rate, "pass_rate_interval": interval}

    def __str__(self) -> str:
        return f"{self.solved} of {self.rollouts} solved, {self.value:.2f}"


def _most_common(replies: Sequence[str], kind: Kind, maths: MathsAnswers) -> tuple[str, int]:
    """The answer that most of `replies` agree on, and how many do."""
    groups: list[list[str]] = []
    for reply in replies:
        mine = next((group for group in groups if agree(group[0], reply, kind, maths).same), None)
        groups.append([reply]) if mine is None else mine.append(reply)
    best = max(groups, key=len, default=[""])
    return best[0], len(best) if groups else 0
