"""Check digits of cards, accounts and national numbers. Every function takes the number without separators."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date


def luhn(digits: str) -> bool:
    """The Luhn sum (ISO/IEC 7812-1, annex B) is a multiple of ten."""
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(sum(divmod(2 * value, 10)) for value in values[1::2])) % 10 == 0


def verhoeff(digits: str) -> bool:
    """The last digit is that of Verhoeff's method (1969), a product in the dihedral group of ten elements."""
    check = 0
    for at, digit in enumerate(reversed(digits)):
        check = _DIHEDRAL[check][_PERMUTED[at % 8][int(digit)]]
    return check == 0


def _dihedral(a: int, b: int) -> int:
    turned = (a + b) % 5 if a < 5 else (a - b) % 5
    return turned + 5 * ((a < 5) != (b < 5))


def _permutations() -> list[list[int]]:
    rows, step = [list(range(10))], (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    while len(rows) < 8:
        rows.append([step[value] for value in rows[-1]])
    return rows


_DIHEDRAL = [[_dihedral(a, b) for b in range(10)] for a in range(10)]
_PERMUTED = _permutations()


def mod_11_10(digits: str) -> bool:
    """The last digit is that of ISO/IEC 7064, MOD 11,10."""
    product = 10
    for digit in digits[:-1]:
        product = 2 * ((product + int(digit)) % 10 or 10) % 11
    return (product + int(digits[-1])) % 10 == 1


def weighted(digits: str, weights: Sequence[int]) -> int:
    """The sum of the digits, each times its weight."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


# Ranges of issuers' numbers (ISO/IEC 7812 registry), and the lengths of their cards.
_ISSUERS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("4", "4", (16, 19)),
    ("51", "55", (16,)),
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),
    ("37", "37", (15,)),
    ("300", "305", (14,)),
    ("36", "36", (14,)),
    ("38", "39", (14,)),
    ("3528", "3589", (16, 17, 18, 19)),
    ("6011", "6011", (16, 19)),
    ("644", "659", (16, 19)),
    ("62", "62", (16, 17, 18, 19)),
    ("2200", "2204", (16,)),
    ("5018", "5018", (16, 18, 19)),
    ("5020", "5020", (16, 18, 19)),
    ("5038", "5038", (16, 18, 19)),
    ("6759", "6763", (16, 18, 19)),
)


def payment_card(digits: str) -> bool:
    """A known issuer's range, a length that it uses, and the Luhn sum."""
    known = any(first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _ISSUERS)
    return known and luhn(digits)


# Lengths after the SWIFT IBAN registry, release 99.
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA",
        30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def iban(code: str) -> bool:
    """The country's length, and a remainder of one (ISO 13616; ISO/IEC 7064, MOD 97-10)."""
    return (
        _IBAN_LENGTHS.get(code[:2]) == len(code)
        and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1
    )


def us_ssn(digits: str) -> bool:
    """Areas 000, 666 and 900 to 999, group 00 and serial 0000 aren't given out (SSA, since 2011)."""
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def uk_nino(code: str) -> bool:
    """Letters that HMRC gives out (National Insurance Manual NIM39110)."""
    first, second = code[0], code[1]
    return (
        first not in "DFIQUV" and second not in "DFIOQUV" and code[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}
    )


def de_tax_id(digits: str) -> bool:
    """One digit of the first ten stands there two or three times, the others once at most (BZSt); MOD 11,10."""
    counts = sorted((digits[:10].count(digit) for digit in set(digits[:10])), reverse=True)
    return digits[0] != "0" and counts[0] in (2, 3) and counts[1] == 1 and mod_11_10(digits)


def fr_nir(code: str) -> bool:
    """Sex, month and key, 97 less the rest of a division by 97 (INSEE); 2A and 2B are the departments of Corsica."""
    number = code[:13].replace("2A", "19").replace("2B", "18")
    month = int(code[3:5])
    return (1 <= month <= 12 or 20 <= month <= 42 or month >= 50) and 97 - int(number) % 97 == int(code[13:])


_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"


def es_dni(code: str) -> bool:
    """The letter follows from the number by its rest of a division by 23; X, Y and Z of foreigners count as 0, 1, 2."""
    return code[-1] == _DNI[int(code[:-1].translate(str.maketrans("XYZ", "012"))) % 23]


_ODD = dict(
    zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10,
        22, 25, 24, 23,
    ), strict=True)
)  # fmt: skip


def it_fiscal_code(code: str) -> bool:
    """The last letter (Ministry of Finance, decree of 23 December 1976)."""
    odd = sum(_ODD[character] for character in code[:15:2])
    even = sum(int(character) if character.isdigit() else ord(character) - 65 for character in code[1:15:2])
    return chr(65 + (odd + even) % 26) == code[15]


def nl_bsn(digits: str) -> bool:
    """The eleven test: weights 9 to 2 and −1."""
    return len(set(digits)) > 1 and weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def _two_check_digits(digits: str, weights: tuple[int, ...]) -> bool:
    size = len(digits) - 2
    first = -weighted(digits[:size], weights[1:]) % 11 % 10
    second = -weighted(digits[: size + 1], weights) % 11 % 10
    # What is left of 11 − rest counts as 0 where it is 10.
    return len(set(digits)) > 1 and digits[size:] == f"{first}{second}"


def br_cpf(digits: str) -> bool:
    """Two check digits modulo 11, weights from 11 and 10 down (Receita Federal)."""
    return _two_check_digits(digits, tuple(range(11, 1, -1)))


def br_cnpj(digits: str) -> bool:
    """Two check digits modulo 11, weights 2 to 9 in turn from the right (Receita Federal)."""
    return _two_check_digits(digits, (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2))


def in_aadhaar(digits: str) -> bool:
    """Doesn't begin with 0 or 1; Verhoeff (UIDAI)."""
    return digits[0] not in "01" and verhoeff(digits)


def cn_resident_id(code: str) -> bool:
    """A province, a date of birth, and ISO/IEC 7064, MOD 11-2 (GB 11643-1999)."""
    try:
        date(int(code[6:10]), int(code[10:12]), int(code[12:14]))
    except ValueError:
        return False
    weights = [2**power % 11 for power in range(17, 0, -1)]
    known = re.match("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]", code) is not None
    return known and "1800" <= code[6:10] <= "2199" and "10X98765432"[weighted(code, weights) % 11] == code[-1]


Check = Callable[[str], bool]
