"""The stage `synthesise`: a language model writes new texts from documents, and gates decide which of them are kept.

The documents stay as they are. Each text is one call, and one row: it is kept behind the documents, or the ledger says
which gate it failed and with what value, or that the call failed; none takes another along. The gates, in order: finish
reason, schema, length, repetition, numbers, names, words and copies of the source, benchmarks; then, where there is an
answer, whether it can be compared, whether the solution arrives at it, and whether the question, asked again, gets it
again; likeness to the source's other products that came so far; last a judge, if one is named.

Near duplicates among products of different documents are left to the stage `near_duplicates`, which sees all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import pyarrow as pa
import xxhash
from pydantic import Field, model_validator

from tiers.l1_filtered.contamination import BenchmarkIndex
from tiers.l1_filtered.word_hashes import Hashes
from tiers.l2_scored.annotate import excerpt, in_sample, judged
from tiers.l2_scored.rubric import AnswerRubric
from tiers.l3_edited.synthesis import gates, grounding
from tiers.l3_edited.synthesis.answers import agree, solve
from tiers.l3_edited.synthesis.families import Family, load_family, load_prompts, opening
from tiers.l3_edited.synthesis.gates import CallFailed, Gate
from tiers.l3_edited.synthesis.maths_answers import MathsAnswers
from tiers.l3_edited.synthesis.products import COLUMNS, Draft, content_of, outcome, product_id, rows_of
from tiers.llm import LLM, Finish, open_llm, quoted
from tiers.reference import Reference
from tiers.stage import Context, Outcome, Stage, Usage


class Synthesise(Stage):
    """Has texts of one family written from a sample of the documents; see the module for what becomes of them.

    Attributes:
        family: A family that comes with Tierline (`qa`, `conversation`, `rewrite`, `knowledge`, `textbook`), or one
            written out.
        domain: A domain of the family, `general` or `maths` in those.
        variants: Those of the family's levels, settings or styles that are asked for; all where none is named.
        llm: Who writes, as `open_llm` names it.
        solver: Who answers questions again; better not who writes, which it is if nobody is named.
        judge: Who says whether a product is faithful to its source; if nobody is named, numbers, names and words do.
        share: How much of the documents to write from. Which ones follows from their ids alone.
        per_document: How many texts to ask for of each document, or of all points of knowledge in one, each of another
            point or variant.
        excerpt_chars: How much of a document's beginning the writer reads, and its products are held to.
        max_tokens: How long a reply may be.
        temperature: See `Request`.
        seed: See `Request`.
        min_judged: The judge's least probability that a product is faithful.
        benchmarks: Files that no product may share words with, by name, as for `decontaminate`.
    """

    name: ClassVar[str] = "synthesise"
    version: ClassVar[int] = 3
    uses_model: ClassVar[bool] = True
    gives: ClassVar[tuple[pa.Field, ...]] = COLUMNS

    family: str | Family
    domain: str = "general"
    variants: tuple[str, ...] = ()
    llm: str = "qwen2.5-coder-0.5b"
    solver: str | None = None
    judge: str | None = None
    share: float = Field(default=0.1, gt=0, le=1)
    per_document: int = Field(default=1, ge=1)
    excerpt_chars: int = Field(default=1500, ge=50)
    max_tokens: int = Field(default=640, ge=16)
    temperature: float = Field(default=0, ge=0)
    seed: int = 0
    min_judged: float = Field(default=0.5, ge=0, le=1)
    benchmarks: dict[str, Reference] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_known(self) -> Synthesise:
        family = self.written()
        if self.domain not in family.domains:
            raise ValueError(f"{family.name} has no domain {self.domain!r}; allowed: {sorted(family.domains)}")
        if unknown := sorted(set(self.variants) - family.variants.keys()):
            raise ValueError(f"{family.name} has no variants {unknown}; allowed: {sorted(family.variants)}")
        return self

    def identity(self) -> dict[str, Any]:
        """As for any stage, with the family's contents in place of its name."""
        identity = super().identity()
        identity["parameters"]["family"] = self.written().model_dump(mode="json")
        return identity

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """Loads the models and the benchmarks."""
        names = {self.llm, self.solver or self.llm, self.judge or self.llm}
        llms = {name: open_llm(name, context.models, context.cache, context.threads) for name in names}
        people = People(
            llms[self.llm],
            llms[self.solver or self.llm],
            llms[self.judge] if self.judge else None,
            gates.index_of(self.benchmarks),
        )
        return lambda table: self.synthesise(table, people)

    def synthesise(self, table: pa.Table, people: People) -> Outcome:
        """Writes from the sampled rows of `table`, and takes what is written through the gates."""
        family, domain = self.written(), self.written().domains[self.domain]
        asked = [
            each for number, row in rows_of(table, self._wants) for each in self._asked(number, row, people.writer)
        ]
        drafts = [each.draft for each in asked]
        requests = [
            family.request(
                each.source,
                each.title,
                each.variant,
                self.domain,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                seed=self.seed,
            )
            for each in asked
        ]
        results = people.writer.complete(requests)
        for each, result in zip(asked, results, strict=True):
            gates.read(each.draft, result, family, opening(family.reply))
            if each.draft.open and domain.answers:
                each.draft.content["compared_as"] = domain.answers
            if each.draft.open and domain.shows_source:
                each.draft.content["context"] = each.source
        self._hold_to_source(asked)
        for draft, detail in zip(
            drafts, gates.contaminated([draft.text for draft in drafts], people.index), strict=True
        ):
            draft.drop(Gate.CONTAMINATED, detail)
        usage = Usage.of(results) + self._answer_again(drafts, people)
        self._tell_apart(drafts)
        return outcome(table, family.name, drafts, usage + self._judge(asked, people.judge))

    def _wants(self, row_id: str, family: str | None) -> bool:
        """Whether a row is in the sample, and of the kind that the family reads."""
        written = self.written()
        return (family or "document") == written.reads and in_sample(f"{written.name}/{row_id}", self.share)

    def _asked(self, number: int, row: dict[str, Any], writer: LLM) -> Iterator[_Asked]:
        """What is to be written from one row, drawn by its id."""
        family = self.written()
        sources = [excerpt(row["text"], self.excerpt_chars)]
        if family.each is not None:
            sources = [_as_source(each) for each in content_of(row).get(family.each, [])]
        every = [(f"{row['id']}/{at}/{one}", at, one) for at in range(len(sources)) for one in self._variants()]
        for _, at, variant in sorted(every, key=lambda one: xxhash.xxh3_64_intdigest(one[0].encode()))[
            : self.per_document
        ]:
            kind = f"{family.name}.{self.domain}.{variant}"
            draft = Draft(product_id(row["id"], kind, at, writer, seed=self.seed), number, f"{self.domain}.{variant}")
            yield _Asked(draft, variant, sources[at], row["title"])

    def _variants(self) -> tuple[str, ...]:
        return self.variants or tuple(self.written().variants)

    def _hold_to_source(self, asked: Sequence[_Asked]) -> None:
        """The gates that need no model."""
        family, domain = self.written(), self.written().domains[self.domain]
        for each in asked:
            draft, source = each.draft, f"{each.title or ''}\n{each.source}"
            if not draft.open:
                continue
            draft.drop(Gate.LENGTH, gates.length(draft, family.words))
            draft.drop(Gate.REPETITIVE, gates.repetitive(draft))
            draft.drop(Gate.NEW_NUMBERS, gates.new_numbers(draft, source, domain.max_new_numbers))
            draft.drop(Gate.NEW_NAMES, gates.new_names(draft, source, domain.max_new_names))
            draft.drop(Gate.UNGROUNDED, gates.ungrounded(draft, source, domain.min_coverage))
            draft.drop(Gate.COPIED, gates.copied(draft, source, domain.max_copied))

    def _tell_apart(self, drafts: Sequence[Draft]) -> None:
        """The gate of likeness to the source's other products; those that failed a gate take nobody's place."""
        before: dict[int, list[tuple[str, Hashes]]] = {}
        for draft in (draft for draft in drafts if draft.open):
            others = before.setdefault(draft.row, [])
            draft.drop(Gate.NEAR_DUPLICATE, gates.near_duplicate(draft, others))
            if draft.open:
                others.append((draft.id, grounding.runs(draft.text)))

    def _answer_again(self, drafts: Sequence[Draft], people: People) -> Usage:
        """The gates of answers: whether they can be compared, follow from the solution, and can be had again."""
        domain = self.written().domains[self.domain]
        kind = domain.answers
        if kind is None:
            return Usage()
        for draft in (draft for draft in drafts if draft.open):
            draft.drop(Gate.ANSWER_UNCHECKABLE, gates.answer_uncheckable(draft, domain, people.maths))
        for draft in (draft for draft in drafts if draft.open):
            draft.drop(Gate.ANSWER_NOT_IN_SOLUTION, gates.answer_not_in_solution(draft, domain, people.maths))
        left = [draft for draft in drafts if draft.open]
        results = people.solver.complete([solve(draft.content, kind, self.max_tokens) for draft in left])
        for draft, result in zip(left, results, strict=True):
            if result.finish is Finish.ERROR:
                draft.failed = (CallFailed.MODEL, result.error)
            elif result.finish is not Finish.STOP:
                draft.drop(Gate.ANSWER_DIFFERS, f"the second answer had no end after {result.completion_tokens} tokens")
            elif not (found := agree(draft.content["answer"], result.text, kind, people.maths)).same:
                draft.drop(Gate.ANSWER_DIFFERS, found.detail)
        return Usage.of(results)

    def _judge(self, asked: Sequence[_Asked], judge: LLM | None) -> Usage:
        """The gate of a judge, if there is one."""
        left = [each for each in asked if each.draft.open]
        if judge is None or not left:
            return Usage()
        both = [
            f"{quoted(each.source, 'source')}\n\n{quoted(gates.prose(each.draft.content), 'text')}" for each in left
        ]
        verdicts, usage = judged(judge, _faithful(), both)
        for each, verdict in zip(left, verdicts, strict=True):
            if isinstance(verdict, str):
                each.draft.failed = (CallFailed.MODEL, verdict)
            elif verdict.overall < self.min_judged:
                each.draft.drop(Gate.UNFAITHFUL, f"{verdict.overall:.3f} < {self.min_judged:g}")
        return usage

    def written(self) -> Family:
        """The family, also where it is given by its name."""
        return _known(self.family) if isinstance(self.family, str) else self.family


@dataclass(frozen=True)
class _Asked:
    """One call: the row in the making, and what it is made from."""

    draft: Draft
    variant: str
    source: str
    title: str | None


@dataclass(frozen=True)
class People:
    """Who writes, answers and judges, and what texts and answers are compared with."""

    writer: LLM
    solver: LLM
    judge: LLM | None = None
    index: BenchmarkIndex | None = None
    maths: MathsAnswers = field(default_factory=MathsAnswers)


def _as_source(item: Any) -> str:
    """An element of a list as a source."""
    return ": ".join(map(str, item.values())) if isinstance(item, dict) else str(item)


@lru_cache(maxsize=8)
def _known(name: str) -> Family:
    return load_family(name)


@lru_cache(maxsize=1)
def _faithful() -> AnswerRubric:
    return AnswerRubric.model_validate(load_prompts("faithful"))
