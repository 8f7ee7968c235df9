"""Reads latents a second time, at the generator's output.

The frozen generator reads a latent as an input embedding, and whatever of it is to be spoken has to survive all of its
layers. The reader is the short way: from the generator's last hidden state, which knows what the question asks for and
what has been said, and from the latents, it makes a change to that state. It is to a latent what the pointer of See et
al. (ACL 2017, arXiv:1704.04368) is to a source text. The generator's weights stay as they are.

Legend of shape suffixes: N positions, K latents, G hidden size of the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

START = 2.0
"""Standard deviation of the logits that an untrained reader adds."""
DROPOUT = 0.15
"""Of what a reader is given in training: without it, it learns a few thousand answers by heart."""
TAKEN_OFF = 0.5
"""How much of a question's words an untrained reader takes off."""


class Reader(nn.Module):  # type: ignore[misc]
    """What latents add to a hidden state: ``s out(silu(gate h) * (value z + asked q))``, over K latents by attention.

    `q` is the question's own latent: an answer rarely repeats the question, so that its words are taken off at first.
    `s` is the reader's strength, 1 in training.

    Args:
        hidden: G.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden, bias=False)
        self.asked = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, 1)
        self.register_buffer("strength", torch.ones(()))
        with torch.no_grad():
            nn.init.normal_(self.gate.weight, std=0.2 * hidden**-0.5)
            self.gate.bias.fill_(1.0)
            nn.init.eye_(self.value.weight)
            self.asked.weight.copy_(torch.eye(hidden) * -TAKEN_OFF)
            nn.init.zeros_(self.key.weight)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def start(self, embedding: Tensor, head: Tensor) -> None:
        """Starts as a bag of words: a latent that is a sum of embeddings makes the words in it likelier.

        Whitening on both sides tells summed words apart; where both tables are one it is the inverse covariance.

        Args:
            embedding: The generator's input embeddings, (V, G).
            head: The weights of its output head, (V, G).
        """
        table, spoken = (side.float() - side.float().mean(0) for side in (embedding, head))
        inverse = _inverse(spoken.T @ spoken) @ (spoken.T @ table) @ _inverse(table.T @ table)
        some = slice(None, None, max(1, len(table) // 1000))
        sample = F.normalize(embedding[some].float(), dim=-1) * table.shape[1] ** 0.5
        spread = (sample @ inverse.T @ spoken[some].T).std()
        self.out.weight.copy_(inverse * (START / spread / F.silu(torch.tensor(1.0))))

    def forward(
        self, states_NG: Tensor, contexts: Sequence[Tensor | None], questions_NG: Tensor | None = None
    ) -> Tensor:
        """The change to each state, (N, G) in float32; zero where there is no latent.

        Args:
            states_NG: The generator's last hidden states.
            contexts: For each of them the latents that its row reads, (K, G).
            questions_NG: Latents of the questions; none where nothing in particular is asked.
        """
        states_NG = self._dropped(F.layer_norm(states_NG.float(), states_NG.shape[1:]))
        empty = states_NG.new_zeros(0, states_NG.shape[1])
        rows: list[Any] = [empty if latents is None else latents.float() for latents in contexts]
        if not any(len(row) for row in rows):
            return torch.zeros_like(states_NG)
        latents_NKG = pad_sequence(rows, batch_first=True)
        real_NK = torch.arange(latents_NKG.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
        held_NKG = self.value(self._dropped(_unit(latents_NKG)))
        if questions_NG is not None:
            held_NKG = held_NKG + self.asked(_unit(questions_NG.float()))[:, None]
        read_NKG = F.silu(self.gate(states_NG))[:, None] * held_NKG
        scores_NK = self.key(read_NKG)[..., 0].masked_fill(~real_NK, -1e9)
        read_NG = (scores_NK.softmax(-1)[..., None] * read_NKG).sum(1)
        return self.strength * self.out(read_NG) * real_NK.any(1, keepdim=True)

    def _dropped(self, numbers: Tensor) -> Tensor:
        return F.dropout(numbers, DROPOUT, self.training)


def _unit(latents: Tensor) -> Tensor:
    """Latents at one size, 1 for each of their numbers."""
    return F.normalize(latents, dim=-1) * latents.shape[-1] ** 0.5


def _inverse(symmetric: Tensor) -> Tensor:
    values, axes = torch.linalg.eigh(symmetric)
    return axes / values.clamp(min=1e-8) @ axes.T
