"""The stage that gives all texts one form: characters, white space, line breaks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from enum import StrEnum
from typing import ClassVar, Literal

import pyarrow as pa

from tiers.document import DOCUMENT, add_column
from tiers.l1_filtered.layout import GAP, Layout, line_layouts
from tiers.l1_filtered.mojibake import repair_encoding, suspected
from tiers.stage import Context, Outcome, Stage, fates


class Reason(StrEnum):
    """What was changed in a document; white space and canonically equal characters aren't noted."""

    ENCODING_REPAIRED = "normalise.encoding_repaired"
    CHARACTERS_REMOVED = "normalise.characters_removed"


class Normalise(Stage):
    r"""Gives texts one form, and keeps every document.

    - Double-encoded lines are decoded where that is proved (`tiers.l1_filtered.mojibake`).
    - Every line break (CR, CRLF, VT, FF, FS to RS, NEL, U+2028, U+2029) is `\n`.
    - Characters that show nothing go: controls, terminal escapes, byte order marks, soft hyphens, invisible operators,
      private use, noncharacters, repeated variation selectors. Joiners stay after letters that join, zero-width spaces
      between letters of scripts without spaces, joiners and tags in emoji (Unicode Standard 16.0, section 23.2; UTS
      #51). Marks of direction stay in lines with letters that run from right to left, embeddings if they are closed
      within their line (UAX #9).
    - Composed characters, NFC (UAX #15). NFKC, which also turns x² into x2 and ﬁ into fi, is for those who want it.
    - Spaces of any width are the one of ASCII, the ideographic space in lines with ideographs excepted. Runs are one
      space within lines of prose; in code and tables (`tiers.l1_filtered.layout`) they stay, and so does indentation.
    - No spaces end a line, no two blank lines follow each other, none begins or ends the text; fenced code is left
      alone. Paragraphs stay apart.

    Done twice it changes nothing more.

    Attributes:
        form: The Unicode normalisation form.
    """

    name: ClassVar[str] = "normalise"

    form: Literal["NFC", "NFKC"] = "NFC"

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The function that normalises the texts of a table."""

        def apply(table: pa.Table) -> Outcome:
            texts, noted = [], []
            for row_id, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
                normal, lines, characters = normalise(text, self.form)
                texts.append(normal)
                if lines:
                    noted.append((row_id, Reason.ENCODING_REPAIRED.value, f"{lines} lines"))
                if characters:
                    noted.append((row_id, Reason.CHARACTERS_REMOVED.value, f"{characters} characters"))
            kept = add_column(table, DOCUMENT.field("text"), pa.array(texts, pa.large_string()))
            return Outcome(kept, noted=fates(noted))

        return apply


def normalise(text: str, form: Literal["NFC", "NFKC"] = "NFC") -> tuple[str, int, int]:
    """`text` in its normal form, the lines whose encoding was repaired, and the characters that were removed."""
    if text.isascii() and not _UNCLEAN.search(text):
        return text, 0, 0
    lines = characters = 0
    while True:
        before = text
        if suspected(text):
            text, repaired = repair_encoding(text)
            lines += repaired
        text = _LINE_BREAK.sub("\n", text)
        visible = _visible(text)
        characters += len(text) - len(visible)
        composed = unicodedata.normalize(form, visible)
        text = _lay_out(_one_space(composed))
        # Marks in another order may leave a joiner nothing to join; a line of other characters may now be decodable.
        if text == before or (composed == visible and not suspected(text)):
            return text, lines, characters


# The first character that an ASCII text in normal form can't hold, or can't hold there.
_UNCLEAN = re.compile(r"[^\n -~]| (?= )(?<=[^\n ] )| (?=\n)|\n(?=\n\n)|\A[\n]|[\n ]\Z")
_LINE_BREAK = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")

# Letters with forms that joiners choose between: Arabic, Syriac, N'Ko and the like, Indic, Tibetan, Myanmar, Khmer,
# Mongolian, and their extensions.
_JOINING = (
    r"\u0620-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17ff\u1820-\u18af"
    r"\ua840-\uaaff\ufb50-\ufdff\ufe70-\ufefc\U00011000-\U00011fff"
)
_UNSPACED = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\uaa60-\uaadf"
_EMOJI = "\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff"
_STAYS = (
    f"(?<=[{_JOINING}])[\u200c\u200d]"
    f"|(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])"
    f"|(?<=[{_UNSPACED}])\u200b(?=[{_UNSPACED}])"
    "|(?<=[\u1820-\u18aa])\u180e"
    "|\U0001f3f4[\U000e0020-\U000e007e]{3,6}\U000e007f"
)
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffc"
    "\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f\U000f0000-\U0010ffff]"
)
_SELECTORS = re.compile("([\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]+")
_INVISIBLE = re.compile(f"({_STAYS})|\x1b\\[[0-?]{{0,32}}[ -/]{{0,4}}[@-~]|{_UNSEEN.pattern}")
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_CLOSERS = {"\u202a": "\u202c", "\u202b": "\u202c", "\u202d": "\u202c", "\u202e": "\u202c"} | dict.fromkeys(
    "\u2066\u2067\u2068", "\u2069"
)


def _visible(text: str) -> str:
    """`text` without the characters that show nothing and mean nothing where they stand."""
    if _UNSEEN.search(text):
        text = _INVISIBLE.sub(r"\1", text)
    if text.isascii():
        return text
    if _DIRECTION.search(text):
        text = "\n".join(_directed(line) for line in text.split("\n"))
    return _SELECTORS.sub(r"\1", text)


def _directed(line: str) -> str:
    """A line without marks of direction that have nothing to direct, and without embeddings that aren't closed."""
    if not _RIGHT_TO_LEFT.search(line):
        return _DIRECTION.sub("", line)
    unpaired: set[int] = set()
    opened: list[tuple[int, str]] = []
    for mark in _DIRECTION.finditer(line):
        character, at = mark.group(), mark.start()
        if character in _CLOSERS:
            opened.append((at, _CLOSERS[character]))
        elif character in "\u202c\u2069":
            if opened and opened[-1][1] == character:
                opened.pop()
            else:
                unpaired.add(at)
    unpaired.update(at for at, _ in opened)
    return "".join(character for at, character in enumerate(line) if at not in unpaired) if unpaired else line


