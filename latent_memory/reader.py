"""Reads latents a second time, at the generator's output.

A model that answers from a text finds the answer with few of its attention heads, in its middle layers, which look from
the place where the answer begins to the words that it stands in ("retrieval heads": Wu et al., arXiv:2404.15574). What
such a head compares are the generator's state there and that of each word, and a word's state can be kept. So a latent
holds, for each of its words, a short key of its state, and the reader does what the head does: it points from the
generator's state at keys, and has the words that it points at spoken. It is to latents what the pointer of See et al.
(ACL 2017, arXiv:1704.04368) is to a source text. The generator's weights stay as they are.

Each next token of an answer is a mixture of four: a word that is pointed at, the word behind the ones that were just
said, the answer's end, and what the generator itself would say. Among several pieces of evidence, what question and
search say for each (`latent_memory.matching`) is added to what keys do.

Legend of shape suffixes: B readings, N positions of answers, S slots of all latents of a reading, K size of a key,
G hidden size of the generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from latent_memory.matching import Matching
from latent_memory.words import NO_WORD

WORD_BYTES = 3
"""Of a stored word: no vocabulary is larger."""
REMEMBERED = 4
"""Words that were said last, by which the reader knows where it is."""
SURE = 3.0
"""What each word in a row that was said is worth, in nats, for going on behind it."""


class ReaderConfig(BaseModel):
    """What a reader is made of.

    Attributes:
        size: Of what weighs the four parts of the mixture.
        dropout: In training. A reader that is given everything learns a few thousand answers by heart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=64, ge=4)
    dropout: float = Field(default=0.3, ge=0, lt=1)


@dataclass(frozen=True)
class Latents:
    """Latents of one or more pieces of evidence.

    Attributes:
        tokens: What the generator reads, one embedding each, (n, G).
        words: The words that the reader may point at, ids of the generator's tokens, (S,); `NO_WORD` where none is.
        keys: Their keys, (S, K).
        pieces: Which piece of evidence each word is from, counted in the order in which they were found, (S,).
    """

    tokens: Tensor
    words: Tensor
    keys: Tensor
    pieces: Tensor

    def __len__(self) -> int:
        """How many tokens of context they are."""
        return len(self.tokens)


class Thought(NamedTuple):
    """The generator's hidden states at positions of answers.

    Attributes:
        last: Of the last layer, (N, G).
        asking: Of the middle layer where it looks for answers, (N, G).
    """

    last: Tensor
    asking: Tensor


class Look(NamedTuple):
    """Readings.

    Attributes:
        words: Of the slots, (B, S).
        keys: Theirs, (B, S, K).
        likely: What the question says for each slot, (B, S).
        share: Of the question, what the piece of each slot has in the same words, (B, S).
    """

    words: Tensor
    keys: Tensor
    likely: Tensor
    share: Tensor


class Read(NamedTuple):
    """What a reader makes of positions of answers.

    Attributes:
        pointed: Shares of the slots that it points at, (N, S).
        follows: Shares of the slots that it would go on with, (N, S); zero where nothing goes on.
        parts: Logarithms of the parts of the mixture: pointing, going on, ending, and the generator's own, (N, 4).
        change: To the generator's last states, (N, G) in float32.
        words: Of the slots, (N, S).
    """

    pointed: Tensor
    follows: Tensor
    parts: Tensor
    change: Tensor
    words: Tensor

    def of_words(self, tokens: Tensor) -> Tensor:
        """The probability that the reader speaks of its own accord of one token for each position, (N,)."""
        same = (self.words == tokens[:, None]).float()
        shares = self.parts.exp()
        return shares[:, 0] * (self.pointed * same).sum(1) + shares[:, 1] * (self.follows * same).sum(1)


