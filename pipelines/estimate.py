"""What a run will come to, before it: documents, tokens, time and money of each tier, from a sample.

What the sample needed (`pipelines.rehearsal`) is extrapolated by documents, these by bytes. Intervals hold 90 % of the
bootstrap samples over its pieces. What a sample can't tell: it holds few copies of one document, so that deduplication
removes less of it than of the whole, and fewer requests are equal and sent once; where what a model writes decides what
stays, more stays; and pieces are small, so that the CPU time of cheap stages comes out too high.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pipelines.plan import Plan, Shard, make_plan
from pipelines.recipe import Recipe
from pipelines.rehearsal import SHARDS, Label, Piece, Rehearsed, rehearse, seconds_per_request, take_sample
from pipelines.terms import compact, money, seconds
from tiers.document import id_hashes
from tiers.llm.openai_server import CONCURRENCY
from tiers.llm.prices import currency_of, find_price, is_remote
from tiers.llm.rehearsal import Asked
from tiers.llm.token_guess import BYTES_PER_TOKEN

ROUNDS = 1000


@dataclass(frozen=True)
class Figure:
    """An estimate, and the interval that holds 90 % of its bootstrap samples."""

    value: float
    low: float
    high: float

    def show(self, form: Callable[[float], str]) -> str:
        """The estimate, and below it the interval where there is one."""
        if form(self.low) == form(self.high):
            return form(self.value)
        return f"{form(self.value)}\n{form(self.low)} – {form(self.high)}"


@dataclass(frozen=True)
class TierEstimate:
    """What one tier will come to.

    Attributes:
        rows: In the tier.
        tokens: Of their text, as `count_tokens` counts.
        cpu_seconds: Of its stages, without those that ask language models.
        llm_requests: How many.
        llm_prompt_tokens: Read.
        llm_completion_tokens: Generated, if every reply is as long as it may be.
        llm_cpu_seconds: Of models in this process.
        llm_server_seconds: Until one worker has its answers from servers; 0 where they weren't asked.
        cost: If every reply is as long as it may be; of models with a price.
    """

    tier: str
    rows: Figure
    tokens: Figure
    cpu_seconds: Figure
    llm_requests: Figure
    llm_prompt_tokens: Figure
    llm_completion_tokens: Figure
    llm_cpu_seconds: Figure
    llm_server_seconds: Figure
    cost: Figure


@dataclass(frozen=True)
class Estimate:
    """What a run will come to.

    Attributes:
        documents: Of all inputs, about.
        sampled: How many went through the stages.
        shards: Of the plan.
        read: How many of them were read for the sample.
        currency: Of the costs; `None` where nothing has a price.
        unpriced: Models whose price nobody knows.
        guessed: Models whose tokens are counted as `BYTES_PER_TOKEN`.
        tiers: In order.
        total: Of all tiers, in their terms.
        ended: Why there is no estimate of the tiers that follow; empty where there is one of all.
    """

    name: str
    documents: int
    sampled: int
    shards: int
    read: int
    currency: str | None
    unpriced: list[str]
    guessed: list[str]
    tiers: list[TierEstimate]
    total: TierEstimate
    ended: str


def estimate(recipe: Recipe, models: Path, documents: int, ask_servers: bool = False) -> Estimate:
    """Tries `recipe` on about so many documents; with `ask_servers`, servers get a few requests, to be timed.

    Raises:
        TierlineError: an input cannot be read, a model in this process isn't here, or a server doesn't answer.
    """
    plan = make_plan(recipe)
    chosen = sorted(plan.shards, key=lambda shard: int(id_hashes(pa.array([shard.name]))[0]))[:SHARDS]
    pieces, read = take_sample(chosen, documents)
    of_all, sampled = _documents(plan, chosen, read), sum(piece.rows.num_rows for piece in pieces)
    found = rehearse(plan, pieces, models) if pieces else Rehearsed(ended="the inputs hold no documents")
    scale = _Scale(pieces, of_all, whole=sampled == of_all)
    speeds = seconds_per_request(found, models, ask_servers)
    needs = {tier: _needs(tier, found, speeds) for tier in found.tiers}
    llms = recipe.llms()
    return Estimate(
        name=recipe.name,
        documents=of_all,
        sampled=sampled,
        shards=len(plan.shards),
        read=len(chosen),
        currency=currency_of(llms, recipe.prices),
        unpriced=[llm for llm in llms if find_price(llm, recipe.prices) is None],
        guessed=[llm for llm in llms if is_remote(llm)],
        tiers=[_tier(tier, need, scale) for tier, need in needs.items()],
        total=_tier("all", _sum(needs.values()), scale),
        ended=found.ended,
    )


def _documents(plan: Plan, chosen: Sequence[Shard], read: int) -> int:
    """How many documents all shards hold, if they hold as many a byte as those that were read."""
    parts = Counter(shard.input.uri for shard in plan.shards)

    def size(shards: Sequence[Shard]) -> float:
        return sum(shard.input.bytes / parts[shard.input.uri] for shard in shards)

    return round(read * size(plan.shards) / size(chosen)) if size(chosen) else 0


class _Scale:
    """From what the pieces of a sample needed to what everything will."""

    def __init__(self, pieces: Sequence[Piece], documents: int, whole: bool) -> None:
        count = len(pieces)
        self._names = [piece.name for piece in pieces]
        self._documents = documents
        self._weights = np.array([piece.weight for piece in pieces])
        self._rows = np.array([piece.rows.num_rows for piece in pieces])
        draws = np.random.default_rng(0).integers(0, max(1, count), (0 if whole or count < 2 else ROUNDS, count))
        self._draws = np.vstack([np.arange(count)[None], draws])

    def figure(self, needed: Mapping[str, float]) -> Figure:
        """Extrapolates what each piece needed."""
        values = np.array([needed.get(name, 0.0) for name in self._names]) * self._weights
        drawn = values[self._draws].sum(1) / (self._rows * self._weights)[self._draws].sum(1) * self._documents
        low, high = np.quantile(drawn, [0.05, 0.95])
        return Figure(float(drawn[0]), float(low), float(high))


Needs = dict[str, Counter[str]]
"""By the name of a figure, what each piece needed."""


def _needs(tier: str, found: Rehearsed, speeds: Mapping[Label, float]) -> Needs:
    """What each piece needed in the steps of a tier."""
    needs: Needs = {name: Counter() for name in TierEstimate.__dataclass_fields__ if name != "tier"}
    steps = {step: records for step, records in found.records.items() if step.startswith(f"{tier}/")}
    asking = {stage.rpartition("/")[0] for stage, _ in found.asked}
    for step, records in steps.items():
        if step not in asking:
            needs["cpu_seconds"].update(_cpu_seconds(records))
    for piece, record in list(steps.values())[-1].items():
        needs["rows"][piece] = record["rows_out"]
        needs["tokens"][piece] = record["tokens"]
    for (stage, llm), by_piece in found.asked.items():
        if stage.startswith(f"{tier}/"):
            for piece, asked in by_piece.items():
                for name, value in _llm_needs(llm, asked, speeds.get((stage, llm), 0.0)).items():
                    needs[name][piece] += value * found.share_of.get(stage, 1.0)  # type: ignore[assignment]
    return needs


def _llm_needs(llm: str, asked: Sequence[Asked], seconds_each: float) -> dict[str, float]:
    return {
        "llm_requests": len(asked),
        "llm_prompt_tokens": sum(one.prompt_tokens for one in asked),
        "llm_completion_tokens": sum(one.completion_tokens for one in asked),
        "llm_server_seconds" if is_remote(llm) else "llm_cpu_seconds": seconds_each * len(asked),
        "cost": sum(one.cost or 0.0 for one in asked),
    }


def _cpu_seconds(records: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """By piece; the median over them for a row, since the first one also bears what a process does once."""
    rows = {piece: max(1, sum(stage["rows_in"] for stage in record["stages"][:1])) for piece, record in records.items()}
    each = float(np.median([records[piece]["cpu_seconds"] / count for piece, count in rows.items()]))
    return {piece: each * count for piece, count in rows.items()}


def _sum(parts: Any) -> Needs:
    total: Needs = {name: Counter() for name in TierEstimate.__dataclass_fields__ if name != "tier"}
    for needs in parts:
        for name, by_piece in needs.items():
            total[name].update(by_piece)
    return total


def _tier(tier: str, needs: Needs, scale: _Scale) -> TierEstimate:
    return TierEstimate(tier, **{name: scale.figure(by_piece) for name, by_piece in needs.items()})


def render_estimate(found: Estimate, console: Console) -> None:
    """Prints the estimate as a table, with what it rests on."""
    table = Table(title=f"{found.name}: {found.documents:,} documents in {found.shards:,} shards", title_justify="left")
    asked_servers = found.total.llm_server_seconds.value > 0
    headings = ["rows", "tokens", "CPU time", "LLM requests", "tokens in", "tokens out, ≤", "LLM CPU time", "cost, ≤"]
    table.add_column("tier")
    for heading in [*headings[:-1], *(["server time"] if asked_servers else []), headings[-1]]:
        table.add_column(heading, justify="right")
    for tier in [*found.tiers, found.total]:
        asks = tier.llm_requests.value > 0
        whole = tier is not found.total
        llm = (tier.llm_requests, tier.llm_prompt_tokens, tier.llm_completion_tokens)
        times = (tier.llm_cpu_seconds, tier.llm_server_seconds)
        if not whole:
            table.add_section()
        table.add_row(
            tier.tier,
            tier.rows.show(compact) if whole else "",
            tier.tokens.show(compact) if whole else "",
            tier.cpu_seconds.show(seconds),
            *(figure.show(compact) if asks else "" for figure in llm),
            *(time.show(seconds) if time.value else "" for time in times[: 1 + asked_servers]),
            tier.cost.show(lambda cost: money(cost, found.currency)) if asks and found.currency else "",
        )
    console.print(table)
    for line in _notes(found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _notes(found: Estimate) -> list[str]:
    lines = [
        f"From {found.sampled:,} documents of {found.read:,} shards; below a figure the middle 90 % of its bootstrap "
        "samples. CPU time is of one core."
    ]
    if found.guessed:
        if found.total.llm_server_seconds.value:
            lines.append(f"Server time is one worker's, with {CONCURRENCY} requests under way.")
        lines.append(f"Tokens of {', '.join(found.guessed)}: one for {BYTES_PER_TOKEN} bytes of UTF-8.")
    if found.unpriced:
        lines.append(f"No price is known of {', '.join(found.unpriced)}: give it under `prices` in the recipe.")
    return [*lines, *([f"Stopped: {found.ended}"] if found.ended else [])]
