"""One case of fuzzing an archive: a harmed record among whole ones, and what must hold of its reading."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.mutations import MUTATIONS
from tests.tiers.l0_raw.archives import Read, members, one_member, plain
from tiers.l0_raw import FORMATS, WHOLE
from tiers.l0_raw.records import Grammar, Record, records

LAYOUTS: dict[str, Callable[[list[bytes]], bytes]] = {
    "plain": plain,
    "members": members,
    "member harmed": plain,
    "one member": one_member,
}


@dataclass(frozen=True, repr=False)
class Material:
    """Records of real archives of one format, and those among them that are kept, with their content."""

    form: str
    records: Sequence[bytes]
    kept: Sequence[tuple[bytes, bytes]]


def material(form: str, grammar: Grammar, archives: Sequence[bytes], max_bytes: int = 60_000) -> Material:
    """Takes archives apart into records of at most `max_bytes`."""
    parts: dict[bytes, None] = {}
    for data in archives:
        for found in records(io.BytesIO(data), grammar, max_bytes, WHOLE):
            if isinstance(found, Record) and found.head.length <= max_bytes:
                whole = found.data[: found.head.size + found.head.length]
                parts[whole + grammar.terminator] = None
    kept = [(part, read.contents[0]) for part in parts if (read := Read(FORMATS[form].read, part)).kept]
    return Material(form, list(parts), kept)


def check_case(materials: Sequence[Material], number: int) -> str:
    """Runs the case of this number; gives a name for its kind.

    Raises:
        AssertionError: a row is lost or doubled, or a whole record beside the harmed one isn't kept as it was.
    """
    kind, form, data, neighbours = make_case(materials, number)
    read = Read(FORMATS[form].read, data)
    assert len(read.fates) == len({row for row, _ in read.fates}), f"{kind}: an id is there twice"
    contents = list(read.contents)
    for neighbour in neighbours:
        assert neighbour in contents, f"{kind}: a whole neighbour was lost"
        contents.remove(neighbour)
    return kind


def make_case(materials: Sequence[Material], number: int) -> tuple[str, str, bytes, list[bytes]]:
    """(name of its kind, format, the archive, the contents that must be found in it) of the case of this number."""
    chance = random.Random(number)
    of = chance.choice(materials)
    mutation = chance.choice(MUTATIONS)
    layout = chance.choice(list(LAYOUTS))
    neighbours = [chance.choice(of.kept) for _ in range(3)]
    harmed, (before, *after) = chance.choice(of.records), (record for record, _ in neighbours)
    if layout == "member harmed":
        before, harmed, *after = (gzip.compress(part, 6, mtime=0) for part in (before, harmed, *after))
    data = LAYOUTS[layout]([before, mutation(harmed, chance), *after])
    return f"{of.form}, {layout}, {mutation.__name__}", of.form, data, [content for _, content in neighbours]
