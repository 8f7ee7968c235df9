"""Questions about sentences, drafted by the generator itself: training data where nobody has asked anything.

A question and its short answer are written by a frozen instruction model from five examples, greedily. A draft counts
where it keeps the form, its answer stands in the sentence word for word and isn't given away by the question.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latent_memory.generator import Generator, Prompt, Reading

DRAFTING = Prompt(
    "Write a question about the sentence and its short answer, copied from the sentence.",
    (
        (
            "",
            "The Eiffel Tower was completed in 1889 and is 330 metres tall.",
            "When was the Eiffel Tower completed?\n1889",
        ),
        (
            "",
            "Insulin, which lowers blood sugar, is produced by beta cells of the pancreas.",
            "What does insulin lower?\nblood sugar",
        ),
        (
            "",
            "Frankenstein: In 1816 Mary Shelley began the novel while staying near Lake Geneva.",
            "Who wrote the novel Frankenstein?\nMary Shelley",
        ),
        (
            "",
            "The function returns a new list that contains all items from the iterable in ascending order.",
            "What order are the items of the new list in?\nascending order",
        ),
        (
            "",
            "The treaty was signed by France, Spain and Britain after three years of war.",
            "Which countries signed the treaty?\nFrance, Spain and Britain",
        ),
    ),
    user="{question}{context}",
)
LONGEST_ANSWER = 6
"""Words."""
BATCH = 64
MAX_TOKENS = 36


def draft(texts: Sequence[str], model: Any, tokenizer: Any, path: Path) -> None:
    """Writes one JSON line for each text, going on where an interrupted call stopped.

    A line holds `question`, `answer` and `evidence`; the first two are empty where the draft was no good.

    Args:
        texts: Sentences.
        model: An instruction model.
        tokenizer: Its tokenizer.
        path: JSON lines; lines that are there already are the first texts'.
    """
    done = path.read_bytes().count(b"\n") if path.exists() else 0
    if done >= len(texts):
        return
    writer = Generator(model, tokenizer, DRAFTING)
    with path.open("a", encoding="utf-8") as stream:
        for begin in range(done, len(texts), BATCH):
            part = texts[begin : begin + BATCH]
            written = writer.answer([Reading(text, None) for text in part], max_tokens=MAX_TOKENS)
            for text, drafted in zip(part, written, strict=True):
                question, answer = check_draft(text, drafted) or ("", "")
                row = {"question": question, "answer": answer, "evidence": text}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            stream.flush()


def check_draft(text: str, written: str) -> tuple[str, str] | None:
    """The question and the answer of a draft about `text`, or None where it is no good."""
    lines = [line.strip() for line in written.strip().split("\n")]
    if len(lines) != 2 or not lines[0].endswith("?"):
        return None
    question, answer = lines[0], lines[1].rstrip(".")
    good = answer and answer in text and answer.lower() not in question.lower()
    return (question, answer) if good and len(answer.split()) <= LONGEST_ANSWER else None
