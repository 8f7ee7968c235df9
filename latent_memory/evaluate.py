"""Answers from contexts and their scores, as training looks at them; `latent_memory.evaluation` has all the rest."""

from latent_memory.evaluation.answers import Run, answer_all, answer_loss
from latent_memory.evaluation.metrics import Interval, bootstrap, exact_match, normalise, token_f1

__all__ = ["Interval", "Run", "answer_all", "answer_loss", "bootstrap", "exact_match", "normalise", "token_f1"]
