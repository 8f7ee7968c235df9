"""What a page says about its use: to robots, and under which licence.

Robots: `<meta name=robots>`, as the Robots Exclusion Protocol's page-level rules have it. Licences: links of the HTML
standard's type `license` (section 4.6.7.10), in markup or in an HTTP `Link` header (RFC 8288).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_TAG = re.compile(rb"<(meta|link|a|area)\s([^<>]{1,4000})>", re.IGNORECASE)
_LONGEST_TAG = 4010
_WORDS = (b"robots", b"license")
_ATTRIBUTE = re.compile(r"([a-z][\w-]{0,30})\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.IGNORECASE)
_LINK = re.compile(r"<([^<>]{1,2000})>([^<>]{0,2000})")
_REL_LICENSE = re.compile(r"rel\s*=\s*\"?[^\",;]*\blicense\b", re.IGNORECASE)
_CREATIVE_COMMONS = re.compile(
    r"(?:https?:)?//(?:www\.)?creativecommons\.org/(?:licenses/([a-z-]+)/(\d\.\d)(?:/([a-z]{2,3})\b(?!-))?|"
    r"publicdomain/(zero|mark)/(\d\.\d))",
    re.IGNORECASE,
)
_OTHERS = (
    (re.compile(r"//(?:www\.)?apache\.org/licenses/LICENSE-2\.0", re.IGNORECASE), "Apache-2.0"),
    (re.compile(r"//(?:www\.)?gnu\.org/(?:licenses|copyleft)/fdl-1\.(\d)", re.IGNORECASE), "GFDL-1.{}"),
    (re.compile(r"//(?:www\.)?opensource\.org/licenses?/mit\b", re.IGNORECASE), "MIT"),
    (re.compile(r"//(?:www\.)?opendatacommons\.org/licenses/odbl/1", re.IGNORECASE), "ODbL-1.0"),
    (re.compile(r"nationalarchives\.gov\.uk/doc/open-government-licence/version/(\d)", re.IGNORECASE), "OGL-UK-{}.0"),
)
_ORDER = ("by", "nc", "nd", "sa")


def page_notes(page: str | bytes) -> dict[str, str]:
    """What a page says about its use; comments do not count.

    Args:
        page: The page, or the beginning of it; bytes are those of an encoding that extends ASCII.

    Returns:
        `robots`: the directives for all robots, in lower case, each once, between commas.
        `license`: where the page links to one licence as its own, its SPDX-like identifier.
        `license_url`: that link, where no identifier is known for it.
        `licenses`: where it links to several, which may be those of parts, their identifiers or links.
        Absent is what the page doesn't say.
    """
    data = page if isinstance(page, bytes) else page.encode(errors="surrogatepass")
    lower = data.lower()
    if not any(word in lower for word in _WORDS):
        return {}
    robots: dict[str, None] = {}
    licenses: dict[str, None] = {}
    for name, attributes in _tags(_without_comments(data)):
        if name == "meta" and attributes.get("name", "").strip().lower() == "robots":
            directives = attributes.get("content", "").lower().split(",")
            robots.update((directive.strip(), None) for directive in directives if directive.strip())
        elif name != "meta" and "license" in attributes.get("rel", "").lower().split() and attributes.get("href"):
            licenses[attributes["href"].strip()] = None
    return {**({"robots": ", ".join(robots)} if robots else {}), **_license_notes(list(licenses))}


def license_id(url: str) -> str | None:
    """The SPDX identifier of the licence at `url`, made likewise where SPDX has none; `None` if it isn't known."""
    found = _CREATIVE_COMMONS.search(url)
    if found:
        kind, version, place, domain, domain_version = found.groups()
        if domain:
            return f"CC0-{domain_version}" if domain.lower() == "zero" else f"CC-PDM-{domain_version}"
        parts = kind.lower().split("-")
        if not set(parts) <= set(_ORDER):
            return None
        country = f"-{place.upper()}" if place and version < "4" else ""  # since 4.0 it is one for all countries
        return f"CC-{'-'.join(sorted(parts, key=_ORDER.index)).upper()}-{version}{country}"
    for pattern, name in _OTHERS:
        if other := pattern.search(url):
            return name.format(*other.groups())
    return None


def license_of_link(header: str) -> str | None:
    """The identifier of the one licence that an HTTP `Link` header names; `None` if there is none or it isn't known."""
    if "license" not in header.lower():
        return None
    urls = [url for url, parameters in _LINK.findall(header) if _REL_LICENSE.search(parameters)]
    return _license_notes(urls).get("license")


def _license_notes(urls: list[str]) -> dict[str, str]:
    names = sorted({license_id(url) or url for url in urls})
    if len(names) > 1:
        return {"licenses": ", ".join(names)}
    return {"license" if license_id(url) else "license_url": license_id(url) or url for url in urls[:1]}


def _tags(page: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """Names and attributes of tags in which there is a word that matters."""
    end, lower = 0, page.lower()
    for place in sorted(place for word in _WORDS for place in occurrences(lower, word)):
        start = page.rfind(b"<", max(end, place - _LONGEST_TAG), place)
        tag = _TAG.match(page, start) if start >= 0 else None
        if tag and tag.end() > place:
            end = tag.end()
            pairs = _ATTRIBUTE.findall(_decoded(tag[2]))
            yield (
                tag[1].decode().lower(),
                {key.lower(): html.unescape("".join(value)) for key, *value in reversed(pairs)},
            )


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def occurrences(text: bytes, word: bytes, end: int | None = None) -> Iterator[int]:
    """Where `word` stands in `text`, or before `end` in it."""
    at = text.find(word, 0, end)
    while at >= 0:
        yield at
        at = text.find(word, at + 1, end)


def _without_comments(page: bytes) -> bytes:
    """`page` without comments, in time linear in its length even where none of them ends."""
    parts, at = [], 0
    while (start := page.find(b"<!--", at)) >= 0:
        end = page.find(b"-->", start + 4)
        if end < 0:
            break
        parts.append(page[at:start])
        at = end + 3
    return b"".join(parts) + page[at:]
