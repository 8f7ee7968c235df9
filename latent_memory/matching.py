"""How well the words that latents hold fit those of a question, and how early their evidence was found.

A reader points from one state of the generator, which says what is asked for. This adds what the question's own words
say: an answer stands near words that the question has, in the piece of evidence that has most of them, and rather in
one that a search found first. That a word of the text is in the question is the simplest and one of the strongest signs
of an answer (Chen et al., "Reading Wikipedia to Answer Open-Domain Questions", ACL 2017, section 3.2: exact match and
aligned question embedding).

Legend of shape suffixes: B readings, Q words of questions, S slots of all latents of a reading, P pieces of evidence,
G hidden size of the generator, F = 2 signs: of equal and of similar words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latent_memory.words import NO_WORD

AROUND = 7
"""Slots on either side of one whose words count for it."""
GAIN = 10.0
"""What a parameter is worth, in nats: the optimiser moves all by as much, and these few have far to go."""
WEIGHT = 10.0
"""Of all words of a question together, however many they are."""


class Matching(nn.Module):  # type: ignore[misc]
    """What question and search say for each slot, in nats for pointing at it.

    Args:
        hidden: G.
    """

    centre: Tensor

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(hidden))
        self.weigh = nn.Linear(hidden, 1)
        self.around = nn.Parameter(torch.zeros(2, 2 * AROUND + 1))
        self.piece = nn.Parameter(torch.zeros(2))
        self.rank = nn.Parameter(torch.zeros(()))
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def start(self, embedding: Tensor, rarity: Tensor) -> None:
        """Starts what a question's words weigh as the linear function of their embeddings that is nearest to `rarity`.

        Frequent words count more, by the root of how many texts have them, and words that no text has do not count.

        Args:
            embedding: The generator's input embeddings, (V, G).
            rarity: Logarithms of inverse document frequencies, which are logarithms themselves, (V,).
        """
        self.centre.copy_(embedding.float().mean(0))
        seen = rarity < rarity.max()
        table, rarity = self._centred(embedding[seen]), rarity[seen]
        often = (-rarity.exp() / 2).exp()[:, None]
        mean = (often[:, 0] * rarity).sum() / often.sum()
        square = table.T @ (often * table) + 1e-3 * torch.eye(table.shape[1])
        self.weigh.weight.copy_(torch.linalg.solve(square, (often * table).T @ (rarity - mean))[None])
        self.weigh.bias.copy_(mean)

    def forward(
        self, words_BS: Tensor, pieces_BS: Tensor, asked_BQ: Tensor, embedding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """For each slot how much speaks for it, and the share of the question that its piece has: (B, S) each.

        Args:
            words_BS: Words of slots; `NO_WORD` where there is none.
            pieces_BS: Which piece of evidence each slot belongs to, counted in the order in which they were found.
            asked_BQ: Words of the questions; `NO_WORD` behind the last.
            embedding: The generator's input embeddings, (V, G).
        """
        present_BS, asked = words_BS != NO_WORD, (asked_BQ != NO_WORD).float()
        question_BQG = self._centred(embedding[asked_BQ.clamp(min=0)])
        weights_BQ = self.weigh(question_BQG)[..., 0].float().exp() * asked
        weights_BQ = WEIGHT * weights_BQ / weights_BQ.sum(1, keepdim=True).clamp(min=1e-6)
        similar_BQS = torch.einsum("bqg,bsg->bqs", question_BQG, self._centred(embedding[words_BS.clamp(min=0)]))
        equal_BQS = (asked_BQ[:, :, None] == words_BS[:, None]).float()
        fit_BQSF = torch.stack([equal_BQS, similar_BQS.float().clamp(min=0)], -1)
        fit_BQSF = fit_BQSF * present_BS[:, None, :, None] * weights_BQ[:, :, None, None]
        near_BS = self._near(fit_BQSF.amax(1), pieces_BS)
        whole_BSF = self._whole(fit_BQSF, pieces_BS)
        late_BS = (1.0 + pieces_BS).log()
        return GAIN * (near_BS + whole_BSF @ self.piece - self.rank * late_BS), whole_BSF[..., 0] / WEIGHT

    def _centred(self, embeddings: Tensor) -> Tensor:
        return F.normalize(embeddings.float() - self.centre, dim=-1)

    def _near(self, best_BSF: Tensor, pieces_BS: Tensor) -> Tensor:
        """What speaks for a slot in the words around it, of its own piece."""
        width = 2 * AROUND + 1
        around_BSFW = F.pad(best_BSF, (0, 0, AROUND, AROUND)).unfold(1, width, 1)
        same_BSW = F.pad(pieces_BS, (AROUND, AROUND), value=-1).unfold(1, width, 1) == pieces_BS[..., None]
        return torch.einsum("bsfw,fw->bs", around_BSFW * same_BSW[:, :, None], self.around)

    def _whole(self, fit_BQSF: Tensor, pieces_BS: Tensor) -> Tensor:
        """How much of the question each slot's whole piece has, each word where it fits best, (B, S, F)."""
        rows, asked, _, signs = fit_BQSF.shape
        index = pieces_BS[:, None, :, None].expand_as(fit_BQSF)
        empty = fit_BQSF.new_zeros(rows, asked, int(pieces_BS.max()) + 1, signs)
        found_BPF = empty.scatter_reduce(2, index, fit_BQSF, "amax").sum(1)
        return found_BPF.gather(1, pieces_BS[..., None].expand(-1, -1, signs))
