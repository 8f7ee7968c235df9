"""Reads QAMR: many short questions about each of some sentences, their answers marked in it.

Michael, Stanovsky, He, Dagan and Zettlemoyer, "Crowdsourcing Question-Answer Meaning Representations" (NAACL 2018).
The set (MIT) is two kinds of file: `filtered/*.tsv` with a question a row, and one with the sentences, in Penn Treebank
tokens, beside it or one folder up.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tiers.errors import SourceError

SENTENCES = "wiki-sentences.tsv"
QUESTIONS_OF_A_SENTENCE = 16
_BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}", "``": "“", "''": "”"}
_CLOSING = re.compile(r"(?:[.,:;!?%)\]}”]+|n't|'(?:s|S|re|ve|ll|d|m)?)$")
_OPENING = frozenset("([{“$£€#")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A row for each sentence: its text, and under `qas` question and answer of at most `QUESTIONS_OF_A_SENTENCE`.

    Of the questions with the same answer the first is kept, and only those where both validators marked some of the
    answer's tokens, and these stand together.

    Raises:
        SourceError: when a file is missing or a row isn't of the form, with its line.
    """
    sentences = dict(_fields(_sentences_of(path), 2))
    rows: dict[str, dict[str, Any]] = {}
    answers: dict[str, set[str]] = {}
    for number, fields in enumerate(_fields(path, 9), 1):
        try:
            tokens = sentences[fields[0]].split()
            question, marked, *validated = fields[5], *([int(i) for i in _marked(field)] for field in fields[6:9])
            span = joined(tokens, marked[0], marked[-1] + 1)
        except (KeyError, ValueError, IndexError) as error:
            raise SourceError(
                "a row isn't of the form qamr", where=f"{path}, line {number}", got=f"{type(error).__name__}: {error}"
            ) from error
        row = rows.setdefault(fields[0], {"text": joined(tokens, 0, len(tokens)), "qas": []})
        known = answers.setdefault(fields[0], set())
        together = marked == list(range(marked[0], marked[-1] + 1))
        agreed = all(set(marked) & set(other) for other in validated)
        if together and agreed and span.lower() not in known and len(row["qas"]) < QUESTIONS_OF_A_SENTENCE:
            known.add(span.lower())
            row["qas"].append({"question": question.strip(), "answer": span})
    return list(rows.values())


def joined(tokens: list[str], begin: int, end: int) -> str:
    """Some tokens of a sentence as one would write them.

    Raises:
        IndexError: there are no such tokens.
    """
    if not 0 <= begin < end <= len(tokens):
        raise IndexError(f"the sentence has no token {end - 1}")
    text, glued, quoted = "", True, False
    for token in tokens[begin:end]:
        written = _BRACKETS.get(token, token)
        if written == '"':
            written, quoted = "”" if quoted else "“", not quoted
        text += written if glued or _CLOSING.match(written) else f" {written}"
        glued = written in _OPENING
    return text


def _marked(field: str) -> list[str]:
    """Token numbers, behind a validator's number and a colon where there is one."""
    return field.rpartition(":")[2].split()


def _sentences_of(path: Path) -> Path:
    for folder in (path.parent, path.parent.parent):
        if (folder / SENTENCES).is_file():
            return folder / SENTENCES
    raise SourceError("the sentences of a QAMR set are missing", where=str(path), expected=f"{SENTENCES} beside it")


def _fields(path: Path, count: int) -> list[list[str]]:
    """The rows of a file of tab-separated values."""
    if not path.is_file():
        raise SourceError("a data file is missing", where=str(path), hint="Give its folder in the recipe's `data`")
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != count:
            raise SourceError(
                "a row isn't of the form qamr", where=f"{path}, line {number}", got=len(row), expected=count
            )
    return rows
