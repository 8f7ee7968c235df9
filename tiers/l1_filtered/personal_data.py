"""The stage that replaces personal data and credentials by what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tiers.document import DOCUMENT, add_column
from tiers.l1_filtered.personal.addresses import emails, ip_addresses, mac_addresses
from tiers.l1_filtered.personal.credentials import credentials
from tiers.l1_filtered.personal.finding import Finding, Kind
from tiers.l1_filtered.personal.numbers import numbers
from tiers.stage import Context, Outcome, Stage, fates

COUNT = pa.field("quality.personal_data", pa.int32(), nullable=False)


class Reason(StrEnum):
    """What was replaced in a document."""

    SECRET = "personal_data.secret"
    EMAIL = "personal_data.email"
    IBAN = "personal_data.iban"
    CARD = "personal_data.card"
    NATIONAL_ID = "personal_data.national_id"
    IP = "personal_data.ip"
    PHONE = "personal_data.phone"
    MAC = "personal_data.mac"


class PersonalData(Stage):
    """Replaces personal data in text and title by `[EMAIL]`, `[PHONE]`, `[CARD]` and so on, and keeps every document.

    The placeholders stand in square brackets: in angle ones they would be tags to whatever reads the text as HTML, in
    curly ones quality rules take them for code. A placeholder is never replaced again.

    - `email`, also spelt out with (at); `ip`, global IPv4 and IPv6 addresses; `mac`, only on demand.
    - `phone`: international ones by their calling code, (212) 736-5000, and others after a word such as "phone".
    - `card`: issuer's range, length and Luhn sum. `iban`: country's length and check digits.
    - `national_id`: US SSN, UK NINO, German tax id, French NIR, Spanish DNI and NIE, Italian codice fiscale, Dutch BSN,
      Brazilian CPF and CNPJ, Aadhaar, Chinese resident id; with check digits where they have them, beside a word that
      names them where their form alone says little.
    - `secret`: keys and tokens in their issuers' forms, private keys, values of `password = …`.

    Addresses and numbers that are set aside for examples stay. Ledger and errors hold kinds and counts, never a value.

    Attributes:
        kinds: What to replace.
    """

    name: ClassVar[str] = "personal_data"
    gives: ClassVar[tuple[pa.Field, ...]] = (COUNT,)

    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = tuple(kind for kind in Kind if kind is not Kind.MAC)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The function that replaces in a table; `quality.personal_data` counts what it replaced in each row."""
        kinds = frozenset(self.kinds)

        def apply(table: pa.Table) -> Outcome:
            kept = table
            found: list[list[Finding]] = [[] for _ in range(table.num_rows)]
            for name in ("text", "title"):
                values = table[name].to_pylist()
                for row, likely in suspects(table[name], kinds).items():
                    findings = find_personal_data(values[row], likely)
                    if findings:
                        values[row] = replace(values[row], findings)
                        found[row] += findings
                kept = add_column(kept, DOCUMENT.field(name), values)
            kept = add_column(kept, COUNT, [len(findings) for findings in found])
            rows = zip(table["id"].to_pylist(), found, strict=True)
            return Outcome(kept, noted=fates(note for row_id, findings in rows for note in _notes(row_id, findings)))

        return apply


# What a text must hold for the finders to find anything; RE2 reads a whole column for it in one pass.
_CLUES: tuple[tuple[frozenset[Kind], str], ...] = (
    (frozenset({Kind.EMAIL}), r"@|[\[({] ?(?:at|AT|At|ät) ?[\])}]"),
    (
        frozenset({Kind.CARD, Kind.IBAN, Kind.NATIONAL_ID, Kind.PHONE}),
        r"[0-9](?:[ \x{a0}\x{202f}./()\x{2010}-\x{2013}-]{0,3}[0-9]){6}|[A-Z]{2} ?[0-9]{2}",
    ),
    (frozenset({Kind.IP}), r"[0-9](?:\.[0-9]{1,3}){3}|[23][0-9a-fA-F]{3}:[0-9a-fA-F]{0,4}:"),
    (frozenset({Kind.MAC}), r"[0-9a-fA-F]{2}[:-][0-9a-fA-F]{2}[:-]"),
    (
        frozenset({Kind.SECRET}),
        r"A[KS]IA|gh[pousr]_|github_pat_|glpat-|AIza|ya29\.|xox|hooks\.slack\.com|_(?:live|test)_|sk-|hf_|npm_|SG\.|eyJ|"
        r"PRIVATE KEY-----|://[^\s/@]*@|(?i:password|passwd|pwd|passphrase|secret|api[_-]?key|access_key|token)"
        r"[0-9A-Za-z_-]{0,24}[\"']?[ \t]{0,3}[:=]",
    ),
)


def suspects(texts: pa.ChunkedArray, kinds: frozenset[Kind]) -> dict[int, frozenset[Kind]]:
    """The rows that are worth searching, each with the kinds that it may hold; what isn't named holds nothing."""
    likely: dict[int, frozenset[Kind]] = {}
    for members, clue in _CLUES:
        wanted = members & kinds
        if wanted:
            hits = pc.fill_null(pc.match_substring_regex(texts, clue), False).to_numpy()
            for row in np.flatnonzero(hits).tolist():
                likely[row] = likely.get(row, frozenset()) | wanted
    return likely


def find_personal_data(text: str, kinds: frozenset[Kind]) -> list[Finding]:
    """What is found of `kinds`, in order and without overlaps; where finders disagree, the earlier kind has it."""
    found = sorted(finding for finding in _candidates(text, kinds) if finding.kind in kinds)
    rank = {kind: number for number, kind in enumerate(Kind)}
    apart: list[Finding] = []
    for finding in found:
        if apart and finding.start < apart[-1].end:
            if rank[finding.kind] < rank[apart[-1].kind]:
                apart[-1] = finding
            continue
        apart.append(finding)
    return apart


def _candidates(text: str, kinds: frozenset[Kind]) -> Iterator[Finding]:
    if Kind.SECRET in kinds:
        yield from credentials(text)
    if Kind.EMAIL in kinds:
        yield from emails(text)
    if kinds & {Kind.CARD, Kind.IBAN, Kind.NATIONAL_ID, Kind.PHONE}:
        yield from numbers(text)
    if Kind.IP in kinds:
        yield from ip_addresses(text)
    if Kind.MAC in kinds:
        yield from mac_addresses(text)


def replace(text: str, findings: Iterable[Finding]) -> str:
    """`text` with each finding replaced by its kind in square brackets."""
    parts, at = [], 0
    for finding in findings:
        parts += [text[at : finding.start], f"[{finding.kind.upper()}]"]
        at = finding.end
    return "".join([*parts, text[at:]])


def _notes(row_id: str, findings: list[Finding]) -> Iterator[tuple[str, str, str]]:
    """One line for each kind in a document, with the count of each form."""
    forms: dict[Kind, Counter[str]] = {}
    for finding in findings:
        forms.setdefault(finding.kind, Counter())[finding.form] += 1
    for kind in sorted(forms):
        yield (
            row_id,
            Reason(f"personal_data.{kind}").value,
            ", ".join(f"{n} {form}" for form, n in sorted(forms[kind].items())),
        )
