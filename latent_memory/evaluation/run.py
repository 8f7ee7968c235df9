"""Runs methods over questions: scores with intervals, differences, tokens, seconds and bytes, and every answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from latent_memory.data import Question
from latent_memory.evaluation.answers import BATCH, answer_all, answer_loss
from latent_memory.evaluation.bench import Bench, Corpus, Search
from latent_memory.evaluation.methods import METHODS, Method
from latent_memory.evaluation.metrics import bootstrap, holds_answer, recall
from latent_memory.generator import Generator, Reading
from latent_memory.repeated_questions import RepeatedQuestions
from tiers.errors import ModelError, SourceError

SCORED = ("closed-book", "gold-raw", "latents", "gold-latents", "gold-latents-unread", "shuffled-latents", "xrag")
"""Methods whose loss of the gold answer is measured too: what they let the generator read is short."""
DEPTHS = (1, 2, 5, 10)
TIMED = 3
"""Questions that are asked one at a time, for the clock."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        summary: Figures of each method, differences, and how well each search found the gold evidence.
        answers: One for each method and question, with its scores and what was read.
    """

    summary: dict[str, Any]
    answers: list[dict[str, Any]]

    def of(self, method: str) -> list[dict[str, Any]]:
        """A method's answers, in the order of the questions."""
        return [answer for answer in self.answers if answer["method"] == method]


def possible(questions: Sequence[Question], projector: bool) -> tuple[list[str], dict[str, str]]:
    """The methods that these questions allow, and why the others are left out."""
    missing: dict[str, str] = {}
    for name, method in METHODS.items():
        if method.needs and any(not getattr(question, method.needs) for question in questions):
            missing[name] = f"the questions come without {_NEEDED[method.needs]}"
        elif name == "xrag" and not projector:
            missing[name] = "no trained projector is given"
    return [name for name in METHODS if name not in missing], missing


_NEEDED = {"evidence": "gold evidence", "pool": "passages of their own"}


def check_methods(
    names: Sequence[str], questions: Sequence[Question], projector: bool, against: str | None = None
) -> None:
    """Refuses what can't be run.

    Args:
        names: Methods.
        questions: That they answer.
        projector: Whether there is one for xRAG.
        against: The method to compare with.

    Raises:
        SourceError: when there are no questions, or they lack what a method needs.
        ModelError: when there is no such method, or one lacks its model.
    """
    if not questions:
        raise SourceError("there is no question to ask", where="evaluation")
    _, missing = possible(questions, projector)
    for name in names:
        if name not in METHODS:
            raise ModelError("there is no method of this name", got=name, expected=", ".join(METHODS))
        if name in missing:
            kind = ModelError if name == "xrag" else SourceError
            raise kind("this method can't be run", where=name, got=missing[name])
    if against is not None and against not in names:
        raise ModelError(
            "the method to compare with isn't among those that run", got=against, expected=", ".join(names)
        )


