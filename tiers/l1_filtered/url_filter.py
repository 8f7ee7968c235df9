"""The stage that drops documents for where they come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tiers.l1_filtered.url_lists import Lines, UrlLists, read_lines, split_url
from tiers.stage import Context, Outcome, Stage, decide_rows

_MAX_HOST = 253
"""Characters in a host name (RFC 1035, section 2.3.4, without the length octets)."""


class Reason(StrEnum):
    """Why a document was dropped."""

    NOT_A_URL = "url_filter.not_a_url"
    SCHEME = "url_filter.scheme"
    HOST = "url_filter.host"
    IP_HOST = "url_filter.ip_host"
    TOO_LONG = "url_filter.too_long"
    QUERY_PARAMETERS = "url_filter.query_parameters"
    DOMAIN = "url_filter.domain"
    URL = "url_filter.url"
    PATTERN = "url_filter.pattern"
    HARD_WORD = "url_filter.hard_word"
    SOFT_WORDS = "url_filter.soft_words"
    SUBSTRING = "url_filter.substring"


_WORD = re.compile("[a-z0-9]+")

Verdict = tuple[int, Reason, str]
"""Row, reason, detail."""


class UrlFilter(Stage):
    """Drops documents by their URL: its form, lists of domains and URLs, and words in it.

    Block lists and the three kinds of word lists are those of RefinedWeb (Penedo et al. 2023, arXiv:2306.01116,
    appendix G.1), which FineWeb took over; the lists themselves are the user's. `url_lists` says in which formats.
    Words are runs of ASCII letters and digits, compared in lower case. A document without a URL is kept.

    Attributes:
        block: Lists by name: a path or URL, or lines.
        allow: Lists of what neither block lists nor words drop.
        hard_words: Words of which one is enough.
        soft_words: Words of which more than `max_soft_words` different ones are too many.
        max_soft_words: How many different soft words a URL may have.
        substrings: What the URL's letters and digits, joined, may not contain.
        schemes: The schemes to keep.
        ip_hosts: Whether a host may be an address.
        max_length: Characters in a URL; by default what sitemaps allow (sitemaps.org, `loc`: below 2,048).
        max_query_parameters: Parameters in a URL.
    """

    name: ClassVar[str] = "url_filter"

    block: Annotated[dict[str, Lines], Field(max_length=255, default_factory=dict)]
    allow: Annotated[dict[str, Lines], Field(max_length=254, default_factory=dict)]
    hard_words: Lines | None = None
    soft_words: Lines | None = None
    max_soft_words: Annotated[int, Field(ge=0)] = 1
    substrings: Lines | None = None
    schemes: Annotated[tuple[str, ...], Field(min_length=1)] = ("http", "https")
    ip_hosts: bool = True
    max_length: Annotated[int, Field(ge=1)] | None = 2047
    max_query_parameters: Annotated[int, Field(ge=0)] | None = None

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The function that judges a table; reads the lists."""
        block = UrlLists(self.block)
        exceptions = {"@@": tuple(block.exceptions)} if block.exceptions else {}
        allow = UrlLists({**self.allow, **exceptions})
        words = _Words.of(self)

        def apply(table: pa.Table) -> Outcome:
            urls = Urls(table["url"].combine_chunks())
            verdicts: dict[int, tuple[str, str]] = {}
            for row, reason, detail in self._malformed(urls):
                verdicts.setdefault(row, (reason, detail))
                urls.hosts[row] = None
            allowed = {match.row for match in allow.search(urls.hosts, urls.rests, urls.column)}
            for row, reason, detail in (*_listed(block, urls), *words.judge(urls)):
                if row not in allowed:
                    verdicts.setdefault(row, (reason, detail))
            return decide_rows(table, [verdicts.get(row) for row in range(table.num_rows)])

        return apply

    def _malformed(self, urls: Urls) -> Iterator[Verdict]:
        """Rows that a rule on the form of URLs drops."""
        schemes, longest, most = frozenset(self.schemes), self.max_length, self.max_query_parameters
        for row, (url, scheme, host) in enumerate(zip(urls.texts, urls.schemes, urls.hosts, strict=True)):
            if not url:
                continue
            if host is None:
                yield row, Reason.NOT_A_URL, url[:80]
            elif scheme not in schemes:
                yield row, Reason.SCHEME, f"{scheme}, wanted {', '.join(self.schemes)}"
            elif not host or len(host) > _MAX_HOST:
                yield row, Reason.HOST, f"{len(host)} characters, wanted 1 to {_MAX_HOST}"
            elif not self.ip_hosts and is_address(host):
                yield row, Reason.IP_HOST, host
            elif longest is not None and len(url) > longest:
                yield row, Reason.TOO_LONG, f"{len(url)} > {longest}"
            elif most is not None and (count := query_parameters(urls.rests[row])) > most:
                yield row, Reason.QUERY_PARAMETERS, f"{count} > {most}"