class Reader(nn.Module):  # type: ignore[misc]
    """What latents add to what the generator says.

    Args:
        hidden: G.
        key: K.
        config: Sizes.
    """

    def __init__(self, hidden: int, key: int, config: ReaderConfig) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, 2 * key)
        self.matching = Matching(hidden)
        self.state, self.next = nn.Linear(hidden, config.size), nn.Linear(hidden, config.size)
        self.signs = nn.Linear(5, config.size)
        self.gate = nn.Linear(config.size, 4)
        self.hint = nn.Linear(3 * key, hidden, bias=False)
        self.dropped = nn.Dropout(config.dropout)
        nn.init.zeros_(self.hint.weight)

    def look(self, contexts: Sequence[Latents], questions: Sequence[Sequence[int]], embedding: Tensor) -> Look:
        """Looks at readings.

        Args:
            contexts: Their latents.
            questions: Their questions, in the generator's tokens.
            embedding: The generator's input embeddings, (V, G).
        """
        words_BS = pad_sequence([context.words for context in contexts], batch_first=True, padding_value=NO_WORD)
        pieces_BS = pad_sequence([context.pieces for context in contexts], batch_first=True)
        asked = [torch.tensor(question, dtype=torch.long) for question in questions]
        asked_BQ = pad_sequence(asked, batch_first=True, padding_value=NO_WORD)
        keys_BSK = pad_sequence([context.keys.float() for context in contexts], batch_first=True)
        return Look(words_BS, keys_BSK, *self.matching(words_BS, pieces_BS, asked_BQ, embedding))

    def forward(self, thought: Thought, look: Look, rows_N: Tensor, said_NM: Tensor, embedding: Tensor) -> Read:
        """Reads for positions of answers.

        Args:
            thought: The generator's at these positions.
            look: At the readings.
            rows_N: Which reading each position belongs to.
            said_NM: The last M = `REMEMBERED` tokens in front of each position, the latest first; `NO_WORD` where
                there are fewer.
            embedding: The generator's input embeddings, (V, G).
        """
        words_NS, keys_NSK = look.words[rows_N], look.keys[rows_N]
        present_NS = words_NS != NO_WORD
        asking_N2K = self.query(self.dropped(normed(thought.asking))).unflatten(-1, (2, -1))
        scores_N2S = torch.einsum("nsk,nmk->nms", keys_NSK, asking_N2K) / math.sqrt(keys_NSK.shape[-1])
        likely_NS = scores_N2S[:, 0] + look.likely[rows_N]
        pointed_NS = likely_NS.masked_fill(~present_NS, -1e9).softmax(-1) * present_NS
        run_NS = said_in_a_row(words_NS, said_NM)
        goes_on_NS = (run_NS > 0) & present_NS
        follows_NS = (scores_N2S[:, 1] + SURE * run_NS).masked_fill(~goes_on_NS, -1e9).softmax(-1) * goes_on_NS
        asked_NK, share_N = asking_N2K[:, 0], (pointed_NS * look.share[rows_N]).sum(1)
        found_NK = torch.einsum("ns,nsk->nk", pointed_NS, keys_NSK) * asked_NK
        hint_NG = self.hint(torch.cat([found_NK, share_N[:, None] * asked_NK, asked_NK], 1))
        begins_N, longest_N = (said_NM[:, 0] == NO_WORD).float(), run_NS.amax(1)
        sure_N, goes_N = pointed_NS.amax(1), goes_on_NS.any(1)
        signs_N5 = torch.stack([begins_N, goes_N.float(), longest_N / REMEMBERED, sure_N, share_N], 1)
        next_NG = normed(embedding[words_NS.gather(1, follows_NS.argmax(1, keepdim=True))[:, 0].clamp(min=0)])
        known = self.state(self.dropped(normed(thought.last))) + self.signs(signs_N5)
        known = known + self.next(self.dropped(next_NG)) * goes_N[:, None]
        gates_N4 = self.gate(F.gelu(known))
        never_N = torch.zeros_like(goes_N)  # the generator can always speak
        impossible = torch.stack([~present_NS.any(1), ~goes_N, begins_N > 0, never_N], 1)
        parts_N4 = gates_N4.float().masked_fill(impossible, -1e9).log_softmax(-1)
        return Read(pointed_NS.float(), follows_NS.float(), parts_N4, hint_NG.float(), words_NS)


def normed(states: Tensor) -> Tensor:
    """States of mean zero and variance one."""
    return F.layer_norm(states.float(), states.shape[-1:])


def said_in_a_row(words_NS: Tensor, said_NM: Tensor) -> Tensor:
    """For each slot how many of the words in front of it are the last ones that were said, in a row, (N, S)."""
    rows_NS = torch.zeros_like(words_NS, dtype=torch.float32)
    still = torch.ones_like(words_NS, dtype=torch.bool)
    for back in range(1, min(said_NM.shape[1], words_NS.shape[1]) + 1):
        before = F.pad(words_NS, (back, 0), value=NO_WORD)[:, : words_NS.shape[1]]
        still = still & (before == said_NM[:, back - 1 : back]) & (before != NO_WORD)
        rows_NS = rows_NS + still
    return rows_NS


def mixed(read: Read, logits: Tensor, end: int) -> Tensor:
    """Log-probabilities of every next token, (N, V).

    Args:
        read: What the reader makes of the positions.
        logits: The generator's own, its change already in them, (N, V).
        end: The token that ends an answer.
    """
    shares = read.parts.exp()
    said = logits.float().softmax(-1) * shares[:, 3:]
    spoken = shares[:, :1] * read.pointed + shares[:, 1:2] * read.follows
    said = said.scatter_add(1, read.words.clamp(min=0), spoken)  # a slot without a word has no share
    said[:, end] += shares[:, 2]
    return said.clamp(min=1e-30).log()
