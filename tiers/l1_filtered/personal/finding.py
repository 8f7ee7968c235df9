"""What a finder gives."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

WORD = r"0-9A-Za-z_\u00c0-\u0dff\u10a0-\u1fff"
"""Letters and digits of scripts that part words with spaces, for sets in patterns: 电话 may stand right before one."""


class Kind(StrEnum):
    """The kinds of personal data."""

    SECRET = "secret"
    EMAIL = "email"
    IBAN = "iban"
    CARD = "card"
    NATIONAL_ID = "national_id"
    IP = "ip"
    PHONE = "phone"
    MAC = "mac"


class Finding(NamedTuple):
    """A place in a text.

    Attributes:
        start, end: Characters, the end excluded.
        kind: What stands there.
        form: Which form of it, such as `us_ssn`.
    """

    start: int
    end: int
    kind: Kind
    form: str
