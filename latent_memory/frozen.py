"""What frozen models say of a training corpus, worked out once and kept.

While neither the base nor its adapters are trained, a text's states stay what they are, and what the generator makes of
a question without evidence never changes. A training step on them costs the reader's own arithmetic only. Kept in
memory: about 70 KB for a sentence and 10 KB for a question, with states of 896 numbers in half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from latent_memory.compressor import Adapter, Compressor, States
from latent_memory.data import Question
from latent_memory.generator import Generator, Reading
from latent_memory.reader import Thought
from latent_memory.words import Slot, standing

TOP_K = 64
ROWS = {"cpu": 32, "cuda": 256}
"""What is put to a model at once."""


Key = tuple[str, str, str]
"""A question, its evidence and its answer."""


class Spoken(NamedTuple):
    """An answer as a reader is to speak it.

    Attributes:
        tokens: Of the generator, its end among them: a blank in front, as words in a text have.
        text: The piece of evidence that it stands in.
        begins: Slots of that piece's latents in which it begins; none where it stands nowhere.
    """

    tokens: tuple[int, ...]
    text: str
    begins: list[int]


class Words(NamedTuple):
    """A text as a compressor reads it.

    Attributes:
        ids: Its tokens.
        slots: The words of it that are kept.
    """

    ids: list[int]
    slots: list[Slot]


class ClosedBook:
    """Keeps what a generator makes of questions and their answers where it reads no evidence.

    Args:
        generator: Frozen; each reading is put to it once.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._kept: dict[Reading, Thought] = {}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def __call__(self, readings: Sequence[Reading]) -> Thought:
        """Its states at the answers' tokens, in order, whatever the readings' contexts: (positions, G) each."""
        asked = [Reading(reading.question, None, reading.answer) for reading in readings]
        new = [reading for reading in dict.fromkeys(asked) if reading not in self._kept]
        lengths = [len(self.generator.token_ids(reading.question)) + len(reading.answer) for reading in new]
        for rows in in_groups(new, lengths, ROWS[self.generator.embedding.device.type]):
            lengths = [len(reading.answer) for reading in rows]
            states = (states.split(lengths) for states in self.generator.states(rows))
            for reading, *own in zip(rows, *states, strict=True):
                self._kept[reading] = Thought(*own)  # views: a part is small, and all of it is kept
        return Thought(*map(torch.cat, zip(*(self._kept[reading] for reading in asked), strict=True)))


