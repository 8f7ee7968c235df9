"""A generator for few questions that are asked often: their keys and values are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from latent_memory.generator import Generator


class RepeatedQuestions(Generator):
    """A `Generator` that keeps what it has read up to the context, for each question that it was asked.

    A question of easy-VQA takes 0.3 MB in Qwen2.5-0.5B. Whoever asks many different questions takes a `Generator`.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        self._kept: dict[str, list[tuple[Tensor, Tensor]]] = {}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _run_questions(self, questions: Sequence[str]) -> tuple[Any, Tensor]:
        from transformers import DynamicCache

        lengths = [len(self.token_ids(question)) + len(self.middle) for question in questions]
        new = {q: n for q, n in zip(questions, lengths, strict=True) if q not in self._kept}
        if new:
            layers = super()._run_questions(list(new))[0].layers
            for row, (question, n) in enumerate(new.items()):
                own = [(layer.keys[row, :, -n:], layer.values[row, :, -n:]) for layer in layers]
                self._kept[question] = [(keys.clone(), values.clone()) for keys, values in own]
        pads = [max(lengths) - n for n in lengths]
        cache = DynamicCache()
        for number, shared in enumerate(self._prefix):
            sides: list[Tensor] = []
            for side, head in enumerate(shared):
                rows = [self._kept[question][number][side] for question in questions]
                padded = [F.pad(row, (0, 0, pad, 0)) for row, pad in zip(rows, pads, strict=True)]
                sides.append(torch.cat([head.expand(len(rows), -1, -1, -1), torch.stack(padded)], 2))
            cache.update(*sides, number)
        real = torch.tensor([[False] * pad + [True] * n for pad, n in zip(pads, lengths, strict=True)])
        return cache, F.pad(real, (len(self.head), 0), value=True)
