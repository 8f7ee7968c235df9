"""Telephone numbers: international ones by their calling code (ITU-T E.164), national ones by what is said of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiers.l1_filtered.personal.finding import WORD, Finding, Kind

# Digits behind the calling code, at least and at most; any other code has 7 to 12.
_NATIONAL_DIGITS = {
    "1": (10, 10), "7": (10, 10), "33": (9, 9), "34": (9, 9), "39": (6, 11), "44": (9, 10), "49": (6, 12),
    "81": (9, 10), "86": (9, 11), "91": (10, 10),
}  # fmt: skip
_CODE = re.compile(
    "[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-69][0-9]|3[578][0-9]|42[013]|5[09][0-9]|6[789][0-9]|"
    "8[0578][0-9]|9[679][0-9]"
)
_JOINED = re.compile(f"[{WORD}+/=&%#$€£-]")
_DECIMALS = re.compile(",[0-9]")
_GROUP = re.compile("[0-9]+")
_LONGEST = 15

_WORD = re.compile(
    r"(?:\b(?:tele?f?|tél|тел|phones?|tele(?:phone|fon|fax)s?|telefone|téléphone|teléfono|telefono|телефону?|fax|факс|"
    r"mobil(?:telefon|e phone)|móvil|hotline|helpline|whatsapp|call (?:us|me|now|on|at|toll[ -]free)|звоните|anrufen|"
    r"rufnummer)\b|电话|電話|手机|手機|联系方式|传真|傳真|携帯|전화|휴대폰|☎|☏|📞|📱|✆)",
    re.IGNORECASE,
)
# These say so only right before the number.
_WEAK_WORD = re.compile(
    r"\b(?:mobile?|mob|моб|cell|celular|cellulare|handy|portable|dial|sms|call|ring)\b"
    r"(?: (?:is|no|number|phone|nr)\b)?[^\w\n]{0,4}$",
    re.IGNORECASE,
)
_OTHER = re.compile(r"\b(?:model|part|serial|order|isbn|issn|version|article|item|sku|price|page|id)\b", re.IGNORECASE)
_BETWEEN = 24
_AREA = re.compile(r"\(([2-9][0-9]{2})\) ?[2-9][0-9]{2}[ .-][0-9]{4}(?![0-9-])")
_DATE = re.compile(r"(?:19|20)[0-9]{2}[./-][01]?[0-9][./-][0-3]?[0-9]|[0-3]?[0-9][./-][01]?[0-9][./-](?:19|20)[0-9]{2}")
# 555-0100 to 555-0199 (ATIS-0300115), and numbers for drama (Ofcom), with calling code or 0.
_EXAMPLES = re.compile(
    r"1?[2-9][0-9]{2}55501[0-9]{2}|(?:44|0)0?(?:207946|1632960|7700900|8081570)[0-9]{3,4}|5550?1[0-9]{2}"
)


def phones(text: str, run: re.Match[str]) -> Iterator[Finding]:
    """Telephone numbers in a run of digits and separators."""
    start, end = run.span()
    before = text[max(0, start - 2) : start]
    if before[-1:] == "+" or before == "+(":
        found = _international(text, start, end, start - len(before) + before.index("+"))
        if found:
            yield found
        return
    if before[-1:] == "(":
        start -= 1
    if _JOINED.match(text, start - 1, start):
        return
    area = [match for match in _AREA.finditer(text, start, end)]
    if area:
        yield from (
            Finding(*match.span(), Kind.PHONE, "north_american") for match in area if not _is_example(match.group())
        )
    elif _said_to_be_one(text, start):
        found = _national(text, start, end)
        if found:
            yield found


def _international(text: str, start: int, end: int, plus: int) -> Finding | None:
    """A number behind a plus sign; what runs on behind it is cut off where the number is long enough."""
    code = _CODE.match(text, start, end)
    if code is None or _JOINED.match(text, plus - 1, plus):
        return None
    least, most = _NATIONAL_DIGITS.get(code.group(), (7, 12))
    national, stop = "", 0
    for group in _GROUP.finditer(text, code.end(), end):
        if text[group.start() - 1 : group.end() + 1] == "(0)":
            continue
        if len(national) + len(group.group()) > most:
            break
        national += group.group()
        stop = group.end()
    digits = code.group() + national
    if len(national) < least or _is_example(digits) or _DECIMALS.match(text, end):
        return None
    if code.group() == "1" and not re.fullmatch("1[2-9][0-9]{2}[2-9][0-9]{6}", digits):
        return None
    return Finding(plus, stop, Kind.PHONE, "international")


def _said_to_be_one(text: str, start: int) -> bool:
    """Whether a word such as "phone" stands shortly before, and none that says otherwise behind it."""
    before = text[max(0, start - _BETWEEN) : start].rpartition("\n\n")[2]
    if _WEAK_WORD.search(before):
        return True
    words = list(_WORD.finditer(before))
    return bool(words) and not _OTHER.search(before, words[-1].end())


def _national(text: str, start: int, end: int) -> Finding | None:
    if _DATE.match(text, start, end):
        return None
    count, stop = 0, start
    for group in _GROUP.finditer(text, start, end):
        if count + len(group.group()) > (_LONGEST if text.startswith("00", start) else 12):
            break
        count += len(group.group())
        stop = group.end()
    if count < 7 or _is_example(text[start:stop]) or len(set(text[start:stop])) < 3:
        return None
    return Finding(start, stop, Kind.PHONE, "national")


def _is_example(written: str) -> bool:
    return _EXAMPLES.fullmatch("".join(_GROUP.findall(written))) is not None
