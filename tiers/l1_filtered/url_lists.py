"""Lists of hosts and URLs, in the formats in which such lists are shared, and the search for URLs in them.

A list may mix, line by line: hosts files (`0.0.0.0 ads.example`), plain domains or URLs (`example.com`,
`*.example.com`, `example.com/path`), Adblock's rules for whole sites (`||example.com^`, and `@@||example.com^` for an
exception), and regular expressions behind `regex:`. Of a folder in the form of the UT1 lists of Toulouse the files
`domains`, `urls` and `expressions` are read, at any depth. What else Adblock's syntax can say is about parts of pages
and isn't read.

A domain stands for itself and every host below it: the labels of a host are walked, so that no list of public suffixes
is needed. A URL stands for itself and whatever lies below its path, with any scheme, with or without `www.`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from tiers.errors import SourceError
from tiers.l1_filtered.hash_index import HashIndex
from tiers.reference import Reference

Lines = Reference | tuple[str, ...]
"""A list: a file of the user's, or its lines, in the recipe itself."""

MAX_SEGMENTS = 64
"""Segments of a path that are looked up; no list holds longer ones."""

_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^/?#:]*)[^/?#]*([^#]*)")
_ADDRESS = re.compile(r"\d+(?:\.\d+){3}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")
_THIS_MACHINE = frozenset(("localhost", "localhost.localdomain", "local", "broadcasthost", "0.0.0.0"))
_ADBLOCK_PAGE = frozenset(("all", "doc", "document", "important"))
_UT1 = ("domains", "urls", "expressions")
_EXCEPTION = "@@"
_REGEX = "regex:"


def split_url(url: str) -> tuple[str, str, str] | None:
    """Scheme, host and the rest without the fragment, or `None` where it isn't an absolute URL.

    Scheme and host are in lower case, without user, port and last dot; a host in another script is in its ASCII form.
    """
    match = _PARTS.match(url.strip())
    if match is None:
        return None
    scheme, host, rest = match.groups()
    return scheme.lower(), _host(host), rest


def _host(host: str) -> str:
    host = host.lower().rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def read_lines(source: Lines) -> Iterator[str]:
    """The lines of a list, without what surrounds them; comments and blank lines are left out.

    Raises:
        SourceError: the file can't be read, or a folder holds no list.
    """
    if isinstance(source, tuple):
        yield from _said(source)
        return
    contents = source.read()
    if "" not in contents:
        contents = {name: content for name, content in contents.items() if PurePosixPath(name).name in _UT1}
        if not contents:
            raise SourceError("the folder holds no list", where=source.url, expected=_UT1)
    for name, content in contents.items():
        prefix = _REGEX if PurePosixPath(name).name == "expressions" else ""
        for line in _said(io.TextIOWrapper(io.BytesIO(content), "utf-8", "replace")):
            yield prefix + line


def _said(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in map(str.strip, lines) if line and line[0] not in "#!")


@dataclass(frozen=True)
class Match:
    """Where a URL was found: the row, whether by `domain`, `url` or `pattern`, the list, and its entry."""

    row: int
    kind: str
    list: str
    entry: str


class UrlLists:
    """Lists, ready to be searched: eleven bytes for each entry and each host of which URLs are listed, and patterns.

    Entries are 64-bit hashes: among ten billion URLs and a million entries one is taken for an entry by chance with a
    probability below 1 %. Of several lists that hold an entry, the first by name is told.

    Args:
        lists: Lists by their names.

    Raises:
        SourceError: a list can't be read, holds no entry, or a pattern that is none.
    """

    def __init__(self, lists: Mapping[str, Lines]) -> None:
        self._names = sorted(lists)
        self._patterns: list[tuple[str, str]] = []
        self.exceptions: list[str] = []
        self._has_urls = self._has_tops = False
        hashes = [np.fromiter(self._entries(name, lists[name]), np.uint64) for name in self._names]
        owners = np.repeat(np.arange(len(hashes), dtype=np.uint8), [len(part) for part in hashes])
        self._index = HashIndex(np.concatenate([*hashes, np.empty(0, np.uint64)]), owners)

    def _entries(self, name: str, source: Lines) -> Iterator[int]:
        used = False
        for line in read_lines(source):
            if line.startswith(_REGEX):
                self._patterns.append((name, _checked(line.removeprefix(_REGEX), name)))
                used = True
            for key in line_keys(line):
                used = True
                if key.startswith(_EXCEPTION):
                    self.exceptions.append(key.removeprefix(_EXCEPTION))
                else:
                    yield xxh3_64_intdigest(key.encode())
                    self._has_tops = self._has_tops or "." not in key
                    if "/" in key:
                        self._has_urls = True
                        yield xxh3_64_intdigest(key[: key.index("/") + 1].encode())
        if not used:
            raise SourceError("the list holds no domain, URL or pattern", where=name)

    def search(self, hosts: Sequence[str | None], rests: Sequence[str], urls: pa.Array) -> Iterator[Match]:
        """The matches of the rows that have a host: of each row the least specific entry first.

        Args:
            hosts: The host of each row; a row without one is passed over.
            rests: What follows the host.
            urls: The whole URLs, for patterns.
        """
        listed: list[tuple[int, str]] = []
        for row, entry, name in self._found((row, self._keys(host)) for row, host in enumerate(hosts) if host):
            if entry.endswith("/"):
                listed.append((row, entry.removesuffix("/")))
            else:
                yield Match(row, "domain", name, entry)
        for row, entry, name in self._found((row, _prefixes(host, rests[row])) for row, host in listed):
            yield Match(row, "url", name, entry)
        for name, pattern in self._patterns:
            for row in np.flatnonzero(_matches(urls, pattern)).tolist():
                if hosts[row] is not None:
                    yield Match(row, "pattern", name, pattern)

    def _keys(self, host: str) -> list[str]:
        """What a host is looked up as: the domains that it lies in, and the mark of a host of which URLs are listed."""
        keys = _suffixes(host, self._has_tops)
        return [*keys, f"{host.removeprefix('www.')}/"] if self._has_urls else keys

    def _found(self, keys_of: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, str, str]]:
        """(row, key, list) of the keys that are entries, of pairs of a row and its keys."""
        if not len(self._index):
            return
        rows: list[int] = []
        keys: list[str] = []
        for row, some in keys_of:
            keys += some
            rows += [row] * len(some)
        hashes = np.fromiter(map(xxh3_64_intdigest, map(str.encode, keys)), np.uint64, len(keys))
        places, owners = self._index.find(hashes)
        for place, owner in zip(places.tolist(), owners.tolist(), strict=True):
            yield rows[place], keys[place], self._names[owner]


