"""Sentences with personal data that nobody has, and with what only looks like it; the same ones for a seed."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator

from tiers.l1_filtered.personal import check_digits

Make = Callable[[random.Random], str]
Planted = tuple[str, str, tuple[int, int] | None]
"""Form, sentence, span of the item; a decoy has no span."""

_POOLS = {
    "?": string.digits,
    "#": "23456789",
    "^": string.ascii_uppercase,
    "~": string.ascii_letters + string.digits,
    "*": string.hexdigits[:16],
}


def like(*patterns: str) -> Make:
    """Draws a pattern and fills it: ? a digit, # one of 2 to 9, ^ a capital, ~ a letter or digit, * a hex digit."""
    return lambda draw: "".join(draw.choice(_POOLS[c]) if c in _POOLS else c for c in draw.choice(patterns))


def valid(make: Make, check: Callable[[str], bool], right: bool = True) -> Make:
    """Draws until the check digits are right, or wrong."""

    def draw_until(draw: random.Random) -> str:
        while True:
            made = make(draw)
            if check(made.translate(str.maketrans("", "", " .-/"))) is right:
                return made

    return draw_until


def filled(template: Make, **parts: Make) -> Make:
    """Fills `{name}` with what the part of that name draws."""
    return lambda draw: template(draw).format(**{key: make(draw) for key, make in parts.items()})


def among(*values: str) -> Make:
    return lambda draw: draw.choice(values)


def number(first: int, last: int, width: int = 0) -> Make:
    return lambda draw: str(draw.randint(first, last)).zfill(width)


def token(prefix: str, size: int, alphabet: str = string.ascii_letters + string.digits) -> Make:
    return lambda draw: prefix + "".join(draw.choices(alphabet, k=size))


_NAME = filled(
    among("{a}.{b}", "{a}_{b}", "{a}{b}7", "{a}-{b}", "{b}1984"),
    a=among(*"anna bert carla dmitri elif fatima george hana ivan".split()),
    b=among(*"julia kenji lena omar paula quentin rosa".split()),
)
_HOST = filled(
    among(*(f"{{a}}-{{b}}.{top}" for top in ("com", "org", "de", "fr", "co.uk", "net", "io", "museum"))),
    a=among(*"river stone mail post harbour".split()),
    b=among(*"nord cloud uni garten maison".split()),
)
_IP = filled(among("{a}.{b}.{c}.{d}"), a=number(80, 95), b=number(40, 250), c=number(0, 255), d=number(1, 254))
_DAY = {"y": number(1990, 2026), "m": number(1, 12, 2), "d": number(1, 28, 2)}
_CARD = like("4??? ???? ???? ????", "5#??-????-????-????", "37?? ?????? ?????", "4???????????????")
_IBAN = like(
    "DE?? ???? ???? ???? ???? ??", "FR?????????????????????????", "GB??^^^^??????????????", "NL?? ^^^^ ???? ???? ??"
)
_CN = filled(like("110101{y}{m}{d}????", "440305{y}{m}{d}???X"), **_DAY)
_NIR = filled(
    like("1 {y} {m} ?? ??? ??? {key}", "2 {y} {m} ?? ??? ??? {key}"),
    y=number(40, 99),
    m=_DAY["m"],
    key=number(1, 97, 2),
)
_FISCAL = filled(like("^^^^^^??{m}??^???^"), m=among(*"ABCDEHLMPRST"))
_CAPITALS = string.ascii_uppercase + "234567"

