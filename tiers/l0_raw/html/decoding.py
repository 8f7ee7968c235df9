"""From the bytes of a page to its characters."""

from __future__ import annotations

import codecs

import numpy as np
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from tiers.l0_raw.html.reasons import HtmlReason, Refused

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

_UTF8 = ("utf-8", "utf-8-sig")


def decode(content: bytes, declared: str | None, max_undecodable: float = 0.05) -> str:
    """Decodes a page as browsers do: by byte order mark, declared charset, meta tag, else by what its bytes look like.

    Bytes that make no character become U+FFFD. Where most of the characters beyond ASCII are such, the charset that
    the bytes look like is tried too, since servers often declare what isn't so. The order is that of the HTML
    standard, section 13.2.3.2.

    Raises:
        Refused: more than a share of `max_undecodable` are replacement or control characters.
    """
    encoding = _named_encoding(content, declared)
    text, strange = _decode(content, encoding)
    if strange and 2 * strange > len(text) - len(text.encode("ascii", "ignore")):
        guessed = _guessed_encoding(content)
        if guessed is not None and guessed != encoding:
            other, other_strange = _decode(content, guessed)
            if other_strange < strange:
                text, strange, encoding = other, other_strange, guessed
    if strange > max_undecodable * len(text):
        share = strange / len(text)
        raise Refused(HtmlReason.UNDECODABLE, f"{share:.3f} of it is not {encoding}, at most {max_undecodable}")
    return text


def _named_encoding(content: bytes, declared: str | None) -> str:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return encoding
    known = map_encoding_to_html5(declared, False) if declared else None
    named: str = known or detect_encoding(content, from_html_meta=True) or "utf-8"
    # A page whose ASCII markup can be read is not UTF-16, whatever it says.
    return "utf-8" if named.startswith("utf-16") and b"\0" not in content[:1024] else named


def _guessed_encoding(content: bytes) -> str | None:
    guessed = detect_encoding(content)
    # Windows-1252 decodes anything, and is what a detector says when it does not know; in text it is mostly ASCII.
    if guessed == "cp1252" and len(content.decode("ascii", "ignore")) < 0.7 * len(content):
        return None
    return guessed


def _decode(content: bytes, encoding: str) -> tuple[str, int]:
    """The text, and how many of its characters are replacements or controls."""
    from tiers.l0_raw.kernels.shape import count_controls, is_strange

    data = np.frombuffer(content, np.uint8)
    if encoding in _UTF8 and not is_strange(data):
        try:
            return content.decode(encoding), 0
        except UnicodeDecodeError:
            pass
    text = content.decode(encoding, "replace")
    strange = text.count("\ufffd")
    if not encoding.startswith("utf-16"):
        strange += count_controls(data)
    return text, strange
