"""Does a judge agree with itself? The same question anew, and with its parts in another order.

    python benchmarks/judge_agreement.py                                  # everything; ten minutes of CPU
    python benchmarks/judge_agreement.py --only smollm2-135m/educational  # one judge; the others stay as they are

On every second passage of `data/judge_passages.jsonl`: the rank correlation of the first judgements with those by the
same question, asked anew without a cache, and with those by one whose parts are in another order; each with its
bootstrap interval. `shift` is how far the latter lie from the first on average, in standard deviations of these.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import record

from tiers.l2_scored import load_rubric
from tiers.l2_scored.agreement import spearman, with_interval
from tiers.l2_scored.annotate import asked_again, judged
from tiers.l2_scored.rubric import Rating
from tiers.llm import open_llm
from tiers.llm.models import default_models

PASSAGES = Path(__file__).parent / "data" / "judge_passages.jsonl"
JUDGES = ("smollm2-135m/educational", "smollm2-135m/educational-rating", "qwen2.5-coder-0.5b/educational-rating")


def measure(name: str, texts: list[str]) -> dict[str, Any]:
    """One row of the table."""
    model, _, rubric_name = name.partition("/")
    llm, rubric = open_llm(model, default_models()), load_rubric(rubric_name)
    first = _ratings(judged(llm, rubric, texts)[0])
    again = asked_again(llm, rubric, texts)[0]
    repeated, permuted = (_ratings([pair[at] for pair in again]) for at in range(2))
    return {
        "judged": len(texts),
        "repeated": [round(value, 4) for value in with_interval(spearman, first, repeated)],
        "permuted": [round(value, 4) for value in with_interval(spearman, first, permuted)],
        "shift": round(float(np.abs(first - permuted).mean() / first.std()), 4),
    }


def _ratings(verdicts: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([verdict.overall if isinstance(verdict, Rating) else np.nan for verdict in verdicts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=JUDGES, help="judges to measure")
    arguments = parser.parse_args()
    texts = [json.loads(line)["text"] for line in PASSAGES.read_text(encoding="utf-8").splitlines()][::2]
    path = record.RESULTS / "judge_agreement.json"
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["result"] if path.exists() else {}
    for name in arguments.only or JUDGES:
        rows[name] = measure(name, texts)
        corpus = {"name": PASSAGES.name, "passages": len(texts), "sha256": record.hash_files([PASSAGES])}
        record.write_result("judge_agreement", rows, ["torch", "transformers"], corpus)
    table = [
        [name, *("{:.3f} ({:.3f}-{:.3f})".format(*row[key]) for key in ("repeated", "permuted")), row["shift"]]
        for name, row in rows.items()
    ]
    record.print_table("Agreement of judges with themselves", ["judge", "asked anew", "permuted", "shift"], table)


if __name__ == "__main__":
    main()
