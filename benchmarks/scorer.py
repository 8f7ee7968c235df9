"""The distilled scorer: how fast it is, how well it agrees with its judge, and fastText and embeddings beside it.

    python benchmarks/scorer.py [--fasttext PYTHON] [--judged N] [--only PART ...]

PYTHON is that of an environment with fastText (`pip install fasttext-numpy2-wheel`); without it its rows stay as they
are. Agreement: SmolLM2-135M judges pages of Debian's documentation and of news by the rubric `educational` (half an
hour of CPU; answers are kept), and each scorer is fitted to four fifths of them and looked at on the others, five
times; fastText, which knows classes, to whether a page is in the better half. Pools: pages that are prose against
indices, licences and logs of changes; `elsewhere` trains on some packages and looks at others. Speed: one core, texts
of 4,096 bytes that lie in an Arrow table or in a list of strings.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import record
import scorer_corpus as corpus

from tiers.document import documents, tokens_of
from tiers.errors import ModelError
from tiers.l2_scored import Distil, Embedding, load_rubric
from tiers.l2_scored.agreement import auc, spearman, with_interval
from tiers.l2_scored.annotate import JUDGE, excerpt, judged
from tiers.l2_scored.distil import PENALTIES
from tiers.l2_scored.embed import EMBEDDING
from tiers.l2_scored.features import Features, dense, features
from tiers.l2_scored.linear import Linear
from tiers.l2_scored.rubric import Rating
from tiers.l2_scored.scorer import fit_scorer
from tiers.llm import open_llm
from tiers.llm.models import default_models
from tiers.stage import Context

Floats = npt.NDArray[np.float64]
Rivals = dict[str, Callable[..., dict[str, Any]]]

LIMIT, PENALTY, FOLDS, REPEATS, SPEED = 4096, PENALTIES["ngrams"], 5, 7, 4000
PUBLISHED = {"dim": 256, "lr": 0.1, "wordNgrams": 3, "minCount": 5, "epoch": 3}
"""Ultra-FineWeb's settings, found on millions of texts (MiniCPM4 report, section 3.1)."""
SMALL = {"dim": 64, "lr": 0.5, "wordNgrams": 2, "minCount": 1, "epoch": 25}
"""Settings for few texts."""
CACHE = Path(tempfile.gettempdir()) / "tierline-judged"


def judgements(limit: int) -> tuple[list[str], Floats]:
    """Pages and how the judge rates them."""
    texts = corpus.pages_to_judge()[:limit]
    judge = open_llm("smollm2-135m", default_models(), CACHE)
    verdicts, _ = judged(judge, load_rubric("educational"), [excerpt(text, 700) for text in texts])
    rated = [
        (text, verdict.overall) for text, verdict in zip(texts, verdicts, strict=True) if isinstance(verdict, Rating)
    ]
    return [text for text, _ in rated], np.array([rating for _, rating in rated])


