"""Reads latents a second time, at the generator's output.

The frozen generator reads a latent as an input embedding, and whatever of it is to be spoken has to survive all of its
layers. The reader is the short way: it looks at the words of the question and at the slots of all latents together,
points at slots, and turns what they hold into a change of the generator's last hidden state. It is to latents what the
pointer of See et al. (ACL 2017, arXiv:1704.04368) is to a source text. The generator's weights stay as they are.

It starts with what a reader has to know, so that a few thousand questions teach it the rest: that a slot spells the
words it is the sum of, that an answer stands beside the words of its question and not among them, and that an answer
goes on where it was.

Legend of shape suffixes: B readings, N positions of answers, Q words of a question, S slots of all latents of a
reading, W size of a slot, D size of the reader, G hidden size of the generator, H that of the compressor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from latent_memory.slots import inverse, turned

SPOKEN = 6.0
"""Mean logit that a slot of one token adds to this token before training."""
NOISE = 0.15
"""Cosine below which a token and a slot count as strangers: about that of two random vectors."""
POSITIONS = 512
LONG_AGO = 100.0


class ReaderConfig(BaseModel):
    """What a reader is made of.

    Attributes:
        size: D.
        layers: Of the transformer over words and slots.
        heads: Of its attention.
        dropout: In training. A reader that is given everything learns a few thousand answers by heart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=256, ge=8)
    layers: int = Field(default=2, ge=0)
    heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)


@dataclass(frozen=True)
class Latents:
    """Latents of one or more pieces of evidence.

    Attributes:
        tokens: What the generator reads, one embedding each, (n, G).
        slots: What the reader reads, (S, W).
        piece: Slots of one piece of evidence.
    """

    tokens: Tensor
    slots: Tensor
    piece: int

    def __len__(self) -> int:
        """How many tokens of context they are."""
        return len(self.tokens)


class Asked(NamedTuple):
    """A question as a reader knows it.

    Attributes:
        words: Features of its tokens, (Q, W).
        states: The compressor's states at them, normalised, (Q, H).
        weights: Their salience, (Q,), which sums to one.
    """

    words: Tensor
    states: Tensor
    weights: Tensor


class Said(NamedTuple):
    """What stands in front of each position of an answer.

    Attributes:
        tokens: The generator's embeddings of the tokens before, (N, G); anything at the first position.
        places: Their places in their words, (N,).
        first: Whether a position is its answer's first, (N,).
    """

    tokens: Tensor
    places: Tensor
    first: Tensor


class Look(NamedTuple):
    """What a reader has seen of readings: slots (B, S, W), which of them hold something (B, S), what it made of them
    (B, S, D), how they match the question's words (B, S, 6), and of the question as a whole (B, D)."""

    slots: Tensor
    present: Tensor
    seen: Tensor
    matches: Tensor
    asked: Tensor


class Read(NamedTuple):
    """What a reader makes of positions of answers.

    Attributes:
        change: To the generator's states, (N, G) in float32.
        pointed: Shares of the slots that it points at for a word's beginning and for its rest, (N, 2, S). What is
            missing to one is pointed nowhere.
    """

    change: Tensor
    pointed: Tensor


