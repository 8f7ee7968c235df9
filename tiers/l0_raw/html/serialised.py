"""Reading what the serialisation of a tree writes."""

from __future__ import annotations


def attribute(attributes: str, name: str) -> str:
    """The value of an attribute as it is serialised, still escaped; empty where there is none."""
    mark = f'{name}="'
    start = attributes.find(mark)
    while start > 0 and attributes[start - 1] != " ":
        start = attributes.find(mark, start + 1)
    if start < 0:
        return ""
    start += len(mark)
    return attributes[start : attributes.find('"', start)]


def plain(parts: list[str]) -> str:
    """Text as it reads: white space is one blank, and what serialising escapes is unescaped."""
    return " ".join(unescape("".join(parts)).split())


def unescape(text: str) -> str:
    """Undoes what serialising does to text; a blank that does not break becomes one that does."""
    if "&" not in text:
        return text
    return text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
