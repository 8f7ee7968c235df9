"""What `scorer.py` asks of fastText, in a Python of its own: trains on labelled texts and scores others.

    PYTHON_WITH_FASTTEXT benchmarks/scorer_fasttext.py < JOBS > RESULTS

Jobs are JSON lines: `settings` of the training, `texts` and `labels` (0 or 1) to train on, `others` to score, and how
often to `repeat` that. Results are JSON lines: `scores`, the probabilities of the label 1, and the CPU seconds
to `train` and, each time, to `score`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fasttext


def prepared(text: str) -> str:
    """What fastText reads: one line, in lower case, as the published classifier has it."""
    return " ".join(text.lower().split())


def answer(job: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.txt"
        labelled = zip(job["labels"], job["texts"], strict=True)
        data.write_text("".join(f"__label__{label} {prepared(text)}\n" for label, text in labelled))
        began = time.process_time()
        model = fasttext.train_supervised(str(data), thread=1, verbose=0, **job["settings"])
        trained = time.process_time() - began
    seconds = []
    for _ in range(job["repeat"]):
        began = time.process_time()
        found = model.predict([prepared(text) for text in job["others"]], k=2)
        seconds.append(time.process_time() - began)
    scores = [
        next(float(p) for name, p in zip(*each, strict=True) if name == "__label__1")
        for each in zip(*found, strict=True)
    ]
    return {"scores": scores, "train": trained, "score": seconds}


if __name__ == "__main__":
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the library prints is no result
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=results, flush=True)