_WIDE_SPACE = re.compile("[\xa0\u2000-\u200a\u205f]")
_NARROW_SPACE = re.compile("(?<![\u1820-\u18aa])\u202f")  # Within Mongolian words it stays.
_IDEOGRAPHIC = re.compile("[\u2e80-\u2fff\u3001-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uffef\U00020000-\U0003ffff]")


def _one_space(text: str) -> str:
    text = _WIDE_SPACE.sub(" ", text)
    if "\u202f" in text:
        text = _NARROW_SPACE.sub(" ", text)
    if "\u3000" not in text:
        return text
    lines = text.split("\n")
    return "\n".join(line if _IDEOGRAPHIC.search(line) else line.replace("\u3000", " ") for line in lines)


def _lay_out(text: str) -> str:
    """`text` without spaces at the ends of lines, wide gaps in prose, and more than one blank line in a row."""
    raw = text.split("\n")
    stripped = [line.rstrip(" \t\u3000") for line in raw]
    laid: list[str] = []
    for number, layout in enumerate(line_layouts("\n".join(stripped))):
        line = stripped[number]
        if layout is Layout.FENCED:
            laid.append(raw[number])
        elif line:
            laid.append(GAP.sub(" ", line) if layout is Layout.PROSE and ("  " in line or "\t" in line) else line)
        elif laid and laid[-1]:
            laid.append("")
    return "\n".join(laid).strip("\n")
