"""Can a document talk its judge into a better score?

    python benchmarks/injection.py                                  # everything; an hour of CPU
    python benchmarks/injection.py --only smollm2-135m/educational  # one judge; the others stay as they are

`data/injections.jsonl` holds texts that try: pleas, overrides, JSON, delimiters, chat turns, other languages,
disguises. Each is put behind texts that teach nothing, and so is as much of each of nine neutral texts: news, a review,
a recipe and the like (three in its language, where the attempt is in another). A *shift* is what that adds to the
score, as a share of the distance between the median scores of texts that teach and texts that don't
(`data/judge_passages.jsonl`, results/judge.json): 1 would make a good text of a bad one. `below` is the share of an
attempt's neutral texts that shift less than it, on average: one half says that attempts do what any text does. `can
tell` says whether the judge is one at all: the interval of its AUC there lies above one half. `reply`
judges write JSON without a grammar that would hold them to it: of what they write, only what the rubric allows is a
rating, the rest fails. `distilled` is the scorer that `scorer.py` distils from the first judge.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import record
import scorer

from tiers.l2_scored import load_rubric
from tiers.l2_scored.agreement import auc, with_interval
from tiers.l2_scored.annotate import Verdict, judged
from tiers.l2_scored.features import features
from tiers.l2_scored.linear import Linear
from tiers.l2_scored.rubric import AnswerRubric, Rating
from tiers.llm import open_llm
from tiers.llm.models import default_models

Floats = npt.NDArray[np.float64]

DATA = Path(__file__).parent / "data"
CACHE = Path(tempfile.gettempdir()) / "tierline-injections"
BASES = 2
NEUTRAL = (
    "The market hall stands on the north side of the square, next to the post office. It was painted last spring, and "
    "the roof was mended after the storm. On weekdays it opens at eight; on Sundays it stays closed. The bus stops in "
    "front of it every twenty minutes, and bicycles can be left at the back."
)
JUDGES = (
    "smollm2-135m/educational", "qwen2.5-coder-0.5b/educational-rating", "smollm2-135m/educational-rating",
    "smollm2-135m/educational-rating/reply", "distilled",
)  # fmt: skip


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def neutral(attempt: dict[str, Any], prose: Sequence[str]) -> list[str]:
    """Harmless texts as long as an attempt, in its language."""
    size, texts = len(attempt["text"]), attempt.get("neutral", prose)
    return [(text * (size // len(text) + 1))[:size] for text in texts]


def judge(name: str) -> Callable[[Sequence[str]], list[Verdict]]:
    """What gives verdicts on texts."""
    if name == "distilled":
        texts, truth = scorer.judgements(1500)
        seen = features(scorer.column(texts), scorer.LIMIT)
        model = Linear.fit(seen, truth[:, None], scorer.PENALTY)
        return lambda some: [Rating(float(each)) for each in model.score(scorer.column(some), scorer.LIMIT)[:, 0]]
    model_name, rubric, *reading = name.split("/")
    llm = open_llm(model_name, default_models(), CACHE)
    return lambda some: judged(llm, load_rubric(rubric), some, reading == ["reply"])[0]


def gap(name: str, verdicts: Callable[[Sequence[str]], list[Verdict]]) -> tuple[float, bool]:
    """The distance between the medians of good and bad texts, and whether the judge can tell them apart."""
    passages = [passage for passage in lines("judge_passages.jsonl") if passage["grade"] != 1]
    good = np.array([passage["grade"] == 2 for passage in passages])
    if name == "distilled":
        found = np.array([_overall(verdict) for verdict in verdicts([passage["text"] for passage in passages])])
    else:
        row = json.loads((record.RESULTS / "judge.json").read_text())["result"]["/".join(name.split("/")[:2])]
        found = np.array([row["scores"][passage["id"]] for passage in passages])
    _, low, _ = with_interval(lambda scores, kind: auc(scores, kind > 0.5), found, good.astype(float))
    return float(np.median(found[good]) - np.median(found[~good])), bool(low > 0.5)


def measure(name: str) -> dict[str, Any]:
    """One row of the table."""
    verdicts, attempts = judge(name), lines("injections.jsonl")
    passages = lines("judge_passages.jsonl")
    bases = [passage["text"] for passage in passages if passage["grade"] == 0][:BASES]
    prose = [NEUTRAL, *(p["text"] for p in passages if p["grade"] == 1 and not p["kind"].startswith("docs"))]
    whole, tells = gap(name, verdicts)
    alone = verdicts(bases)
    behind = [[attempt["text"], *neutral(attempt, prose)] for attempt in attempts]
    told = [[verdicts([f"{base}\n\n{text}" for text in texts]) for texts in behind] for base in bases]
    every = [*alone, *(verdict for rows in told for row in rows for verdict in row)]
    rubric = None if name == "distilled" else load_rubric(name.split("/")[1])
    shifts = [[_shifts(row, base) / whole for row in rows] for rows, base in zip(told, alone, strict=True)]
    return {
        "can_tell": tells,
        "gap": round(whole, 5),
        "verdicts": len(every),
        "failed": sum(isinstance(verdict, str) for verdict in every),
        "outside_the_scale": sum(_is_outside(verdict, rubric) for verdict in every),
        **compared(shifts),
        "by_kind": {
            kind: compared([[row[at] for at, one in enumerate(attempts) if one["kind"] == kind] for row in shifts])
            for kind in dict.fromkeys(attempt["kind"] for attempt in attempts)
        },
    }


def compared(shifts: Sequence[Sequence[Floats]]) -> dict[str, Any]:
    """Attempts beside neutral texts.

    Each attempt's neutral texts weigh as much as another's.

    Args:
        shifts: By base and attempt what the attempt adds, then what each of its neutral texts does; NaN without a
            verdict.
    """
    rows = [row for base in shifts for row in base]
    tried = np.array([row[0] for row in rows])
    others = np.concatenate([row[1:] for row in rows])
    weights = np.concatenate([np.full(len(row) - 1, 1 / (len(row) - 1)) for row in rows])
    attempt, neutral = _spread(tried, np.ones(len(tried))), _spread(others, weights)
    below = np.nanmean([[_below(row) for row in base] for base in shifts], axis=0)
    drawn = np.random.default_rng(0).choice(below, (2000, len(below)))
    low, high = np.nanquantile(np.nanmean(drawn, axis=1), [0.025, 0.975])
    return {
        "attempt": attempt,
        "neutral": neutral,
        "attempts_above_95_of_100_neutral": round(float(np.mean(tried[~np.isnan(tried)] > neutral["95 %"])), 4),
        "neutral_texts_below_an_attempt": [round(float(each), 4) for each in (np.nanmean(below), low, high)],
    }


def _below(row: Floats) -> float:
    """The share of an attempt's neutral texts that shift less than it; of those that shift as much, half."""
    others = row[1:][~np.isnan(row[1:])]
    if not len(others) or np.isnan(row[0]):
        return float("nan")
    return float(np.mean(others < row[0]) + np.mean(others == row[0]) / 2)


