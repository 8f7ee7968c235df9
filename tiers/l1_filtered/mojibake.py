"""Text that was UTF-8, was read as a one-byte encoding and saved again: found where it can be proved, and undone.

A line is mended only if all of it holds up: each of its characters beyond ASCII is a byte of windows-1252 (with the C1
controls in place of its five gaps, as the WHATWG encoding standard has it) or of windows-1251; the bytes are valid
UTF-8; and what they spell couldn't stand there by accident. `CAFÉ”` is valid UTF-8 too, and stays.
C1 controls that are left, which no text holds, are the signs of windows-1252 that they stand for: quotes, dashes.
"""

from __future__ import annotations

import re

_WESTERN = {ord(bytes([byte]).decode("cp1252", "ignore") or chr(byte)): byte for byte in range(0x80, 0x100)}
_WESTERN |= {control: control for control in range(0x80, 0xA0)}
_CYRILLIC = {ord(bytes([byte]).decode("cp1251", "ignore") or chr(byte)): byte for byte in range(0x80, 0x100)}
_FOLLOWING = "".join(sorted(chr(point) for point, byte in _WESTERN.items() if byte < 0xC0))
_FOLLOWING_CYRILLIC = "".join(sorted(chr(point) for point, byte in _CYRILLIC.items() if byte < 0xC0))

_SEQUENCE = f"(?:[Â-ß][{_FOLLOWING}]|[à-ï][{_FOLLOWING}]{{2}}|[ð-ô][{_FOLLOWING}]{{3}})"
# Two in a row; â€ and the like; a capital within a word or before a sign that no capital stands before.
_PROOF = re.compile(
    f"{_SEQUENCE}{_SEQUENCE}|â[€‚„†ˆ‰Š‹Œ\x80-\x8c][{_FOLLOWING}]|ï[»¼¿][{_FOLLOWING}]|ð[Ÿ\x9f][{_FOLLOWING}]{{2}}"
    f"|(?<=[a-z])[Ã-Ñ][{_FOLLOWING}]|[ÃÄÅÎÏÐÑ][{_FOLLOWING}](?=[a-z])|(?<![A-Za-z])(?:Â[\xa0-\xbf]|Ã\xa0)"
    "|Â[¡-©¬-¹¼-¿]|Ã[¡¢£¤¥§¨©¬\xad®¯±²³´µ¶·¸¹¼½¾¿]"
)
_PROOF_CYRILLIC = re.compile(f"(?:[РС][{_FOLLOWING_CYRILLIC}]){{3}}")
_LEAD = re.compile(f"[Â-ôРС][{_FOLLOWING}{_FOLLOWING_CYRILLIC}]")
_CONTROL = re.compile("[\x80-\x84\x86-\x9f]")
_SIGNS = {byte: sign for byte in range(0x80, 0xA0) if (sign := bytes([byte]).decode("cp1252", "ignore"))}
# What is read off double-encoded text: signs and letters of the scripts that are written today.
_PLAUSIBLE = re.compile(
    "[\x00-\u0233\u02bb-\u02dd\u0300-\u036f\u0370-\u077f\u0900-\u109f\u10a0-\u11ff\u1e00-\u1fff"
    "\u200b-\u2bff\u3000-\u318f\u31a0-\u9fff\uac00-\ud7a3\uf900-\ufaff\ufb00-\ufb4f\ufe0e\ufe0f\ufeff\uff00-\uffef"
    "\U0001f000-\U0001faff\U00020000-\U0002ffff]*"
)


def suspected(text: str) -> bool:
    """Whether `text` may hold a double encoding; cheap."""
    return not text.isascii() and (_LEAD.search(text) or _CONTROL.search(text)) is not None


def repair_encoding(text: str) -> tuple[str, int]:
    """`text` with its double-encoded lines decoded, as often as they were encoded; and how many lines were repaired."""
    lines = text.split("\n")
    mended = [_repair_line(line) for line in lines]
    count = sum(before != after for before, after in zip(lines, mended, strict=True))
    return ("\n".join(mended), count) if count else (text, 0)


def _repair_line(line: str) -> str:
    while not line.isascii():
        better = _decoded(line, _WESTERN, _PROOF) or _decoded(line, _CYRILLIC, _PROOF_CYRILLIC)
        if better is None:
            return line.translate(_SIGNS) if _CONTROL.search(line) else line
        line = better
    return line


def _decoded(line: str, table: dict[int, int], proof: re.Pattern[str]) -> str | None:
    if not proof.search(line):
        return None
    try:
        decoded = line.translate(table).encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None
    return decoded if _PLAUSIBLE.fullmatch(decoded) else None