def evaluate(
    questions: Sequence[Question],
    corpus: Corpus,
    methods: Sequence[str],
    k: int = 3,
    against: str | None = None,
    timed: int = TIMED,
    tell: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Answers every question by every method, with the same generator and from the same evidence.

    Args:
        questions: With answers, and what the methods need.
        corpus: What is searched.
        methods: Names in `METHODS`.
        k: Pieces of evidence that searching methods read.
        against: The method that others are compared with, question by question; the first by default.
        timed: Questions that are asked one at a time, for the clock.
        tell: Is told how far it is.

    Raises:
        SourceError: when the questions lack what a method needs.
        ModelError: when a method isn't known or lacks its model.
    """
    check_methods(methods, questions, corpus.models.projector is not None, against)
    base = against or methods[0]
    bench = Bench(corpus, questions, k)
    rows = _answer(bench, methods, tell)
    figures = {name: _figures(rows[name], corpus, METHODS[name]) for name in methods}
    for name in methods:
        figures[name]["seconds"] = _seconds(bench, METHODS[name], timed)
    if "full-context" in methods:
        figures["full-context"]["cut"] = len(bench.cut)
    summary = {
        "questions": len(questions),
        "corpus": corpus.searched,
        "k": k,
        "generator_limit": int(bench.generator.model.config.max_position_embeddings),
        "methods": figures,
        "against": base,
        "differences": {name: difference(rows[name], rows[base]) for name in methods if name != base},
        "retrieval": {
            s: _retrieval(bench, s) for s in ("bm25", "dense", "latent", "hybrid") if s in _searches(methods)
        },
    }
    return Evaluation(summary, [row for name in methods for row in rows[name]])


def _searches(methods: Sequence[str]) -> list[Search]:
    return list(dict.fromkeys(search for name in methods if (search := METHODS[name].search)))


def _answer(bench: Bench, methods: Sequence[str], tell: Callable[[str], None]) -> dict[str, list[dict[str, Any]]]:
    """A row for each method and question, in the order of the questions; each question is run once for all methods."""
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in methods}
    order = sorted(range(len(bench.questions)), key=lambda i: len(bench.generator.token_ids(bench.questions[i].text)))
    for begin in range(0, len(order), BATCH):
        part = order[begin : begin + BATCH]
        generator = RepeatedQuestions(bench.generator)
        for name in methods:
            tell(f"{begin + len(part)} of {len(order)} questions: {name}")
            found[name].update(zip(part, _answer_part(bench, generator, name, part), strict=True))
    return {name: [rows[at] for at in range(len(order))] for name, rows in found.items()}


def _answer_part(bench: Bench, generator: Generator, name: str, part: list[int]) -> list[dict[str, Any]]:
    method, questions = METHODS[name], [bench.questions[at] for at in part]
    contexts = [method.context(bench, at) for at in part]
    reader = bench.corpus.models.compressor.reader if method.reads else None
    run = answer_all(generator, questions, contexts, reader)
    losses: list[float | None] = [None] * len(part)
    if name in SCORED:
        losses = list(answer_loss(generator, questions, contexts, reader))
    texts = bench.corpus.texts
    return [
        {
            "method": name,
            "question": question.text,
            "accepted": list(question.answers),
            "answer": run.answers[i],
            "f1": run.f1[i],
            "exact": run.exact[i],
            "answer_loss": losses[i],
            "context_tokens": run.context_tokens[i],
            "prompt_tokens": generator.prompt_tokens(Reading(question.text, contexts[i])),
            "found": [texts[row] for row in bench.found(method.search, at)] if method.search else None,
        }
        for i, (at, question) in enumerate(zip(part, questions, strict=True))
    ]


def _figures(rows: Sequence[dict[str, Any]], corpus: Corpus, method: Method) -> dict[str, Any]:
    scored = rows[0]["answer_loss"] is not None
    return {
        **{name: interval([row[name] for row in rows]) for name in ("f1", "exact")},
        "answer_loss": interval([row["answer_loss"] for row in rows]) if scored else None,
        "context_tokens": fmean(row["context_tokens"] for row in rows),
        "prompt_tokens": fmean(row["prompt_tokens"] for row in rows),
        "bytes_per_evidence": sum(corpus.bytes_of(kept) for kept in method.keeps),
    }


def difference(rows: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Paired over questions, with bootstrap intervals; of the loss where both have one."""
    names = ["f1", "exact"]
    if rows[0]["answer_loss"] is not None and base[0]["answer_loss"] is not None:
        names.append("answer_loss")
    return {name: interval([a[name] - b[name] for a, b in zip(rows, base, strict=True)]) for name in names}


def _seconds(bench: Bench, method: Method, timed: int) -> dict[str, float | None]:
    """What a method takes, by the wall clock: once for a piece of evidence, and at the median for a question.

    Questions are asked one at a time. Retrieval is all that makes the context: the question's vector, the search, and
    reading what is kept. None of the time that evidence took stands for a memory that was there already.
    """
    retrieve, answer = [], []
    for question in bench.questions[:timed]:
        started = time.perf_counter()
        alone = Bench(bench.corpus, [question], bench.k)
        context = method.context(alone, 0)
        reader = bench.corpus.models.compressor.reader if method.reads else None
        retrieved = time.perf_counter()
        bench.generator.answer([Reading(question.text, context)], reader)
        retrieve.append(retrieved - started)
        answer.append(time.perf_counter() - retrieved)
    made = [bench.corpus.seconds.get(name) for name in method.made]
    return {
        "compress_per_evidence": None if None in made else sum(s for s in made if s is not None),
        "retrieve": median(retrieve) if retrieve else None,
        "answer": median(answer) if answer else None,
    }


def _retrieval(bench: Bench, search: Search) -> dict[str, Any]:
    """Recall of the gold evidence in the whole corpus and among a question's own passages; None without gold evidence.

    `recall` is the mean share of the gold evidence that is found, `any` how often some of it is, `answer` how often an
    accepted answer stands in what is found.
    """
    numbers = range(len(bench.questions))
    texts, accepted = bench.corpus.texts, [q.answers for q in bench.questions]
    every = [bench.ranked(search, at) for at in numbers]
    result: dict[str, Any] = {
        "corpus": {f"answer@{n}": fmean(holds_answer([texts[r] for r in every[at][:n]], accepted[at]) for at in numbers)
                   for n in DEPTHS}
    }  # fmt: skip
    if all(bench.own):
        result["corpus"] |= _recall(every, bench.own)
        if all(bench.near) and bench.corpus.searched == len(texts):
            own = [bench.ranked(search, at, bench.near[at]) for at in numbers]
            result["own"] = {"pool": fmean(map(len, bench.near)), **_recall(own, bench.own)}
    return result


def _recall(found: Sequence[Sequence[int]], gold: Sequence[Sequence[int]]) -> dict[str, float]:
    shares = {n: [recall(f[:n], g) for f, g in zip(found, gold, strict=True)] for n in DEPTHS}
    return {
        **{f"recall@{n}": fmean(values) for n, values in shares.items()},
        **{f"any@{n}": fmean(float(value > 0) for value in values) for n, values in shares.items()},
    }


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean and 95 % bootstrap interval, as a dictionary."""
    return asdict(bootstrap([float(value) for value in np.asarray(values, float)]))
