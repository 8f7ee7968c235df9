"""Writing on a CPU: llama.cpp in process beside transformers, on the same prompts to the same model.

    PYTHONPATH=. python benchmarks/generation.py      # about 5 minutes of CPU; needs llamacpp:smollm2-135m

Tokens written a CPU second, greedily, each reply up to 48 tokens, to 16 prompts that quote passages of 300 characters
(what is read counts in the time, not in the tokens). transformers computes in bfloat16, llama.cpp with the file's own
weights of four bits, from which the former were unpacked: so replies differ. One thread each, median of three rounds.

The last figures are how many of 16 replies are JSON that fits a schema: asked for in words alone, and enforced.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import record
from pydantic import BaseModel, ConfigDict, ValidationError

from tiers.llm import Message, Request, Result, open_llm, quoted
from tiers.llm.models import default_models, load_causal_lm, pull

MODEL = "smollm2-135m"
PASSAGES = Path(__file__).parent / "data" / "judge_passages.jsonl"
PROMPTS, TOKENS, ROUNDS, ALONE = 16, 48, 3, 4


class Answer(BaseModel):
    """What a reply is to hold."""

    model_config = ConfigDict(extra="forbid", strict=True)

    topic: str
    teaches: bool


def prompts() -> list[Request]:
    """One request for each of the first passages."""
    passages = [json.loads(line)["text"][:300] for line in PASSAGES.read_text(encoding="utf-8").splitlines()]
    ask = "Say in two sentences what this text is about."
    return [Request((Message("user", f"{quoted(text)}\n\n{ask}"),), TOKENS) for text in passages[:PROMPTS]]


def structured(requests: Sequence[Request]) -> list[Request]:
    """The same texts, with a reply in JSON asked for."""
    ask = 'Reply in JSON: {"topic": a string of a few words, "teaches": true or false}.'
    schema = Answer.model_json_schema()
    schema["properties"]["topic"]["maxLength"] = 60
    texts = [request.messages[0].content.rsplit("\n\n", 1)[0] for request in requests]
    return [Request((Message("user", f"{text}\n\n{ask}"),), 80, schema=schema) for text in texts]


def plain_loop(batch: int) -> Callable[[Sequence[Request]], int]:
    """The loop that one writes with transformers alone; gives the tokens that it wrote."""
    import torch

    model, tokenizer = load_causal_lm(MODEL, default_models())
    tokenizer.padding_side = "left"

    def write(requests: Sequence[Request]) -> int:
        written = 0
        for at in range(0, len(requests), batch):
            turns = [[{"role": "user", "content": one.messages[0].content}] for one in requests[at : at + batch]]
            texts = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            ids = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
            with torch.inference_mode():
                out = model.generate(**ids, max_new_tokens=TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id)
            new = out[:, ids["input_ids"].shape[1] :]
            written += int((new != tokenizer.pad_token_id).sum())
        return written

    return write


def measured(write: Callable[[Sequence[Request]], int], requests: Sequence[Request]) -> dict[str, Any]:
    """Tokens written a CPU second and a second, over the rounds."""
    write(requests[:1])
    cpu, wall = [], []
    for _ in range(ROUNDS):
        began, started = time.process_time(), time.perf_counter()
        written = write(requests)
        cpu.append(written / (time.process_time() - began))
        wall.append(written / (time.perf_counter() - started))
    return {"tokens_per_cpu_second": record.spread(cpu, 1), "tokens_per_second": record.spread(wall, 1)}


def fitting(results: Sequence[Result]) -> int:
    """How many replies fit the schema."""
    return sum(_fits(result.text) for result in results)


def _fits(text: str) -> bool:
    try:
        return bool(Answer.model_validate_json(text))
    except ValidationError:
        return False


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for name in (MODEL, f"llamacpp:{MODEL}"):
        pull(name, default_models())
    here, llama = (open_llm(name, default_models()) for name in (MODEL, f"llamacpp:{MODEL}"))

    def by(llm: Any) -> Callable[[Sequence[Request]], int]:
        return lambda requests: sum(result.completion_tokens for result in llm.complete(requests))

    def one_by_one(requests: Sequence[Request]) -> int:
        return sum(by(llama)([request]) for request in requests)

    requests = prompts()
    rows = {
        "transformers, one by one": measured(plain_loop(1), requests[:ALONE]),
        "transformers, batches of 8": measured(plain_loop(8), requests),
        f"{MODEL}: in process, batches of 8": measured(by(here), requests),
        f"llamacpp:{MODEL}: one by one": measured(one_by_one, requests),
        f"llamacpp:{MODEL}: 8 slots": measured(by(llama), requests),
    }
    asked = structured(requests)
    in_words = [replace(request, schema=None) for request in asked]
    schema = {
        "asked_for": fitting(here.complete(in_words)),
        "enforced": fitting(here.complete(asked)),
        "enforced_by_llama.cpp": fitting(llama.complete(asked)),
        "of": len(asked),
    }
    corpus = {"name": PASSAGES.name, "prompts": PROMPTS, "sha256": record.hash_files([PASSAGES])}
    record.write_result(
        "generation",
        {"rows": rows, "json_that_fits": schema},
        ["llguidance", "torch", "transformers", "xllamacpp"],
        corpus,
    )
    base = rows["transformers, batches of 8"]["tokens_per_cpu_second"]["median"]
    figures = [
        (name, row["tokens_per_cpu_second"]["median"], row["tokens_per_second"]["median"]) for name, row in rows.items()
    ]
    record.print_table(
        "Tokens written", ["who", "a CPU second", "a second", "× batches"], [[*row, row[1] / base] for row in figures]
    )
    print(f"JSON that fits, of {len(asked)}: {schema}")


if __name__ == "__main__":
    main()