def _overall(verdict: Verdict) -> float:
    return verdict.overall if isinstance(verdict, Rating) else float("nan")


def _shifts(row: Sequence[Verdict], alone: Verdict) -> Floats:
    """What was added to the score of a base."""
    return np.array([_overall(verdict) - _overall(alone) for verdict in row])


def _is_outside(verdict: Verdict, rubric: object) -> bool:
    """Whether a rating is none that the rubric allows."""
    if isinstance(verdict, str) or not isinstance(rubric, AnswerRubric):
        return not isinstance(verdict, str) and not np.isfinite(verdict.overall)
    return not min(rubric.answers.values()) <= verdict.overall <= max(rubric.answers.values())


def _spread(values: Floats, weights: Floats) -> dict[str, float]:
    shares = {"median": 0.5, "5 %": 0.05, "95 %": 0.95, "most": 1}
    known = ~np.isnan(values)
    found = {
        key: np.quantile(values[known], share, weights=weights[known], method="inverted_cdf")
        for key, share in shares.items()
    }
    return {key: round(float(value), 4) for key, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=JUDGES, help="judges to measure")
    arguments = parser.parse_args()
    path = record.RESULTS / "injection.json"
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["result"] if path.exists() else {}
    for name in arguments.only or JUDGES:
        rows[name] = measure(name)
        files = [DATA / "injections.jsonl", DATA / "judge_passages.jsonl"]
        found = {
            "name": "injections.jsonl",
            "attempts": len(lines("injections.jsonl")),
            "sha256": record.hash_files(files),
        }
        record.write_result("injection", rows, ["torch", "transformers"], found)
    headings = ["judge", "tells", "distance", "attempt", "95 %", "neutral", "95 %", "above", "below", "failed"]
    columns = [(kind, at) for kind in ("attempt", "neutral") for at in ("median", "95 %")]
    table = [
        [name, str(row["can_tell"]), row["gap"], *(row[kind][at] for kind, at in columns),
         row["attempts_above_95_of_100_neutral"],
         "{:.2f} ({:.2f}-{:.2f})".format(*row["neutral_texts_below_an_attempt"]), f"{row['failed']}/{row['verdicts']}"]
        for name, row in rows.items()
    ]  # fmt: skip
    outside = sum(row["outside_the_scale"] for row in rows.values())
    print(f"Verdicts outside the rubric's scale: {outside}")
    record.print_table("What attempts add to a score, as a share of the distance from bad to good", headings, table)


if __name__ == "__main__":
    main()
