"""Which lines belong to the page and not to its text: menus, buttons, page numbers, notices, share bars.

Phrases and names for seven languages are in `boilerplate.yaml`; a line in any of them is known on any page. Everything
here reads case-folded lines. Where a length matters, it is in words, two characters of Chinese or Japanese being one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from tiers.l1_filtered.boilerplate_patterns import (
    CLOCK,
    DATE_TOKEN,
    DATE_WORDS,
    POSTED,
    YEAR,
    Pattern,
    Reason,
    patterns,
    phrase_data,
)


class Mark(NamedTuple):
    """What a line was taken for; one that isn't `sure` might be a heading, and counts beside others alone."""

    rule: Reason
    sure: bool


_EDGES = " \t\u3000•◦▪‣·*–—-|»«›‹>→←↑↓▸►▶◀▾▼…:：.!！?？¿+=#()（）[]【】{}<,、。✕×✓"
_COUNT = re.compile(
    r"(?P<listed>[^0-9()]{2,60}) ?[(（][0-9][0-9,.]{0,9}[)）]?|[0-9][0-9,.]{0,9}k? ?(?P<name>[^\W\d]{1,16})"
)
_COUNTED = frozenset(
    "shares comments likes kommentare commentaires comentarios комментариев комментария 评论 コメント".split()
)
_SEPARATORS = re.compile(r"\s*[|•·»›>→/｜]\s*| {3,}|\t")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_LONGEST_TIMESTAMP = 60
_LONGEST_PHRASE, _LONGEST_LINE = 120, 500
_CHARACTERS = 10  # Of a word, with the space behind it, at most on average.
_SHARING_FILLERS = frozenset("on via auf this and save email print comments link copy it more us sur en в на".split())


def length(line: str) -> int:
    """Words of a line; two characters of a script without spaces are one."""
    return len(line.split()) + len(_UNSPACED.findall(line)) // 2


def mark_line(line: str, likely: tuple[Pattern, ...]) -> Mark | None:
    """What a case-folded line is, if it's no text."""
    phrase = _mark_phrase(line) if len(line) <= _LONGEST_PHRASE else None
    if phrase:
        return phrase
    if len(line) <= _LONGEST_LINE:
        for rule, longest, _, pattern in likely:
            if len(line) <= _CHARACTERS * longest and pattern.search(line) and length(line) <= longest:
                return Mark(rule, True)
    return None


@lru_cache(maxsize=1 << 16)  # Menus recur on the pages of a site.
def _mark_phrase(line: str) -> Mark | None:
    return (
        _phrases().get(_key(line))
        or _counted(line)
        or _breadcrumbs(line)
        or _bar(line)
        or _share_bar(line)
        or _timestamp(line)
    )


def patterns_for(text: str) -> tuple[Pattern, ...]:
    """The patterns that may match a line of a case-folded text."""
    return tuple(each for each in patterns() if any(clue in text for clue in each.clues))


def _key(line: str) -> str:
    return line.strip(_EDGES).replace("’", "'")


def _counted(line: str) -> Mark | None:
    """A phrase with a number in brackets behind it, or a number of shares, comments or the like."""
    counted = _COUNT.fullmatch(line.strip(_EDGES[:-1]))
    if counted is None:
        return None
    mark = _phrases().get(_key(counted["name"] or counted["listed"]))
    return mark if mark and (counted["listed"] or counted["name"] in _COUNTED) else None


def _bar(line: str) -> Mark | None:
    """A row of menu items, buttons or page links."""
    parts = [_key(part) for part in _SEPARATORS.split(line.strip())]
    marks = [_phrases().get(part) for part in parts if part]
    if len(marks) < 2 or marks[0] is None or None in marks:
        return None
    return Mark(marks[0].rule, True)


def _share_bar(line: str) -> Mark | None:
    """A row of names of networks."""
    words = _key(line).split()
    if not 2 <= len(words) <= 12:
        return None
    names, verbs = _sharing_words()
    known = all(word in names or word in verbs or word in _SHARING_FILLERS for word in words)
    telling = sum(word in names or word in verbs for word in words)
    named = any(word in phrase_data()["networks"] for word in words)
    return Mark(Reason.SHARING, True) if known and named and telling >= 2 else None


def _breadcrumbs(line: str) -> Mark | None:
    """Two short steps or more behind a link to the first page."""
    for sign in ("›", "»", ">", "→", " / "):
        if sign in line:
            steps = [step.strip(" :：\t") for step in line.strip().split(sign)]
            if steps[0] in ("you are here", "sie sind hier", "vous êtes ici") or ":" in steps[0]:
                steps[0] = steps[0].rpartition(":")[2].strip()
            short = all(0 < length(step) <= 8 or (step and len(step) <= 12) for step in steps)
            if len(steps) >= 2 and short and steps[0] in phrase_data()["homes"]:
                return Mark(Reason.BREADCRUMBS, True)
    return None


def _timestamp(line: str) -> Mark | None:
    """A time of day with or without its date, or a date behind "posted on"; a date alone may be a heading."""
    posted = POSTED.match(line)
    rest = line[posted.end() :] if posted else line
    dated = YEAR.search(rest) is not None if posted else len(CLOCK.findall(rest)) == 1
    if len(rest) > _LONGEST_TIMESTAMP or not dated:
        return None
    known = all(token in DATE_WORDS or not token[0].isalnum() or _in_dates(token) for token in DATE_TOKEN.findall(rest))
    return Mark(Reason.TIMESTAMP, True) if known else None


def _in_dates(token: str) -> bool:
    """Whether a number is that of a day, a month, a minute or a year."""
    return token.isdecimal() and (int(token) < 60 or YEAR.fullmatch(token) is not None)


@lru_cache(maxsize=1)
def _phrases() -> dict[str, Mark]:
    marks: dict[str, Mark] = {}
    for rule in Reason:
        for kinds in phrase_data().get(rule.rpartition(".")[2], {}).values():
            for kind, phrases in kinds.items():
                marks |= {_key(str(phrase).casefold()): Mark(rule, kind == "always") for phrase in phrases}
    counted = {word: Mark(Reason.SHARING, True) for word in _COUNTED}
    return {name: Mark(Reason.SHARING, False) for name in phrase_data()["networks"]} | counted | marks


@lru_cache(maxsize=1)
def _sharing_words() -> tuple[frozenset[str], frozenset[str]]:
    names = frozenset(phrase_data()["networks"]) | frozenset(phrase_data()["networks_in_bars"])
    return names, frozenset(word for stem in phrase_data()["share_stems"] for word in stem.split())
