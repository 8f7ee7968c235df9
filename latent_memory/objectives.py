"""The losses that make a latent readable and findable.

Zheng et al. (Latent Memory, arXiv 2606.10572) sum three terms: 0.5 x reconstruction, 0.2 x contrastive and 1.0 x
distillation. A further one is optional here: the cross-entropy of the gold answer (theirs never sees an answer).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from latent_memory.reader import Read

RARELY = 1e-7
"""What a reader says with a smaller probability has no gradient: that of its logarithm would drown all others."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood of `targets` (N,) under `logits` (N, V).

    Serves both reconstruction (the targets are the evidence's own tokens, read from its latent) and gold answers:
    ``L = -1/N sum_n log p(t_n | z, q, t_<n)``. Reconstruction runs through the frozen generator itself, so that it
    trains the path that answers; the paper trains a separate decoder, which is thrown away.
    """
    return F.cross_entropy(logits, targets)


def distillation(student: Tensor, top_ids: Tensor, top_logprobs: Tensor) -> Tensor:
    """Forward KL(teacher || student) over the answer's positions, averaged over them.

    ``L = 1/N sum_n sum_v p_T(v | raw, q, t_<n) [log p_T(v | ...) - log p_S(v | z, q, t_<n)]`` (arXiv 2606.10572). The
    teacher is the same frozen generator reading the raw gold evidence. Its tail beyond the top k is one further
    class, which makes the sum a lower bound of the full KL and still zero only where both agree.

    Args:
        student: Logits on the N answer positions, (N, V).
        top_ids: The teacher's k most probable tokens, (N, k).
        top_logprobs: Their log-probabilities, (N, k).
    """
    logprobs = student.log_softmax(-1).gather(1, top_ids)
    p = top_logprobs.exp()
    rest_teacher = (1 - p.sum(1)).clamp(min=1e-6)
    rest_student = (1 - logprobs.exp().sum(1)).clamp(min=1e-6)
    kl = (p * (top_logprobs - logprobs)).sum(1) + rest_teacher * (rest_teacher.log() - rest_student.log())
    return kl.mean()


def pointing(pointed: Tensor, held: Tensor) -> Tensor:
    """Negative log of the share that is pointed at the slots where what is to be said begins, averaged.

    ``L = -1/N sum_n log( sum_{s in H_n} a_ns )``, over the N positions for which some slot is known to hold it (Wang
    and Jiang, "Machine Comprehension Using Match-LSTM and Answer Pointer", ICLR 2017, section 2.2).

    Args:
        pointed: Shares of the slots, (positions, S).
        held: 1 where a slot holds it, of the same shape; rows without any don't count.
    """
    known = held.any(-1)
    if not known.any():
        return pointed.sum() * 0
    return -((pointed * held).sum(-1)[known] + 1e-6).log().mean()


def spoken(own: Tensor, spoken: Tensor) -> Tensor:
    """Mean negative log-likelihood under a mixture of what a generator says and what a reader does.

    Args:
        own: Log of the generator's part of the probability of each target, (N,).
        spoken: The reader's part of it, (N,).
    """
    return -torch.logaddexp(own, spoken.clamp(min=RARELY).log()).mean()


def read_aloud(read: Read, logits: Tensor, columns: Tensor, said: Tensor, ends: Tensor) -> Tensor:
    """`spoken`, of what a reader makes of answers.

    Args:
        read: At the answers' N tokens.
        logits: The generator's, the reader's change already in them, (N, columns of the output head that are scored).
        columns: Those of the tokens, (N,).
        said: The probability that the reader says each of its own accord, (N,).
        ends: Which tokens end an answer, (N,).
    """
    own = logits.log_softmax(-1).gather(1, columns[:, None])[:, 0] + read.parts[:, 3]
    return spoken(own, said + ends.float() * read.parts[:, 2].exp())


def contrastive(queries: Tensor, evidence: Tensor, positive: Tensor, ignored: Tensor, temperature: float) -> Tensor:
    """Multi-positive InfoNCE, averaged over queries.

    ``L = -1/B sum_i log( sum_{j in P_i} exp(q_i.e_j / t) / sum_{j not in I_i} exp(q_i.e_j / t) )``
    (arXiv 2606.10572, t = 0.07).

    Args:
        queries: Unit vectors, (B, R).
        evidence: Unit vectors, (M, R).
        positive: Which evidence answers which query, bool (B, M); every row has one.
        ignored: False negatives (other evidence with the same text or answer), bool (B, M).
        temperature: t.
    """
    scores = (queries @ evidence.T / temperature).masked_fill(ignored & ~positive, float("-inf"))
    hits = scores.masked_fill(~positive, float("-inf"))
    return (torch.logsumexp(scores, 1) - torch.logsumexp(hits, 1)).mean()
