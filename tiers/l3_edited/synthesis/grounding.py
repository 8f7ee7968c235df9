"""How far a text is grounded in its source, without a model: its numbers, its names, its words, and what it copies.

That the numbers and names of a faithful text are those of its source is Nan et al.'s precision (2021, arXiv:2102.09130,
section 2); the share of words that the source has is the coverage of Grusky et al. (2018, arXiv:1804.11283, section 4).
All of it is necessary and none sufficient: a text may say the contrary in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tiers.answer_words import numbers
from tiers.l1_filtered.word_hashes import WORD, Hashes, hash_runs, hash_words

RUN = 5
"""Words in a run that counts as copied, as in `near_duplicates`."""

_COMMAND = re.compile(r"\\[A-Za-z]+")
_CAPITAL = re.compile(r"[A-ZÀ-ÖØ-Þ][\w'’-]*\w")
_BEFORE = re.compile(r"[^\W_][,;)]? $|[a-z]['’]s $")
_STEM = 6
_COMMON = frozenset(
    """
    about above after again also although always among another because been before being below between both cannot
    could does doing done down during each either else even ever every from further have having here however into
    itself just like made make makes many means might more most much must need never next nothing once only onto other
    others ought over quite rather said same says several shall should since some such take than that their them then
    there therefore these they thing things this those though through thus together too toward under until upon used
    uses using very want well were what when where whereas whether which while will with within without would your
    """.split()
)


@dataclass(frozen=True)
class Share:
    """So many of so many, and the first of those that are meant."""

    part: int
    whole: int
    examples: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """The share, 0 of nothing."""
        return self.part / self.whole if self.whole else 0.0


def new_numbers(text: str, source: str) -> Share:
    """The numbers of `text` that `source` lacks; those of one digit, which number steps and points, don't count."""
    return _lacking([number for number in numbers(text) if len(number.lstrip("-")) > 1], set(numbers(source)))


def new_names(text: str, source: str, known: Iterable[str] = ()) -> Share:
    """The names of `text` that neither `source` nor `known` has: words with a capital amid a sentence.

    In languages that write other words with capitals too, German for one, these count.
    """
    words = {word for part in (source, *known) for word in _words(part)}
    plain = _COMMAND.sub(" ", text)
    found = [
        match[0]
        for match in _CAPITAL.finditer(plain)
        if _BEFORE.search(plain, max(0, match.start() - 4), match.start())
    ]
    names = [name for name in found if not set(_words(name)) <= {"i", "m", "ll", "ve", "d", "s"}]
    new = [name for name in names if not set(_words(re.sub(r"['’]s$", "", name))) <= words]
    return Share(len(new), len(names), tuple(dict.fromkeys(new))[:5])


def coverage(text: str, source: str) -> Share:
    """The content words of `text` whose beginnings `source` has; the examples are words that it lacks.

    Content words have four letters or more and aren't common English words; in scripts without spaces each character is
    a word. A final s doesn't count, and no letter behind the sixth, which lets most inflections be the same word.
    """
    known = set(map(_stem, _words(source)))
    found = [word for word in _words(text) if _is_content(word)]
    lacking = [word for word in found if _stem(word) not in known]
    return Share(len(found) - len(lacking), len(found), tuple(dict.fromkeys(lacking))[:5])


def runs(text: str) -> Hashes:
    """The distinct runs of `RUN` words of `text`, hashed; of a shorter text none."""
    return np.unique(hash_runs(hash_words(WORD.findall(text.lower())), RUN))


def repeated(text: str) -> Share:
    """The runs of words of `text` that stand earlier in it."""
    words = hash_words(WORD.findall(text.lower()))
    return Share(max(0, len(words) - RUN + 1) - len(runs(text)), max(0, len(words) - RUN + 1))


def copied(text: str, source: str) -> Share:
    """The runs of words of `text` that stand in `source`."""
    mine = runs(text)
    return Share(int(np.isin(mine, runs(source)).sum()), len(mine))


def similarity(one: Hashes, other: Hashes) -> float:
    """Jaccard similarity of two texts by their runs of words."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def count_words(text: str) -> int:
    """Words of `text`; in scripts without spaces each character is one."""
    return len(WORD.findall(text))


def _lacking(found: list[str], known: set[str]) -> Share:
    new = [each for each in found if each not in known]
    return Share(len(new), len(found), tuple(dict.fromkeys(new))[:5])


def _words(text: str) -> list[str]:
    return WORD.findall(_COMMAND.sub(" ", text).lower())


def _stem(word: str) -> str:
    return (word[:-1] if len(word) > 4 and word.endswith("s") else word)[:_STEM]


def _is_content(word: str) -> bool:
    return word.isalpha() and word not in _COMMON and (len(word) >= 4 or ord(word[0]) >= 0x0E00)