def _listed(block: UrlLists, urls: Urls) -> Iterator[Verdict]:
    for match in block.search(urls.hosts, urls.rests, urls.column):
        yield match.row, Reason(f"url_filter.{match.kind}"), f"{match.entry} in {match.list}"


class Urls:
    """A column of URLs and their parts; `hosts` is `None` where there is nothing to look at."""

    def __init__(self, column: pa.Array) -> None:
        self.column = column
        self.texts: list[str | None] = column.to_pylist()
        parts = [(url and split_url(url)) or ("", None, "") for url in self.texts]
        self.schemes = [scheme for scheme, _, _ in parts]
        self.hosts: list[str | None] = [host for _, host, _ in parts]
        self.rests = [rest for _, _, rest in parts]


@dataclass(frozen=True)
class _Words:
    """The word lists of a stage, ready to be looked up."""

    hard: frozenset[str]
    soft: frozenset[str]
    most: int
    substrings: tuple[str, ...]

    @classmethod
    def of(cls, stage: UrlFilter) -> _Words:
        hard, soft, substrings = (_word_list(x) for x in (stage.hard_words, stage.soft_words, stage.substrings))
        return cls(frozenset(hard), frozenset(soft), stage.max_soft_words, tuple(substrings))

    def judge(self, urls: Urls) -> Iterator[Verdict]:
        """Rows whose URL has words that it may not have; those without a host are passed over."""
        if not (self.hard or self.soft or self.substrings):
            return
        rows = [row for row, host in enumerate(urls.hosts) if host]
        words = [_WORD.findall((urls.texts[row] or "").lower()) for row in rows]
        for row, some in zip(rows, words, strict=True):
            if not self.hard.isdisjoint(some):
                yield row, Reason.HARD_WORD, min(self.hard.intersection(some))
            if not self.soft.isdisjoint(some) and len(soft := self.soft.intersection(some)) > self.most:
                yield row, Reason.SOFT_WORDS, f"{len(soft)} > {self.most}: {', '.join(sorted(soft))}"
        if self.substrings:
            joined = list(map("".join, words))
            # RE2 takes time linear in the text for any number of alternatives.
            found = pc.match_substring_regex(pa.array(joined, pa.string()), "|".join(self.substrings))
            for place in pc.indices_nonzero(found).to_pylist():
                yield rows[place], Reason.SUBSTRING, next(s for s in self.substrings if s in joined[place])


def _word_list(source: Lines | None) -> list[str]:
    """The entries of a word list without anything but letters and digits, sorted."""
    lines = () if source is None else read_lines(source)
    return sorted({"".join(_WORD.findall(line.lower())) for line in lines} - {""})


def is_address(host: str) -> bool:
    """Whether a host is an IP address: browsers take one that ends in a number for one (WHATWG URL, section 3.5)."""
    return host.startswith("[") or host.rpartition(".")[2].isdigit()


def query_parameters(rest: str) -> int:
    """Parameters in the query of what follows a host."""
    query = rest.partition("?")[2]
    return sum(1 for parameter in re.split("[&;]", query) if parameter)
