"""The words of a text, laid out over the slots of its latents.

A latent is one vector, and its numbers are `slots` groups of `size`. Words go to slots in their order, so that each
slot holds about as much of the text's salience as any other: a short sentence has a slot for nearly every word that
matters, a long one shares them. In a slot, the tokens' whitened embeddings are summed, each turned by its place in its
word (a cyclic shift, as in the permutation codes of holographic representations: Plate, IEEE Transactions on Neural
Networks 6(3), 1995; Sahlgren et al., CogSci 2008), so that `1774` is not `1747`. What the states of the compressor add
to a token is learned.

Legend of shape suffixes: B batch, T tokens, H hidden size of the compressor, S slots, W size of a slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TURNS = 8
"""Places in a word that are told apart; later ones count as the last of these."""
MOST_EMPHASIS = 3.0


class Piece(NamedTuple):
    """What a token is in a word: its beginning, a word of its own, or a bare blank in front of one."""

    begins: bool
    alone: bool
    blank: bool


class Words:
    """Tells how a tokenizer's tokens make up words."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._pieces: dict[int, Piece] = {}

    def layout(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """For each token its place in its word, at most `TURNS - 1`, and the number of its word in the text."""
        places: list[int] = []
        words: list[int] = []
        place, word, fresh = 0, -1, True
        for token in ids:
            piece = self._piece(token)
            if piece.begins or piece.alone or piece.blank or fresh:
                word, place = word + 1, 0
            places.append(min(place, TURNS - 1))
            words.append(word)
            fresh = piece.alone
            place += not piece.blank  # the word that a blank stands in front of begins in its place
        return places, words

    def written(self, ids: Sequence[int]) -> list[str]:
        """The words of a text, in small letters."""
        numbers = self.layout(ids)[1]
        rows: list[list[int]] = [[] for _ in range(numbers[-1] + 1)] if numbers else []
        for token, word in zip(ids, numbers, strict=True):
            rows[word].append(token)
        return [str(self.tokenizer.decode(row)).strip().lower() for row in rows]

    def _piece(self, token: int) -> Piece:
        if token not in self._pieces:
            text = str(self.tokenizer.decode([token])).strip()
            marked = str(self.tokenizer.convert_ids_to_tokens(token) or "")[:1] in self._blanks
            ideograph = bool(text) and "\u3040" <= text[0] <= "\u9fff"
            blank = not text
            alone = not blank and not any(c.isalnum() or c == "\N{REPLACEMENT CHARACTER}" for c in text)
            alone = alone or token in self._special
            self._pieces[token] = Piece(marked or ideograph, alone, blank)
        return self._pieces[token]

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(self.tokenizer.all_special_ids)

    @cached_property
    def _blanks(self) -> str:
        """What a token begins with that stands behind a blank, in the usual families of tokenizers."""
        return "\u0120\u2581 "


def turned(numbers: Tensor, places: Tensor, back: bool = False) -> Tensor:
    """Shifts (..., W) cyclically by each token's place in its word, (...); `back` undoes it."""
    size = numbers.shape[-1]
    step = max(1, size // TURNS)
    index = (torch.arange(size) + (step if back else -step) * places[..., None]) % size
    return numbers.gather(-1, index.expand_as(numbers))


def rotation(rows: int, columns: int) -> Tensor:
    """A fixed random matrix, (rows, columns), with orthogonal rows."""
    noise = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(noise, full_matrices=False)
    return left @ right


def whitening(table: Tensor) -> Tensor:
    """The zero-phase whitening of an embedding table (V, H): (H, H)."""
    variances, axes = torch.linalg.eigh(torch.cov(table.T))
    return axes / variances.clamp(min=1e-8).sqrt() @ axes.T


def inverse(symmetric: Tensor) -> Tensor:
    """The inverse of a symmetric positive matrix, kept finite where it has none."""
    values, axes = torch.linalg.eigh(symmetric)
    return axes / values.clamp(min=1e-8) @ axes.T


class Slots(nn.Module):  # type: ignore[misc]
    """Lays tokens out over slots.

    Args:
        hidden: H.
        slots: S, of all latents of a text together.
        size: W.
    """

    def __init__(self, hidden: int, slots: int, size: int) -> None:
        super().__init__()
        self.slots, self.size = slots, size
        self.lexical = nn.Linear(hidden, size)
        self.contextual = nn.Linear(hidden, size, bias=False)
        self.emphasis = nn.Linear(hidden, 1)
        self.later = nn.Parameter(torch.zeros(()))
        for parameter in (*self.contextual.parameters(), *self.emphasis.parameters()):
            nn.init.zeros_(parameter)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def start(self, table: Tensor) -> None:
        """Starts with whitened embeddings, turned at random and cut to W; states add nothing yet."""
        table = table.float()
        weight = rotation(self.size, table.shape[1]) @ whitening(table)
        self.lexical.weight.copy_(weight)
        self.lexical.bias.copy_(-(weight @ table.mean(0)))

    def spelled(self, embedded: Tensor) -> Tensor:
        """What embeddings (..., H) are in a slot: (..., W)."""
        return F.layer_norm(self.lexical(embedded.float()), (self.size,))

    def features(self, embedded: Tensor, states: Tensor) -> Tensor:
        """What tokens are where they stand, (..., W), from their embeddings and states (..., H)."""
        return self.spelled(embedded) + self.contextual(normed(states))

    def forward(
        self, embedded_BTH: Tensor, states_BTH: Tensor, weights_BT: Tensor, places_BT: Tensor, words_BT: Tensor
    ) -> Tensor:
        """The slots of texts, (B, S, W); zero where a text has nothing to put there.

        Args:
            embedded_BTH: Input embeddings.
            states_BTH: Hidden states of the compressor.
            weights_BT: Salience of each token; 0 at padding.
            places_BT: Place of each token in its word.
            words_BT: Number of each token's word in the text.
        """
        states_BTH = normed(states_BTH)
        tokens_BTW = turned(self.spelled(embedded_BTH), places_BT) + self.contextual(states_BTH)
        emphasis_BT = self.emphasis(states_BTH)[..., 0].clamp(-MOST_EMPHASIS, MOST_EMPHASIS).exp()
        emphasis_BT = emphasis_BT * torch.where(places_BT > 0, self.later.exp(), 1.0)
        at_BTS = F.one_hot(self.slot_of(weights_BT, words_BT), self.slots).float()
        at_BTS = at_BTS * (weights_BT * emphasis_BT)[..., None]
        size_BS = at_BTS.square().sum(1).clamp(min=1e-9).sqrt()
        return torch.einsum("bts,btw->bsw", at_BTS, tokens_BTW) / size_BS[..., None]

    def slot_of(self, weights_BT: Tensor, words_BT: Tensor) -> Tensor:
        """The slot of each token, that of the middle of its word in the text's salience."""
        rows, longest = len(words_BT), int(words_BT.max()) + 1
        of_words = torch.zeros(rows, longest).scatter_add_(1, words_BT, weights_BT)
        middles = of_words.cumsum(1) - of_words / 2
        share = middles / of_words.sum(1, keepdim=True).clamp(min=1e-9)
        return (share * self.slots).long().clamp(0, self.slots - 1).gather(1, words_BT)


def normed(states: Tensor) -> Tensor:
    """States of mean zero and variance one."""
    return F.layer_norm(states.float(), states.shape[-1:])