class Reader(nn.Module):  # type: ignore[misc]
    """What latents add to the generator's last hidden states.

    Args:
        hidden: G.
        slot: W.
        asking: H, hidden size of the compressor.
        config: Sizes.
    """

    strength: Tensor

    def __init__(self, hidden: int, slot: int, asking: int, config: ReaderConfig) -> None:
        super().__init__()
        size, self.size = config.size, config.size
        self.word, self.slot, self.match = nn.Linear(slot, size), nn.Linear(slot, size), nn.Linear(6, size)
        self.meant = nn.Linear(asking, size, bias=False)
        self.kind = nn.Parameter(torch.randn(2, size) * 0.02)
        self.encoder: Any = None
        if config.layers:
            layer = nn.TransformerEncoderLayer(
                size, config.heads, 2 * size, config.dropout, "gelu", batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.spelled = nn.Linear(hidden, slot)  # what the generator's tokens are in a slot
        self.wanted = nn.Linear(hidden, slot)  # which words a state asks for
        self.state, self.before = nn.Linear(hidden, 2 * size), nn.Linear(slot, 2 * size)
        self.question, self.key = nn.Linear(size, 2 * size), nn.Linear(size, 2 * size)
        self.points = nn.Parameter(_first_points())
        self.nowhere = nn.Parameter(torch.zeros(2))
        self.gate = nn.Linear(4 * size, 2)
        self.speak, self.open = nn.Linear(slot, hidden, bias=False), nn.Linear(slot, hidden, bias=False)
        self.hint = nn.Linear(size, hidden)
        self.dropped = nn.Dropout(config.dropout)
        self.register_buffer("strength", torch.ones(()))
        self.register_buffer("positions", _positions(size), persistent=False)
        with torch.no_grad():
            self.slot.weight.copy_(self.word.weight)
            nn.init.normal_(self.wanted.weight, std=0.1 * hidden**-0.5)
            for parameter in (*self.hint.parameters(), self.gate.weight, self.meant.weight):
                nn.init.zeros_(parameter)
            nn.init.ones_(self.gate.bias)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def start(self, features: Tensor, embedding: Tensor, head: Tensor, opening: Tensor) -> None:
        """Teaches it to spell: which features the generator's tokens have in a slot, and to speak them.

        Args:
            features: Of each of the generator's tokens, (V, W).
            embedding: The generator's input embeddings, (V, G).
            head: The weights of its output head, (V, G).
            opening: For each token the one that says the same where an answer begins, without a blank in front, (V,).
        """
        embedding, spoken = embedding.float(), head.float() - head.float().mean(0)
        centred = embedding - embedding.mean(0)
        weight = features.T @ centred @ inverse(centred.T @ centred)
        self.spelled.weight.copy_(weight)
        self.spelled.bias.copy_(features.mean(0) - weight @ embedding.mean(0))
        some = slice(None, None, max(1, len(spoken) // 1000))
        for layer, said in ((self.speak, spoken), (self.open, spoken[opening])):
            weight = inverse(said.T @ said) @ (said.T @ features)
            own = (features[some] @ weight.T * said[some]).sum(1).mean()
            layer.weight.copy_(weight * (SPOKEN / own))

    def look(self, contexts: Sequence[Latents], asked: Sequence[Asked]) -> Look:
        """Looks at readings: the latents and the question of each."""
        piece = contexts[0].piece
        slots_BSW = pad_sequence([context.slots.float() for context in contexts], batch_first=True)
        words_BQW = pad_sequence([one.words.float() for one in asked], batch_first=True)
        meant_BQD = self.meant(pad_sequence([one.states.float() for one in asked], batch_first=True))
        weights_BQ = pad_sequence([one.weights for one in asked], batch_first=True)
        real_BQ = pad_sequence([torch.ones(len(one.words), dtype=torch.bool) for one in asked], batch_first=True)
        present_BS = slots_BSW.abs().sum(-1) > 0
        matches_BS6 = _matches(slots_BSW, words_BQW, weights_BQ, real_BQ, piece)
        words = words_BQW.shape[1]
        number = torch.arange(slots_BSW.shape[1])
        position = (number + number // piece * 8) % POSITIONS  # pieces of evidence stand apart
        question_BQD = self.word(words_BQW) + meant_BQD + self.kind[0] + self.positions[:words]
        slots_BSD = self.slot(slots_BSW) + self.kind[1] + self.positions[position] + self.match(matches_BS6)
        seen = torch.cat([question_BQD, slots_BSD], 1)
        if self.encoder is not None:
            unseen = ~torch.cat([real_BQ, present_BS], 1)
            seen = self.encoder(self.dropped(seen), src_key_padding_mask=unseen)
        asked_BD = (seen[:, :words] * real_BQ[..., None]).sum(1) / real_BQ.sum(1, keepdim=True)
        return Look(slots_BSW, present_BS, seen[:, words:], matches_BS6, asked_BD)

    def forward(self, states_NG: Tensor, look: Look, rows_N: Tensor, said: Said) -> Read:
        """Reads for positions of answers.

        Args:
            states_NG: The generator's last hidden states at the positions of answers.
            look: At the readings.
            rows_N: Which reading each position belongs to.
            said: What stands in front of each position.
        """
        begun_N1 = (~said.first)[:, None]
        states_NG = self.dropped(F.layer_norm(states_NG.float(), states_NG.shape[1:]))
        before_NW = F.layer_norm(self.spelled(said.tokens.float()), (self.speak.in_features,)) * begun_N1
        slots, seen, present = look.slots[rows_N], look.seen[rows_N], look.present[rows_N]
        query = self.before(before_NW) + self.question(look.asked)[rows_N] + self.state(states_NG)
        spoken = _alike(turned(before_NW, said.places)[:, None], slots)[:, 0]
        signs = torch.cat([look.matches[rows_N], torch.stack([spoken, _shifted(spoken, 1)], -1)], -1)
        keys = self.key(look.seen)[rows_N].unflatten(-1, (2, self.size))
        scores = torch.einsum("nskd,nkd->nks", keys, query.unflatten(-1, (2, self.size))) / math.sqrt(self.size)
        which = torch.stack([begun_N1[:, 0].long(), torch.full_like(rows_N, 2)], 1)
        scores = scores + torch.einsum("nsf,nkf->nks", signs, self.points[which])
        wanted = torch.einsum("nsw,nw->ns", slots, self.wanted(states_NG))
        scores = scores + torch.stack([wanted, torch.zeros_like(wanted)], 1)
        scores = scores.masked_fill(~present[:, None], -1e9)
        nowhere = self.nowhere.expand(len(scores), 2)[..., None]
        weights = torch.cat([scores, nowhere], -1).softmax(-1)[..., :-1]
        found = weights @ seen
        gates = F.softplus(self.gate(torch.cat([query, found.flatten(1)], -1)))
        begin_NW, go_on_NW = (weights @ slots).unbind(1)
        go_on_NW = turned(go_on_NW, said.places + 1, back=True) * begun_N1
        begin_NW, go_on_NW = gates[:, :1] * begin_NW, gates[:, 1:] * go_on_NW
        said_NG = torch.where(begun_N1, self.speak(begin_NW + go_on_NW), self.open(begin_NW))
        change = said_NG + self.hint(found[:, 0])
        return Read((self.strength * change).float(), weights.float())


def _first_points() -> Tensor:
    """Weights of the signs of a slot for: a word that begins an answer, a further word, the rest of a word; (3, 8).

    The signs are how a slot, the one before and the one behind match the question on the whole and in their best word,
    and how it and the one before match what was said last.
    """
    return torch.tensor([
        [-2.0, 1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0],
    ])  # fmt: skip


def _alike(words: Tensor, slots: Tensor) -> Tensor:
    """Cosines of words (…, Q, W) and slots (…, S, W) over that of strangers, (…, Q, S), three at most or so."""
    cosines = F.normalize(words, dim=-1) @ F.normalize(slots, dim=-1).transpose(-1, -2)
    return 3 * F.relu(cosines - NOISE)


def _matches(slots: Tensor, words: Tensor, weights: Tensor, real: Tensor, piece: int) -> Tensor:
    alike_BQS = _alike(words, slots) * real[..., None]
    whole, best = torch.einsum("bqs,bq->bs", alike_BQS, weights), alike_BQS.amax(1) / 3
    signs = [value for sign in (whole, best) for value in (sign, _shifted(sign, 1, piece), _shifted(sign, -1, piece))]
    return torch.stack(signs, -1)


def _shifted(values: Tensor, by: int, piece: int | None = None) -> Tensor:
    """Values (…, S) of the slot before (`by` 1) or behind (-1), zero at the edges of a piece of evidence."""
    apart = values.unflatten(-1, (-1, piece or values.shape[-1]))
    moved = F.pad(apart, (1, 0))[..., :-1] if by > 0 else F.pad(apart, (0, 1))[..., 1:]
    return moved.flatten(-2)


def _positions(size: int) -> Tensor:
    """Sines and cosines (Vaswani et al., arXiv:1706.03762, section 3.5), (POSITIONS, D), halved."""
    angles = torch.arange(POSITIONS)[:, None] * torch.exp(torch.arange(0, size, 2) * (-math.log(LONG_AGO) / size))
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :size] * 0.5
