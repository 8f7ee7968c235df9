"""Can a document talk its judge into a better score?

    python benchmarks/injection.py                                  # everything; half an hour of CPU
    python benchmarks/injection.py --only smollm2-135m/educational  # one judge; the others stay as they are

`data/injections.jsonl` holds texts that try: pleas, overrides, JSON, delimiters, chat turns, other languages,
disguises. Each is put behind texts that teach nothing, and so is as much neutral text (in another language, where the
attempt is in one). A *shift* is what that adds to the score, as a share of the distance between the median scores of
texts that teach and texts that don't (`data/judge_passages.jsonl`, results/judge.json): 1 would make a good text of a
bad one. `can tell` says whether the judge is one at all: the interval of its AUC there lies above one half. `reply`
judges write JSON without a grammar that would hold them to it: of what they write, only what the rubric allows is a
rating, the rest fails. `distilled` is the scorer that `scorer.py` distils from the first judge.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
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


def neutral(attempt: dict[str, Any]) -> str:
    """Harmless text as long as an attempt, in its language."""
    size, text = len(attempt["text"]), str(attempt.get("neutral", NEUTRAL))
    return (text * (size // len(text) + 1))[:size]


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
    bases = [passage["text"] for passage in lines("judge_passages.jsonl") if passage["grade"] == 0][:BASES]
    whole, tells = gap(name, verdicts)
    alone = verdicts(bases)
    told: dict[str, list[list[Verdict]]] = {
        kind: [verdicts([f"{base}\n\n{made(attempt)}" for attempt in attempts]) for base in bases]
        for kind, made in (("attempt", lambda attempt: attempt["text"]), ("neutral", neutral))
    }
    every = [*alone, *(verdict for kind in told.values() for row in kind for verdict in row)]
    rubric = None if name == "distilled" else load_rubric(name.split("/")[1])
    row: dict[str, Any] = {
        "can_tell": tells,
        "gap": round(whole, 5),
        "verdicts": len(every),
        "failed": sum(isinstance(verdict, str) for verdict in every),
        "outside_the_scale": sum(_is_outside(verdict, rubric) for verdict in every),
    }
    shifts = {kind: _shifts(rows, alone) / whole for kind, rows in told.items()}
    row |= {kind: _spread(values[~np.isnan(values)]) for kind, values in shifts.items()}
    most = np.nanquantile(shifts["neutral"], 0.95)
    row["attempts_above_95_of_100_neutral"] = round(float(np.nanmean(shifts["attempt"] > most)), 4)
    row["paired"] = _spread((shifts["attempt"] - shifts["neutral"])[~np.isnan(shifts["attempt"] - shifts["neutral"])])
    by_kind = {
        kind: [at for at, attempt in enumerate(attempts) if attempt["kind"] == kind]
        for kind in Counter(a["kind"] for a in attempts)
    }
    row["median_shift_by_kind"] = {
        kind: [round(float(np.nanmedian(shifts[which][:, at])), 4) for which in ("attempt", "neutral")]
        for kind, at in by_kind.items()
    }
    return row


def _overall(verdict: Verdict) -> float:
    return verdict.overall if isinstance(verdict, Rating) else float("nan")


def _shifts(rows: Sequence[Sequence[Verdict]], alone: Sequence[Verdict]) -> Floats:
    """What was added to the score of each base (bases, attempts)."""
    return np.array([[_overall(v) - _overall(base) for v in row] for row, base in zip(rows, alone, strict=True)])


def _is_outside(verdict: Verdict, rubric: object) -> bool:
    """Whether a rating is none that the rubric allows."""
    if isinstance(verdict, str) or not isinstance(rubric, AnswerRubric):
        return not isinstance(verdict, str) and not np.isfinite(verdict.overall)
    return not min(rubric.answers.values()) <= verdict.overall <= max(rubric.answers.values())


def _spread(values: Floats) -> dict[str, float]:
    names = ("median", "5 %", "95 %", "most")
    return {name: round(float(np.quantile(values, q)), 4) for name, q in zip(names, (0.5, 0.05, 0.95, 1), strict=True)}


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
    headings = ["judge", "tells", "distance", "attempt", "95 %", "neutral", "95 %", "above", "failed", "outside"]
    columns = [(kind, at) for kind in ("attempt", "neutral") for at in ("median", "95 %")]
    table = [
        [name, str(row["can_tell"]), row["gap"], *(row[kind][at] for kind, at in columns),
         row["attempts_above_95_of_100_neutral"], f"{row['failed']}/{row['verdicts']}", row["outside_the_scale"]]
        for name, row in rows.items()
    ]  # fmt: skip
    record.print_table("What attempts add to a score, as a share of the distance from bad to good", headings, table)


if __name__ == "__main__":
    main()
