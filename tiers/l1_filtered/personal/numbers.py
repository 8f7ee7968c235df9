"""Payment cards, bank accounts, national numbers and telephone numbers.

A number counts if its form and check digits are right. Where these are weak, or many other numbers look like it, a word
that says what it is must stand near. All patterns are of bounded length, so that time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tiers.l1_filtered.personal import check_digits
from tiers.l1_filtered.personal.check_digits import Check
from tiers.l1_filtered.personal.finding import WORD, Finding, Kind
from tiers.l1_filtered.personal.phones import phones

RUN = re.compile(r"[0-9](?:[ \xa0\u202f./()\u2010-\u2013-]{0,3}[0-9]){6,}")
"""Seven digits or more that only separators part: where numbers can be at all."""

_START, _END = rf"(?<![{WORD}./=&%+-])", rf"(?![{WORD}]|[./-][0-9])"
_SEPARATORS = str.maketrans("", "", " \xa0\u202f.-/")


class _Form(NamedTuple):
    """How one kind of number is written and checked; what must stand near, what must not stand right before."""

    kind: Kind
    name: str
    pattern: re.Pattern[str]
    check: Check
    context: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None


def _form(kind: Kind, name: str, pattern: str, check: Check, context: str = "") -> _Form:
    near = re.compile(rf"(?<![{WORD}])(?:{context})(?![{WORD}])", re.IGNORECASE) if context else None
    return _Form(kind, name, re.compile(_START + pattern + _END), check, near)


_ID = Kind.NATIONAL_ID
_ACCOUNT = re.compile(r"[A-Z]{2}[0-9]{2} ?$")
_IDENTIFIER = re.compile(r"(?<![^\W_])(?:ids?|key|number|sku|ean|gtin|imei|isbn)[\"']? ?[:=#]? ?$", re.IGNORECASE)
_CARD_WORDS = "cards?|visa|master ?card|amex|karten?|kredit|carte|tarjeta|cartão|carta|карт[аы]|卡号|信用卡|カード"
_IN_RUNS = (
    _form(Kind.CARD, "card", r"[0-9]{15,16}", check_digits.payment_card)._replace(unless=_IDENTIFIER),
    _form(Kind.CARD, "card", r"[0-9]{14,19}", check_digits.payment_card, _CARD_WORDS),
    _form(
        Kind.CARD, "card", r"[0-9]{4}([ \xa0-])(?:[0-9]{4}\1){2}[0-9]{4}(?:\1[0-9]{3})?", check_digits.payment_card,
    )._replace(unless=_ACCOUNT),
    _form(Kind.CARD, "card", r"[0-9]{4}([ \xa0-])[0-9]{6}\1[0-9]{4,5}", check_digits.payment_card),
    _form(_ID, "cn_resident_id", r"[1-9][0-9]{16}[0-9X]", check_digits.cn_resident_id),
    _form(_ID, "fr_nir", r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", check_digits.fr_nir),
    _form(_ID, "br_cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", check_digits.br_cpf),
    _form(_ID, "br_cpf", r"[0-9]{11}", check_digits.br_cpf, "cpfs?"),
    _form(_ID, "br_cnpj", r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", check_digits.br_cnpj),
    _form(_ID, "br_cnpj", r"[0-9]{14}", check_digits.br_cnpj, "cnpj"),
    _form(
        _ID, "us_ssn", r"[0-9]{3}([ -])[0-9]{2}\1[0-9]{4}", check_digits.us_ssn,
        r"ssns?|social[ -]security(?: (?:number|no))?",
    ),
    _form(
        _ID, "de_tax_id", r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", check_digits.de_tax_id,
        r"steuer-?id(?:nr)?|id-?nr|(?:steuer(?:liche)?-?)? ?identifikationsnummer|steuernummer|tax[ -]id|tin",
    ),
    _form(
        _ID, "nl_bsn", r"(?:[0-9]{9}|[0-9]{4}[. ][0-9]{2}[. ][0-9]{3})", check_digits.nl_bsn,
        r"bsn|burgerservicenummer|sofi-?nummer",
    ),
    _form(_ID, "in_aadhaar", r"[2-9][0-9]{3}([ -]?)[0-9]{4}\1[0-9]{4}", check_digits.in_aadhaar, r"aadha*r|uidai|आधार"),
)  # fmt: skip
_ES_DNI = _form(
    _ID, "es_dni", r"(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-Z]", check_digits.es_dni,
    r"d\.?n\.?i|n\.?i\.?[ef]|documento nacional",
)  # fmt: skip
# Numbers with letters: what to look for, and how far before it a number of which form begins.
_LETTERED = (
    (
        re.compile("[A-Z]{2} ?[0-9]{2}"),
        (
            (0, _form(
                Kind.IBAN, "iban", r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?", check_digits.iban,
            )),
            (0, _form(
                _ID, "uk_nino", r"[A-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", check_digits.uk_nino,
                r"national insurance(?: (?:number|no))?|ninos?|ni (?:number|no)",
            )),
            (4, _form(
                _ID, "it_fiscal_code", r"[A-Z]{6}[0-9]{2}[ABCDEHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]",
                check_digits.it_fiscal_code,
            )),
        ),
    ),
    (re.compile("[0-9]-?[A-Z]"), ((7, _ES_DNI), (8, _ES_DNI))),
)  # fmt: skip
_SHORTEST = 9
_AHEAD = 3  # A number may end in a letter, and its pattern looks at two characters more.
_NEAR_BEFORE, _NEAR_AFTER = 64, 24
# Numbers that issuers and authorities publish for tests and as examples.
_EXAMPLES = frozenset(
    "4111111111111111 4242424242424242 4012888888881881 4000056655665556 5555555555554444 5105105105105100 "
    "5200828282828210 2223003122003222 378282246310005 371449635398431 6011111111111117 6011000990139424 "
    "3056930009020004 30569309025904 38520000023237 3530111333300000 3566002020360505 6200000000000005 "
    "078051120 219099999 123456789 DE89370400440532013000 GB29NWBK60161331926819 GB82WEST12345698765432 "
    "FR1420041010050500013M02606 NL91ABNA0417164300 QQ123456C 12345678Z X1234567L 52998224725 12345678909 "
    "11222333000181 111222333 86095742719 RSSMRA85T10A562S".split()
)


def numbers(text: str) -> Iterator[Finding]:
    """Cards, accounts, national numbers and telephone numbers, overlapping ones included."""
    for run in RUN.finditer(text):
        if run.end() - run.start() >= _SHORTEST:
            for form in _IN_RUNS:
                for match in form.pattern.finditer(text, run.start(), run.end() + _AHEAD):
                    yield from _accepted(form, text, match)
        yield from phones(text, run)
    for sign, forms in _LETTERED:
        for found in sign.finditer(text):
            for before, form in forms:
                number = form.pattern.match(text, found.start() - before) if found.start() >= before else None
                if number:
                    yield from _accepted(form, text, number)


def _accepted(form: _Form, text: str, match: re.Match[str]) -> Iterator[Finding]:
    found = _checked(form, match)
    if found is None or (form.context and not _near(form.context, text, match)):
        return
    if form.unless is None or not form.unless.search(text[max(0, match.start() - _NEAR_AFTER) : match.start()]):
        yield found


def _checked(form: _Form, match: re.Match[str]) -> Finding | None:
    """A match whose check digits are right; an IBAN that runs on into a word is cut at its spaces."""
    written = match.group()
    while True:
        code = written.translate(_SEPARATORS)
        if code in _EXAMPLES:
            return None
        if form.check(code):
            return Finding(match.start(), match.start() + len(written), form.kind, form.name)
        if form.kind is not Kind.IBAN or " " not in written:
            return None
        written = written.rpartition(" ")[0]


def _near(context: re.Pattern[str], text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - _NEAR_BEFORE) : match.start()]
    return (
        context.search(before) is not None or context.search(text[match.end() : match.end() + _NEAR_AFTER]) is not None
    )