def column(texts: Sequence[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def embedded(texts: Sequence[str], model: str) -> tuple[Features, float]:
    """What an embedding stage makes of texts, and CPU seconds a text."""
    rows = documents([{"text": text, "source": str(i)} for i, text in enumerate(texts)])
    run = Embedding(model=model).prepare(Context(models=default_models()))
    run(rows.slice(0, 2))
    began = time.process_time()
    vectors = run(rows).kept[EMBEDDING.name]
    return dense(vectors), (time.process_time() - began) / len(texts)


def ask_fasttext(
    python: str, settings: dict[str, Any], texts: Sequence[str], labels: Sequence[bool], others: Sequence[str],
    repeat: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """What `scorer_fasttext.py` answers."""
    job = {"settings": settings, "texts": texts, "labels": [int(x) for x in labels], "others": others, "repeat": repeat}
    script = Path(__file__).with_name("scorer_fasttext.py")
    done = subprocess.run([python, script], input=json.dumps(job), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def agreement(fast: Rivals, texts: list[str], truth: Floats) -> dict[str, Any]:
    """How each scorer's scores of pages that it wasn't fitted to agree with the judge."""
    heads: dict[str, tuple[Features, float | None]] = {"words and pairs": (features(column(texts), LIMIT), None)}
    for name, model in (("static embeddings", "static"), ("MiniLM", "all-minilm-l6-v2")):
        try:
            heads[name] = embedded(texts, model)
        except ModelError as error:
            print(f"{name} left out: {error}")
    rows: dict[str, Any] = {}
    for name, (seen, seconds) in heads.items():
        rows[name] = _measured(seen, truth, PENALTIES["ngrams" if seconds is None else "embedding"]) | (
            {"documents_per_cpu_second": 1 / seconds} if seconds else {}
        )
    fold = np.arange(len(texts)) % FOLDS
    for name, ask in fast.items():
        scores = np.zeros(len(texts))
        for k in range(FOLDS):
            these, others = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            better = truth[these] > np.median(truth[these])
            scores[others] = ask([texts[i] for i in these], better, [texts[i] for i in others])["scores"]
        rows[name] = _figures(scores, truth)
    return rows


def _measured(seen: Features, truth: Floats, penalty: float) -> dict[str, Any]:
    """What the stage reports."""
    _, found = fit_scorer(
        seen, truth[:, None], (), lambda rows: Linear.fit(seen.take(rows), truth[rows][:, None], penalty), FOLDS
    )
    return {key: [round(value, 4) for value in values] for key, values in found.items()}


def _figures(scores: Floats, truth: Floats) -> dict[str, Any]:
    better = (truth > np.median(truth)).astype(float)
    found = {
        "spearman": with_interval(spearman, scores, truth),
        "auc": with_interval(lambda some, kind: auc(some, kind > 0.5), scores, better),
    }
    return {key: [round(value, 4) for value in values] for key, values in found.items()}


def pools(fast: Rivals) -> dict[str, Any]:
    """AUC on held-out pages of the pools: every fifth page, and packages that nothing was trained on."""
    good, bad = corpus.good_pages(), corpus.bad_pages()
    texts, truth = [*good, *bad], np.repeat([True, False], [len(good), len(bad)])
    at = np.concatenate([np.arange(len(good)), np.arange(len(bad))])
    splits = {"every fifth": (texts, truth, at % 5 == 0)}
    near, far = corpus.good_pages(corpus.NEAR), corpus.good_pages(corpus.FAR)
    lists, other_lists = corpus.bad_pages(corpus.NEAR), corpus.bad_pages(corpus.FAR)
    parts = [near, lists, far, other_lists]
    splits["elsewhere"] = (
        [text for part in parts for text in part],
        np.repeat([True, False, True, False], [len(part) for part in parts]),
        np.repeat([False, False, True, True], [len(part) for part in parts]),
    )
    return {name: _pool(fast, *split) for name, split in splits.items()}


def _pool(fast: Rivals, texts: list[str], truth: npt.NDArray[np.bool_], held: npt.NDArray[np.bool_]) -> dict[str, Any]:
    these, others = np.flatnonzero(~held), np.flatnonzero(held)
    began = time.process_time()
    seen = features(column([texts[i] for i in these]), LIMIT)
    model = Linear.fit(seen, truth[these].astype(float)[:, None], PENALTY)
    seconds = time.process_time() - began
    scores = model.score(column([texts[i] for i in others]), LIMIT)[:, 0]
    rows = {"words and pairs": _told(scores, truth[others]) | {"train_cpu_seconds": round(seconds, 2)}}
    for name, ask in fast.items():
        found = ask([texts[i] for i in these], truth[these].tolist(), [texts[i] for i in others])
        told = _told(np.array(found["scores"]), truth[others])
        rows[name] = told | {"train_cpu_seconds": round(found["train"], 2)}
    return {"trained_on": len(these), "held_out": len(others), **rows}


def _told(scores: Floats, truth: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "auc": [round(value, 5) for value in with_interval(lambda a, b: auc(a, b > 0.5), scores, truth.astype(float))]
    }


def speed(fast: Rivals, texts: list[str], truth: Floats) -> dict[str, Any]:
    """Documents of 4,096 bytes a CPU second."""
    joined = "\n".join(corpus.good_pages()).encode()
    pieces = [joined[at : at + LIMIT].decode("utf-8", "ignore") for at in range(0, len(joined) - LIMIT, LIMIT)]
    blocks = (pieces * (-(-SPEED // len(pieces))))[:SPEED]
    rows = documents([{"text": text, "source": str(i)} for i, text in enumerate(blocks)])
    seen = features(column(texts), LIMIT)
    model = Linear.fit(seen, truth[:, None], PENALTY)
    judged_rows = documents([{"text": text, "source": str(i)} for i, text in enumerate(texts)])
    judged_rows = judged_rows.append_column(JUDGE, pa.array(truth, pa.float32()))
    stage = Distil()
    decision = stage.decide(stage.reduce(stage.spill(judged_rows)), lambda rows, columns: iter(()))
    runs: dict[str, Callable[[], Any]] = {
        "words and pairs": lambda: model.score(rows["text"], LIMIT),
        "words and pairs, the stage whole": lambda: stage.apply(rows, decision),
    }
    size = sum(len(text.encode()) for text in blocks)
    tokens = int(tokens_of(rows["text"]).sum())
    found = {name: _rate(len(blocks), size, tokens, _times(run)) for name, run in runs.items()}
    better = (truth > np.median(truth)).tolist()
    for name, ask in fast.items():
        found[name] = _rate(len(blocks), size, tokens, ask(texts, better, blocks, REPEATS)["score"])
    return {"documents": len(blocks), "bytes": size, "tokens": tokens, **found}


def _times(run: Callable[[], Any]) -> list[float]:
    run()
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return seconds


def _rate(documents: int, size: int, tokens: int, seconds: Sequence[float]) -> dict[str, Any]:
    middle = statistics.median(seconds)
    return {
        "documents_per_cpu_second": record.spread([documents / each for each in seconds], 0),
        "megabytes_per_cpu_second": round(size / middle / 1e6, 1),
        "tokens_per_cpu_second": round(tokens / middle),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fasttext", metavar="PYTHON", help="a Python that has fastText")
    parser.add_argument("--judged", type=int, default=1500, help="how many pages to judge, at most")
    parser.add_argument(
        "--only", nargs="*", choices=("agreement", "pools", "speed"), help="the others stay as they are"
    )
    arguments = parser.parse_args()
    fast: Rivals = {
        name: partial(ask_fasttext, arguments.fasttext, settings)
        for name, settings in (("fastText", SMALL), ("fastText, published settings", PUBLISHED))
        if arguments.fasttext
    }
    texts, truth = judgements(arguments.judged)
    print(f"{len(texts)} pages judged")
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "agreement": lambda: agreement(fast, texts, truth),
        "pools": lambda: pools(fast),
        "speed": lambda: speed(fast, texts, truth),
    }
    path = record.RESULTS / "scorer.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["result"] if path.exists() else {}
    found = {"name": "debian documentation and news", "pages": len(texts), "sha256": record.hash_texts(texts)}
    for part in arguments.only or parts:
        result[part] = _merged(result.get(part, {}), parts[part]())
        record.write_result("scorer", result, ["numba", "numpy", "pyarrow"], found)
    show(result)


def _merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What was found now, beside rows of before that were left out now."""
    tables = {name: _merged(before[name], rows) for name, rows in now.items() if name in before and _is_table(rows)}
    return before | now | tables


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(row, dict) and "auc" in row for row in value.values())


def show(result: dict[str, Any]) -> None:
    for part, table in (("agreement", show_agreement), ("pools", show_pools), ("speed", show_speed)):
        if part in result:
            table(result[part])


def show_agreement(result: dict[str, Any]) -> None:
    rows = [
        [name, *("{:.3f} ({:.3f}-{:.3f})".format(*row[key]) for key in ("spearman", "auc"))]
        for name, row in result.items()
    ]
    record.print_table("Agreement with the judge, on pages held out", ["scorer", "Spearman (95 %)", "AUC (95 %)"], rows)


def show_pools(result: dict[str, Any]) -> None:
    for split, found in result.items():
        rows = [
            [name, "{:.4f} ({:.4f}-{:.4f})".format(*row["auc"]), row["train_cpu_seconds"]]
            for name, row in found.items()
            if isinstance(row, dict)
        ]
        title = f"Pools, held out: {split}; {found['trained_on']} and {found['held_out']} pages"
        record.print_table(title, ["scorer", "AUC (95 %)", "CPU s to train"], rows)


def show_speed(result: dict[str, Any]) -> None:
    rows = [
        [
            name,
            round(row["documents_per_cpu_second"]["median"]),
            row["megabytes_per_cpu_second"],
            row["tokens_per_cpu_second"],
        ]
        for name, row in result.items()
        if isinstance(row, dict)
    ]
    record.print_table("Speed", ["scorer", "documents/CPU s", "MB/CPU s", "tokens/CPU s"], rows)


if __name__ == "__main__":
    main()