def line_keys(line: str) -> Iterable[str]:
    """What a line of a list names, as `UrlLists` looks it up; an exception begins with `@@`."""
    if line.startswith(_REGEX):
        return ()
    if line.startswith(("||", "@@||")):
        return _adblock_keys(line)
    fields = line.split()
    if len(fields) > 1 and _ADDRESS.fullmatch(fields[0]):
        names = " ".join(fields[1:]).split("#", 1)[0].split()
        return [_host(name) for name in names if name not in _THIS_MACHINE and not name.startswith("ip6-")]
    key = _key(fields[0]) if fields else ""
    # One label alone would stand for a whole top-level domain; who means that writes `*.zip`.
    return [key] if "." in key or (key and line[0] in "*.") or key.startswith("[") else ()


def _adblock_keys(line: str) -> Iterable[str]:
    """The site of a rule that is about whole pages, none for any other."""
    sign = _EXCEPTION if line.startswith(_EXCEPTION) else ""
    rule, _, options = line.removeprefix(_EXCEPTION)[2:].partition("$")
    site, anchor, rest = rule.partition("^")
    if rest.strip("|") or not anchor or "*" in site or not set(filter(None, options.split(","))) <= _ADBLOCK_PAGE:
        return ()
    return [sign + _key(site)]


def _key(entry: str) -> str:
    """The domain, or host and path, that an entry names."""
    scheme = entry.find("://")
    entry = entry[scheme + 3 :] if scheme >= 0 else entry
    entry = entry.removeprefix("*").removeprefix(".")
    if entry.startswith("["):
        return entry.lower()
    host, slash, path = entry.partition("/")
    host = _host(host.partition(":")[0])
    path = path.partition("#")[0].rstrip("/").lower()
    return f"{host.removeprefix('www.')}/{path}" if slash and path else host


def _suffixes(host: str, tops: bool) -> list[str]:
    """`host` and the domains that it lies in, the shortest last; with its top-level domain if `tops`."""
    found = [host]
    start = host.find(".") + 1
    while start:
        after = host.find(".", start) + 1
        if after or tops:
            found.append(host[start:])
        start = after
    return found


def _prefixes(host: str, rest: str) -> list[str]:
    """What `rest` begins with, cut before each `/` and the `?`, behind the host; the longest first."""
    url = f"{host.removeprefix('www.')}{rest.rstrip('/').lower()}"
    path, query, _ = url.partition("?")
    found = [url] if query else []
    cut = len(path.rstrip("/"))
    while cut > 0 and "/" in path[:cut] and len(found) <= MAX_SEGMENTS:
        found.append(path[:cut])
        cut = path.rfind("/", 0, cut)
    return found


def _checked(pattern: str, name: str) -> str:
    try:
        _matches(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise SourceError("the pattern is no regular expression of RE2", where=name, got=str(error)) from None
    return pattern


def _matches(urls: pa.Array, pattern: str) -> npt.NDArray[np.bool_]:
    """Which of `urls` a pattern occurs in, in any case; in time linear in their length."""
    matched = pc.match_substring_regex(urls, pattern, ignore_case=True)
    values: npt.NDArray[np.bool_] = pc.fill_null(matched, False).to_numpy(zero_copy_only=False)
    return values