# How items are made, and the words that may stand beside them.
ITEMS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "e-mail": (filled(among("{a}@{b}"), a=_NAME, b=_HOST), ("e-mail", "Kontakt", "адрес")),
    "e-mail, spelt": (filled(among("{a} (at) {b}", "{a}[at]{b}"), a=_NAME, b=_HOST), ("e-mail", "Mail")),
    "IPv4": (_IP, ("IP address", "host", "server")),
    "IPv6": (like("2a00:**::*", "2001:4860:****:****::****"), ("IP address", "host")),
    "phone, international": (
        like("+49 30 #???????", "+1 212-#36-????", "+44 20 7???????", "+33 6 ?? ?? ?? ??", "+81-3-#???-????",
            "+86 139 ???? ????"),
        ("phone", "Telefon", "tél."),
    ),
    "phone, national": (
        like("030 #??????", "(212) #36-????", "312-#37-????", "020 8??? ????", "06 ?? ?? ?? ??", "139????????",
            "089/#?????"),
        ("phone", "Tel.", "Telefon", "Fax", "tél.", "Mobile", "电话"),
    ),
    "card": (valid(_CARD, check_digits.payment_card), ("card number", "Visa")),
    "IBAN": (valid(_IBAN, check_digits.iban), ("IBAN", "account")),
    "US SSN": (valid(like("???-??-????"), check_digits.us_ssn), ("SSN", "social security number")),
    "UK NINO": (valid(like("^^ ?? ?? ?? C", "^^??????A"), check_digits.uk_nino), ("National Insurance number", "NINO")),
    "DE tax id": (valid(like("?? ??? ??? ???"), check_digits.de_tax_id), ("Steuer-ID", "Identifikationsnummer")),
    "FR NIR": (valid(_NIR, check_digits.fr_nir), ("NIR", "numéro de sécurité sociale")),
    "ES DNI": (valid(like("????????^", "X???????^"), check_digits.es_dni), ("DNI", "NIE")),
    "IT codice fiscale": (valid(_FISCAL, check_digits.it_fiscal_code), ("codice fiscale",)),
    "NL BSN": (valid(like("?????????"), check_digits.nl_bsn), ("BSN", "burgerservicenummer")),
    "BR CPF": (valid(like("???.???.???-??"), check_digits.br_cpf), ("CPF",)),
    "BR CNPJ": (valid(like("??.???.???/????-??"), check_digits.br_cnpj), ("CNPJ",)),
    "IN Aadhaar": (valid(like("#??? ???? ????"), check_digits.in_aadhaar), ("Aadhaar", "Aadhaar number")),
    "CN resident id": (valid(_CN, check_digits.cn_resident_id), ("身份证", "id card")),
    "AWS key": (token("AKIA", 16, _CAPITALS), ("key",)),
    "GitHub token": (token("ghp_", 36), ("token",)),
    "Google key": (token("AIza", 35), ("key",)),
    "Slack token": (token("xoxb-", 40), ("token",)),
    "Stripe key": (token("sk_live_", 24), ("key",)),
    "OpenAI-like key": (token("sk-proj-", 48), ("key",)),
    "JWT": (filled(among("{a}.{b}.{c}"), a=token("eyJ", 30), b=token("eyJ", 60), c=token("", 43)), ("token",)),
    "password": (token("", 12, string.ascii_letters + string.digits + "!?+#"), ("password =", "PASSWORD:")),
}  # fmt: skip
# Forms that mean nothing without a word: they are planted with one only.
_NEEDS_A_WORD = ("NL BSN", "IN Aadhaar", "DE tax id", "password", "ES DNI", "US SSN", "UK NINO")
DECOYS: dict[str, Make] = {
    "card, Luhn wrong": valid(like("4??? ???? ???? ????"), check_digits.luhn, right=False),
    "IBAN, check wrong": valid(_IBAN, check_digits.iban, right=False),
    "CPF, check wrong": valid(like("???.???.???-??"), check_digits.br_cpf, right=False),
    "resident id, check wrong": valid(_CN, check_digits.cn_resident_id, right=False),
    "Aadhaar, check wrong": filled(
        among("Aadhaar {n}"), n=valid(like("#??? ???? ????"), check_digits.in_aadhaar, right=False)
    ),
    "version": like("version 3.1?.0.2?", "v1.?.1?.?", "libfoo-2.1?.?.4.tar.gz", "pip install foo==1.?.?.1?",
        "5.1?.0.?"),
    "version, large numbers": filled(among("version {ip}", "v{ip}", "foo-{ip}.zip", "firmware {ip}"), ip=_IP),
    "private or example IP": like("address 10.9.7.?", "host 192.168.4.#", "192.0.2.#?", "server 203.0.113.#",
        "2001:db8::****"),
    "ISBN": like("ISBN 978-#-16-??????-?", "978?????????#", "ISBN-10: #-?????-???-?"),
    "date and time": filled(among("{y}-{m}-{d} 17:42:07", "{y}{m}{d}123059", "{y}-{m}-{d}T17:42:07.123456Z"), **_DAY),
    "date": filled(among("{d}.{m}.{y}", "{d}/{m}/{y}", "{y}/{m}/{d}", "{y} - {m} - {d}"), **_DAY),
    "price": like("$#,???.00", "#.???.??? €", "USD 1# ??? ???", "EUR 1.#??.???,00", "¥#??????"),
    "arXiv id, DOI": like("arXiv:2#01.?????", "doi:10.1000/j.#???.??.???", "https://doi.org/10.1038/s?????-020-????-?"),
    "part number": like("part no. 425-#73-????", "model 312-#73-????", "P/N ????-????-??", "SKU 1#??????????",
        "item 030 #??????"),
    "other long numbers": like(
        "id=#??????????????#", "0.#??????????????#", "uid 1#?????????", "GTIN 4????????????",
            "https://a.org/p/4???????????????",
        "52.5??????, 13.4??????", "+100 000 0?0 people", "1990 1991 1992 1993 199?",
    ),
    "example address": filled(
        among("{n}@example.com", "{n}@mail.example.org", "{n}@localhost", "{n}@2x.png", "@{n}",
            "git@github.com:{n}/x.git"), n=_NAME
    ),
    "example number": like(
        "phone +1 212-555-01??", "call (312) 555-01??", "phone 020 7946 00??", "card 4111 1111 1111 1111",
            "DE89 3704 0044 0532 0130 00"
    ),
    "code": among(
        "password = None", "password=getpass()", "token: str = None", "api_key = os.environ['KEY']",
            "secret: ${SECRET_VALUE}",
        "sk-fading-circle-animation-name", "password: your_password1", "AKIAIOSFODNN7EXAMPLE", "std::vector<a::b>",
    ),
    "hash, UUID": like("*" * 40, "********-****-4***-a***-************"),
}  # fmt: skip
_SAID = (
    "Her {word} is {item}, as the clerk noted.",
    "Please use {word}: {item}",
    "{word} {item}. Nothing else was on the page.",
    "On the form ({word} {item}) the date was missing.",
)
_BARE = ("The page said {item}, and nothing else.", "{item}", "He wrote {item} on the back of the envelope.")


def sentences(seed: int, each: int) -> Iterator[Planted]:
    """`each` sentences of every form, with a word that says what the item is, without one, and with decoys."""
    draw = random.Random(seed)
    for form, (make, words) in ITEMS.items():
        for bare in (False,) if form in _NEEDS_A_WORD else (False, True):
            for _ in range(each):
                template = "{word} {item}" if form == "password" else draw.choice(_BARE if bare else _SAID)
                item, before = make(draw), template.replace("{word}", draw.choice(words)).partition("{item}")
                start = len(before[0])
                yield f"{form}, bare" if bare else form, before[0] + item + before[2], (start, start + len(item))
    for form, make in DECOYS.items():
        for _ in range(each):
            yield form, draw.choice(_BARE).replace("{item}", make(draw)), None
