"""Is the judge a judge? How well models and ways of asking tell texts that teach from texts that don't.

    python benchmarks/judge.py                                  # everything; 10-20 minutes of CPU
    python benchmarks/judge.py --only smollm2-135m/educational  # one row; the others stay as they are

On `data/judge_passages.jsonl`: 35 passages that teach, 39 that don't and 13 in between, half of them in the style of
reference documentation. AUC is how often one that teaches is scored above one that doesn't; its interval is from
2,000 bootstrap samples. The channel's prompts were written with all passages in view and picked, from about sixty
combinations, on those with even numbers; so the column of the odd ones is the fairer. The rubrics that come with
Tierline are measured beside simpler ways to ask the same.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import record

from tiers.l2_scored import AnswerRubric, ChannelRubric, load_rubric
from tiers.l2_scored.agreement import auc, spearman
from tiers.l2_scored.annotate import excerpt
from tiers.llm import Message, Request, Result, open_llm, quoted
from tiers.llm.models import default_models

PASSAGES = Path(__file__).parent / "data" / "judge_passages.jsonl"
EXCERPT = 700
MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")
TEACHES = (
    "You sort texts for a school library. A text that explains something clearly, with reasons, examples or "
    "definitions, teaches. Advertising, spam, menus, lists of links or names, notices and fragments do not teach."
)
ANCHOR = (
    "The festival drew 3,000 visitors on Saturday, said the organisers. There was music until midnight, and the "
    "weather held. Next year it will take place in June."
)


@dataclass(frozen=True)
class Method:
    """A way to ask: the requests for a text, and the score from their results (and from those for an empty text)."""

    what: str
    requests: Callable[[str], list[Request]]
    score: Callable[[Sequence[Result], Sequence[Result]], float]


def methods() -> dict[str, Method]:
    """Every way to ask, by name; those named like a rubric are the rubric."""
    channel, rating = load_rubric("educational"), load_rubric("educational-rating")
    assert isinstance(channel, ChannelRubric)
    assert isinstance(rating, AnswerRubric)
    bare = rating.model_copy(update={"examples": ()})
    neutral = channel.model_copy(update={"bad": ("Write something.",)})

    def calibrated(results: Sequence[Result], empty: Sequence[Result]) -> float:
        shifted = [a - b for a, b in zip(results[0].logprobs, empty[0].logprobs, strict=True)]
        return bare.rating([Result("", results[0].finish, tuple(shifted))]).overall

    def odds(results: Sequence[Result], empty: Sequence[Result]) -> float:
        return results[0].logprobs[0] - results[0].logprobs[1]

    def ask(text: str) -> list[Request]:
        question = f"{quoted(text)}\n\nDoes this text teach something, as a good textbook does? Answer Yes or No."
        return [Request((Message("system", TEACHES), Message("user", question)), choices=("Yes", "No"))]

    def compare(text: str) -> list[Request]:
        both = f"{quoted(text, 'first')}\n\n{quoted(ANCHOR, 'second')}"
        question = f"{both}\n\nWhich text teaches more, 1 or 2? Answer 1 or 2."
        return [Request((Message("system", TEACHES), Message("user", question)), choices=("1", "2"))]

    return {
        "educational": Method("channel: explanation against notices and lists", channel.requests, _plain(channel)),
        "educational-rating": Method("rating 1-5, six examples", rating.requests, _plain(rating)),
        "channel-neutral": Method("channel: explanation against anything", neutral.requests, _plain(neutral)),
        "rating-bare": Method("rating 1-5, no examples", bare.requests, _plain(bare)),
        "rating-calibrated": Method("the same, against an empty text", bare.requests, calibrated),
        "yes-no": Method("log-odds of yes, no examples", ask, odds),
        "comparison": Method("log-odds against a fixed text", compare, odds),
    }


def _plain(rubric: AnswerRubric | ChannelRubric) -> Callable[[Sequence[Result], Sequence[Result]], float]:
    return lambda results, empty: rubric.rating(results).overall


def measure(model: str, method: Method, passages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of the table."""
    llm = open_llm(model, default_models())
    llm.complete(method.requests("Warm up."))
    began = time.process_time()
    asked = [method.requests(excerpt(passage["text"], EXCERPT)) for passage in passages]
    results = llm.complete([request for requests in asked for request in requests])
    seconds = time.process_time() - began
    empty = llm.complete(method.requests("N/A"))
    each = len(asked[0])
    scores = np.array([method.score(results[at : at + each], empty) for at in range(0, len(results), each)])
    grades = np.array([passage["grade"] for passage in passages])
    low, high = interval(scores, grades)
    even = np.array([int(passage["id"][1:]) % 2 == 0 for passage in passages])
    docs = np.array([passage["kind"].startswith("docs") for passage in passages])
    return {
        "model": llm.name,
        "method": method.what,
        "auc": separation(scores, grades),
        "auc_interval_95": [low, high],
        "auc_even": separation(scores[even], grades[even]),
        "auc_odd": separation(scores[~even], grades[~even]),
        "auc_documentation": separation(scores[docs], grades[docs]),
        "spearman": round(spearman(scores, grades.astype(float)), 4),
        "cpu_seconds_per_document": round(seconds / len(passages), 3),
        "documents_per_cpu_second": round(len(passages) / seconds, 3),
        "prompt": [turn.content for turn in asked[0][0].messages if turn.role != "assistant"][:1],
        "scores": {passage["id"]: round(float(s), 5) for passage, s in zip(passages, scores, strict=True)},
    }


def separation(scores: np.ndarray[Any, Any], grades: np.ndarray[Any, Any]) -> float:
    """AUC of what teaches (2) against what doesn't (0); what lies between (1) is left out."""
    clear = grades != 1
    return round(auc(scores[clear], grades[clear] == 2), 4)


def interval(scores: np.ndarray[Any, Any], grades: np.ndarray[Any, Any]) -> tuple[float, float]:
    """The middle 95 % of the AUC over bootstrap samples of both kinds of passages."""
    random = np.random.default_rng(0)
    good, bad = scores[grades == 2], scores[grades == 0]
    truth = np.repeat([True, False], [len(good), len(bad)])
    values = [
        auc(np.concatenate([random.choice(good, len(good)), random.choice(bad, len(bad))]), truth) for _ in range(2000)
    ]
    return round(float(np.quantile(values, 0.025)), 4), round(float(np.quantile(values, 0.975)), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="rows to measure, as MODEL/METHOD")
    arguments = parser.parse_args()
    passages = [json.loads(line) for line in PASSAGES.read_text(encoding="utf-8").splitlines()]
    path = record.RESULTS / "judge.json"
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["result"] if path.exists() else {}
    ways = methods()
    for name in arguments.only or [f"{model}/{way}" for way in ways for model in MODELS]:
        model, _, way = name.rpartition("/")
        rows[name] = measure(model, ways[way], passages)
        corpus = {"name": PASSAGES.name, "passages": len(passages), "sha256": record.hash_files([PASSAGES])}
        record.write_result("judge", rows, ["torch", "transformers"], corpus)
    headings = ["model/method", "AUC", "95 %", "even", "odd", "documentation", "CPU s/document"]
    keys = ("auc_even", "auc_odd", "auc_documentation", "cpu_seconds_per_document")
    table = [
        [name, row["auc"], "{:.2f}-{:.2f}".format(*row["auc_interval_95"]), *(row[key] for key in keys)]
        for name, row in sorted(rows.items(), key=lambda item: -item[1]["auc"])
    ]
    record.print_table("Telling texts that teach from texts that don't", headings, table)


if __name__ == "__main__":
    main()
