"""Alarms where duplicates take away more of a source than anybody would want unseen.

Near-duplicate removal has reduced a source of 859,092 documents to 2 without a word, since they shared a long template.
Whether that is right only a person can say; so it is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from tiers.stage import Fetch

FEWEST = 100
"""Fewer lost documents than this raise no alarm."""
_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>[^/?#:]+)"


def sources(table: pa.Table) -> pa.Array:
    """The host of each document's url or else, of its source, the file."""
    hosts = pc.utf8_lower(pc.struct_field(pc.extract_regex(table["url"], _HOST), "host"))
    return pc.coalesce(hosts, pc.replace_substring_regex(table["source"], r"#[^#]*$", ""))


def loss_alarms(
    fetch: Fetch, gone: pa.ChunkedArray, kept: Iterable[str], max_source_loss: float, max_copies: float
) -> list[str]:
    """What raises an alarm, in words.

    Args:
        fetch: Gives documents by row.
        gone: The rows of the documents that are dropped, ascending.
        kept: For each of them the id of the document that is kept in its stead.
        max_source_loss: The share of its documents that a source may lose.
        max_copies: The share of all documents that one document may replace.
    """
    if len(gone) < FEWEST:
        return []
    lost = _count(fetch(gone.to_numpy(), ["source", "url"]))
    total = _count(fetch(None, ["source", "url"]))
    alarms = [
        f"{source} loses {count:,} of {total[source]:,} documents, more than {max_source_loss:g} of them"
        for source, count in sorted(lost.items())
        if count >= FEWEST and count > max_source_loss * total[source]
    ]
    most = max_copies * total.total()
    return alarms + [
        f"{keeper} takes the place of {count:,} documents, more than {max_copies:g} of all"
        for keeper, count in sorted(Counter(kept).items())
        if count >= FEWEST and count > most
    ]


def _count(tables: Iterator[pa.Table]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for table in tables:
        for row in pc.value_counts(sources(table)).to_pylist():
            counts[row["values"]] += row["counts"]
    return counts
