"""Searches to compare with: by words (BM25) and by a sentence encoder's vectors."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

_WORD = re.compile(r"\w+")

ENCODER = "all-minilm-l6-v2"
MAX_TOKENS = 256
"""What all-MiniLM-L6-v2 was made for; its own settings cut longer text there."""


class BM25:
    """Ranks texts by the words that they share with a question.

    Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009): the sum over the question's
    words of ``idf tf (k1 + 1) / (tf + k1 (1 - b + b len / mean len))``, a word counting as often as it is in the
    question. `idf` is ``ln(1 + (N - n + 0.5) / (n + 0.5))``, which unlike theirs is never negative. Words are runs of
    letters and digits in lower case, neither stemmed nor stopped.

    Args:
        texts: What is searched.
        k1: How slowly further occurrences count less; they find 1.2 to 2 good.
        b: How far long texts are held back; they find 0.5 to 0.8 good.
    """

    def __init__(self, texts: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        words = [Counter(_WORD.findall(text.lower())) for text in texts]
        lengths = np.array([counts.total() for counts in words], float)
        held = k1 * (1 - b + b * lengths / max(lengths.mean(), 1.0)) if len(texts) else lengths
        postings: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for row, counts in enumerate(words):
            for word, count in counts.items():
                postings[word].append((row, count * (k1 + 1) / (count + held[row])))
        self._size = len(texts)
        self._postings: dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]] = {}
        for word, pairs in postings.items():
            idf = math.log(1 + (len(texts) - len(pairs) + 0.5) / (len(pairs) + 0.5))
            rows, weights = zip(*pairs, strict=True)
            self._postings[word] = (np.array(rows, np.int32), np.array(weights, np.float32) * np.float32(idf))

    @property
    def nbytes(self) -> int:
        """Bytes of the postings: a row's number and a weight for each word of each text."""
        return sum(rows.nbytes + weights.nbytes for rows, weights in self._postings.values())

    def scores(self, question: str) -> NDArray[np.float32]:
        """The score of each text, (N,)."""
        found = np.zeros(self._size, np.float32)
        for word in _WORD.findall(question.lower()):
            if word in self._postings:
                rows, weights = self._postings[word]
                found[rows] += weights
        return found


class SentenceEncoder:
    """Sentence vectors of a BERT: the mean over its tokens' last states, of unit length.

    Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019); by default with the weights of all-MiniLM-L6-v2
    (Wang et al., "MiniLM", NeurIPS 2020, tuned on a billion pairs by the sentence-transformers project).

    Raises:
        ModelError: when the model isn't there.
    """

    def __init__(self, models: Path, name: str = ENCODER) -> None:
        from tiers.llm.models import load_encoder

        model, self._tokenizer = load_encoder(name, models)
        self._model = model.to(torch.empty(0).device)

    @property
    def size(self) -> int:
        """Length of a vector."""
        return int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[str], batch: int = 32) -> NDArray[np.float32]:
        """Vectors of texts in their order, (N, size); batches are of similar length."""
        rows: list[list[int]] = (
            self._tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"] if texts else []
        )
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found = np.zeros((len(rows), self.size), np.float32)
        for begin in range(0, len(order), batch):
            part = order[begin : begin + batch]
            found[part] = self._run([rows[i] for i in part])
        return found

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _run(self, rows: list[list[int]]) -> Any:
        length = max(len(row) for row in rows)
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
        states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        return F.normalize((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=-1).cpu().numpy()
