"""How fast the judge reads: Tierline's back end beside a plain batch loop over transformers, on the same prompts.

    PYTHONPATH=. python benchmarks/judge_speed.py     # about 15 minutes of CPU

24 passages of up to 700 characters (8 where each is asked about in three dimensions), SmolLM2-135M in bfloat16, one
thread, median of three rounds, by every rubric that comes with Tierline. The loop is what one writes first: batches of
eight, sorted by length, padded, one forward pass, the log-probabilities from its logits. Most rubrics ask for a rating
after examples, which every prompt repeats and Tierline reads once; `educational` weighs each passage as the reply to
short prompts. Tokens are those of the whole prompts, as both
are asked about them. Scores are compared with those of the loop in float32, by the largest difference and by rank.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import record

from tiers.l2_scored import AnswerRubric, load_rubric, rubric_names
from tiers.l2_scored.agreement import spearman
from tiers.l2_scored.annotate import excerpt
from tiers.llm import Finish, Request, Result, open_llm
from tiers.llm.models import default_models, load_causal_lm

MODEL = "smollm2-135m"
PASSAGES = Path(__file__).parent / "data" / "judge_passages.jsonl"
COUNT, CHARS, BATCH, ROUNDS = 24, 700, 8, 3

Floats = np.ndarray[Any, np.dtype[np.float64]]
Answer = Callable[[Sequence[Request]], list[Result]]


def plain_loop(dtype: str = "bfloat16") -> Answer:
    """Batches of whole prompts through the model."""
    import torch

    model, tokenizer = load_causal_lm(MODEL, default_models(), dtype=dtype)

    def encode(request: Request) -> tuple[list[int], list[int]]:
        turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + request.prefill
        reply = tokenizer(request.reply, add_special_tokens=False)["input_ids"] if request.reply else []
        return tokenizer(text, add_special_tokens=False)["input_ids"], reply

    def result(request: Request, prompt: list[int], reply: list[int], logits_TV: Any) -> Result:
        logprobs_TV = logits_TV[: len(prompt) + len(reply)].float().log_softmax(-1)
        if reply:
            rows = torch.arange(len(prompt) - 1, len(prompt) + len(reply) - 1)
            values = logprobs_TV[rows, torch.tensor(reply)].tolist()
        else:
            chosen = [tokenizer(choice, add_special_tokens=False)["input_ids"][0] for choice in request.choices]
            values = logprobs_TV[len(prompt) - 1, chosen].tolist()
        return Result("", Finish.STOP, tuple(values), len(prompt) + len(reply))

    def answer(requests: Sequence[Request]) -> list[Result]:
        encoded = [encode(request) for request in requests]
        order = sorted(range(len(requests)), key=lambda i: len(encoded[i][0]) + len(encoded[i][1]))
        results: dict[int, Result] = {}
        for at in range(0, len(order), BATCH):
            some = order[at : at + BATCH]
            longest = max(len(encoded[i][0]) + len(encoded[i][1]) for i in some)
            rows = [encoded[i][0] + encoded[i][1] for i in some]
            ids = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
            with torch.inference_mode():
                logits_BTV = model(input_ids=ids, attention_mask=mask).logits
            for i, logits_TV in zip(some, logits_BTV, strict=True):
                results[i] = result(requests[i], *encoded[i], logits_TV)
        return [results[i] for i in range(len(requests))]

    return answer


def measured(answer: Answer, requests: Sequence[Request]) -> tuple[dict[str, Any], list[Result]]:
    """Tokens read a CPU second and a second, and the results."""
    cpu, wall = [], []
    for _ in range(ROUNDS):
        began, started = time.process_time(), time.perf_counter()
        results = answer(requests)
        tokens = sum(result.prompt_tokens for result in results)
        cpu.append(tokens / (time.process_time() - began))
        wall.append(tokens / (time.perf_counter() - started))
    figures = {"tokens_per_cpu_second": record.spread(cpu, 1), "tokens_per_second": record.spread(wall, 1)}
    return {**figures, "tokens": tokens}, results


def compare(rubric_name: str, texts: Sequence[str], loop: Answer, here: Answer) -> dict[str, Any]:
    """Both, on one rubric."""
    rubric = load_rubric(rubric_name)
    dimensions = len(rubric.question) if isinstance(rubric, AnswerRubric) and isinstance(rubric.question, dict) else 1
    asked = [rubric.requests(text) for text in texts[: COUNT // dimensions]]
    requests, each = [request for one in asked for request in one], len(asked[0])
    found, scores = {}, {}
    for name, answer in (("plain loop", loop), ("tierline", here)):
        answer(requests[:1])
        found[name], results = measured(answer, requests)
        scores[name] = np.array([rubric.rating(results[at : at + each]).overall for at in range(0, len(results), each)])
    results = plain_loop("float32")(requests)
    exact = np.array([rubric.rating(results[at : at + each]).overall for at in range(0, len(results), each)])
    ratio = (
        found["tierline"]["tokens_per_cpu_second"]["median"] / found["plain loop"]["tokens_per_cpu_second"]["median"]
    )
    return {
        **found,
        "times_as_fast": round(ratio, 2),
        "spread_of_scores": round(float(np.std(exact)), 4),
        "from_float32": {name: _apart(values, exact) for name, values in scores.items()},
        "from_each_other": _apart(scores["tierline"], scores["plain loop"]),
    }


def _apart(scores: Floats, others: Floats) -> dict[str, float]:
    """How far two judgements of the same texts are apart."""
    return {
        "largest_difference": round(float(np.abs(scores - others).max()), 4),
        "rank_correlation": round(float(spearman(scores, others)), 4),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    passages = [json.loads(line)["text"] for line in PASSAGES.read_text(encoding="utf-8").splitlines()]
    texts = [excerpt(text, CHARS) for text in passages[:: len(passages) // COUNT][:COUNT]]
    here = open_llm(MODEL, default_models()).complete
    rows = {name: compare(name, texts, plain_loop(), here) for name in rubric_names()}
    corpus = {"name": PASSAGES.name, "passages": COUNT, "sha256": record.hash_files([PASSAGES])}
    record.write_result("judge_speed", rows, ["torch", "transformers"], corpus)
    headings = [
        "rubric",
        "tokens",
        "loop, a CPU s",
        "Tierline, a CPU s",
        "×",
        "loop off float32",
        "Tierline off float32",
    ]
    table = []
    for name, row in rows.items():
        speeds = [row[who]["tokens_per_cpu_second"]["median"] for who in ("plain loop", "tierline")]
        off = [row["from_float32"][who]["largest_difference"] for who in ("plain loop", "tierline")]
        table.append([name, row["tierline"]["tokens"], *speeds, row["times_as_fast"], *off])
    record.print_table("Tokens of prompts judged", headings, table)


if __name__ == "__main__":
    main()