class Frozen:
    """Keeps what a compressor's base and a generator say.

    Args:
        compressor: Its adapters may not change while its states are asked for.
        generator: Frozen.
        head: The rows of its output head that training scores, (columns, G).
        answer_tokens: Longer answers are cut.
    """

    def __init__(self, compressor: Compressor, generator: Generator, head: Tensor, answer_tokens: int) -> None:
        self.compressor, self.generator, self.head, self.answer_tokens = compressor, generator, head, answer_tokens
        self._words: dict[str, Words] = {}
        self._states: dict[tuple[Adapter, str], Tensor] = {}
        self._closed = ClosedBook(generator)
        self._taught: dict[Key, tuple[Tensor, Tensor]] = {}
        self._answers: dict[Key, Spoken] = {}

    def words(self, texts: Sequence[str]) -> list[Words]:
        """What a compressor reads of each text."""
        new = [text for text in dict.fromkeys(texts) if text not in self._words]
        if new:
            ids = self.compressor.tokenize(new)
            self._words.update(zip(new, map(Words, ids, self.compressor.slots(ids)), strict=True))
        return [self._words[text] for text in texts]

    def spoken(self, question: Question) -> Spoken:
        """A question's first answer in the words that its evidence's latent holds it in, if it does."""
        key = _key(question)
        if key not in self._answers:
            each = (self._spoken(text, question.answers[0]) for text in question.evidence)
            found = next((spoken for spoken in each if spoken.begins), None)
            self._answers[key] = found or self._spoken(question.evidence[0], question.answers[0])
        return self._answers[key]

    def _spoken(self, text: str, answer: str) -> Spoken:
        end, (own,) = self.generator.tokenizer.eos_token_id, self.words([text])
        every = self.compressor.spelling.slots(own.ids)
        words = [slot.word for slot in every]
        kept = {slot: number for number, slot in enumerate(own.slots)}
        runs = [
            [kept[every[n]] for n in run if every[n] in kept]
            for run in standing(words, answer, self.generator.tokenizer)
        ]
        runs = [run for run in runs if run]
        held = [every[n].word for n in range(len(every)) if kept.get(every[n]) in runs[0]] if runs else []
        tokens = (*held, end) if held else self.generator.answer_ids(answer, blank=True)
        return Spoken(tokens[: self.answer_tokens], text, [run[0] for run in runs])

    def answer(self, question: Question) -> tuple[int, ...]:
        """The tokens of a question's first answer that are scored."""
        return self.spoken(question).tokens

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def states(self, texts: Sequence[str], adapter: Adapter) -> States:
        """The base's states of texts."""
        new = [text for text in dict.fromkeys(texts) if (adapter, text) not in self._states]
        lengths = [len(words.ids) for words in self.words(new)]
        for part in in_groups(new, lengths, ROWS[self.generator.embedding.device.type]):
            words = self.words(part)
            run = self.compressor.states([own.ids for own in words], adapter, slots=[own.slots for own in words])
            whole = torch.cat([run.states, run.memory[:, None]], 1).to(torch.bfloat16)
            for text, own, kept in zip(part, words, whole, strict=True):
                self._states[adapter, text] = kept[-len(own.ids) - 1 :].clone()
        words = self.words(texts)
        ids = [own.ids for own in words]
        longest = max(map(len, ids))
        embedding = self.compressor.base.get_input_embeddings().weight
        embedded = [F.pad(embedding[torch.tensor(row)], (0, 0, longest - len(row), 0)) for row in ids]
        states = [self._states[adapter, text].float() for text in texts]
        padded = [F.pad(own, (0, 0, longest + 1 - len(own), 0)) for own in states]
        return self.compressor.laid_out(ids, torch.stack(embedded), torch.stack(padded), [own.slots for own in words])

    def closed_book(self, questions: Sequence[Question]) -> Thought:
        """The generator's states at the answers' tokens, in order, where it reads no evidence: (positions, G) each."""
        asked = [Reading(question.text, None, self.answer(question)) for question in questions]
        thought: Thought = self._closed(asked)
        return thought

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def taught(self, questions: Sequence[Question]) -> tuple[Tensor, Tensor]:
        """The `TOP_K` likeliest columns of `head`, and their log-probabilities, at the answers' tokens, in order, where
        the generator reads the evidence as text: (positions, k) each."""
        keys = [_key(question) for question in questions]
        new = {key: q for key, q in zip(keys, questions, strict=True) if key not in self._taught}
        evidence = [len(self.generator.token_ids(key[1])) for key in new]
        for part in in_groups(list(new), evidence, ROWS[self.generator.embedding.device.type]):
            readings = [Reading(key[0], self.generator.embed(key[1]), self.answer(new[key])) for key in part]
            logits = self.generator.logits(self.generator.states(readings).last, self.head)
            top = logits.log_softmax(-1).topk(min(TOP_K, len(self.head)))
            lengths = [len(reading.answer) for reading in readings]
            split = zip(part, top.indices.split(lengths), top.values.split(lengths), strict=True)
            self._taught.update({key: (ids.clone(), values.clone()) for key, ids, values in split})
        found = [self._taught[key] for key in keys]
        return torch.cat([ids for ids, _ in found]), torch.cat([values for _, values in found])


def _key(question: Question) -> Key:
    return question.text, question.evidence[0], question.answers[0]


def in_groups(keys: Sequence[Any], lengths: Sequence[int], rows: int) -> list[list[Any]]:
    """Keys in groups of similar length, so that little is padded."""
    order = sorted(range(len(keys)), key=lengths.__getitem__)
    return [[keys[at] for at in order[begin : begin + rows]] for begin in range(0, len(order), rows)]
