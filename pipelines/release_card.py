"""The card of a released tier: Markdown with the front matter that the Hugging Face hub reads.

Every figure comes from the run's manifests and commit records, or was counted while the rows were written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.artifact import Written
from pipelines.recipe import STAGES
from pipelines.spending import SPENDING_HEADS, spending_row
from pipelines.terms import TIER_MEANINGS, seconds, share, size_of, tier_label
from tiers.l3_edited.synthesis.products import FAMILY
from tiers.llm.spending import Spent

if TYPE_CHECKING:
    from pipelines.release import Contents

HUB_LICENSES = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc0-1.0
    cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
    cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0
    isc lgpl lgpl-2.1 lgpl-3.0 mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 osl-3.0 pddl postgresql unlicense wtfpl zlib
    """.split()
)
"""The identifiers that the hub's cards know; SPDX identifiers in lower case, with few exceptions."""

SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")

COLUMNS = {
    "id": "Identity of the document: xxh3-128 of its source, as 32 hex digits",
    "text": "The text",
    "source": "Where it was read: file and offset",
    "url": "Address of the page, where the input says so",
    "title": "Title",
    "lang": "Language, as an ISO 639 code",
    "license": "Licence, as an SPDX identifier where the input says so",
    "media": "Images and other media that belong to it",
    "parents": "Ids of the rows it was made from; empty for a document as it was read",
    "meta": "Other facts from the input, as keys and values",
}

MOST_LISTED = 20


def render_card(
    tier: str,
    status: Mapping[str, Any],
    lineage: Mapping[str, Any],
    contents: Contents,
    files: Mapping[str, Written],
) -> str:
    """The card as Markdown.

    Args:
        tier: The tier that is released.
        status: What `run_status` says of the run.
        lineage: What lineage.json says.
        contents: What the rows hold.
        files: The Parquet files.
    """
    names = [part["tier"] for part in lineage["tiers"]]
    tiers = [found for found in status["tiers"] if found["tier"] in names]
    sections = [
        _front_matter(tier, lineage, contents),
        _opening(tier, lineage, tiers[-1], files),
        _funnel(tiers),
        _losses(tiers),
        _columns(lineage, contents),
        _counts("Licences", "licence", contents.licenses, contents.rows),
        _counts("Languages", "language", contents.languages, contents.rows),
        *([_synthetic(contents)] if FAMILY.name in contents.schema.names else []),
        _steps(lineage),
        _inputs(lineage),
        _cost(tiers, [Spent(**account) for account in status["spent"]]),
        _checks(),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(tier: str, lineage: Mapping[str, Any], contents: Contents) -> str:
    found: dict[str, Any] = {"pretty_name": f"{lineage['recipe']} {tier_label(tier)}"}
    found |= _hub_licenses(contents.licenses)
    languages = sorted(code for code in contents.languages if code and re.fullmatch(r"[a-z]{2,3}", code))
    if languages:
        found["language"] = languages
    found["size_categories"] = [_size(contents.rows)]
    found["tags"] = ["tierline", f"tier-{tier.lower()}"]
    data = {"split": "train", "path": "data/train-*.parquet"}
    found["configs"] = [{"config_name": "default", "data_files": [data]}]
    return f"---\n{yaml.safe_dump(found, sort_keys=False, allow_unicode=True)}---"


def _size(rows: int) -> str:
    """The hub's name for the order of magnitude: `n<1K`, `1K<n<10K` … `n>1T`."""
    place = len(str(rows)) - 3
    if place <= 0:
        return f"n<{SIZES[0]}"
    return f"{SIZES[place - 1]}<n<{SIZES[place]}" if place < len(SIZES) else f"n>{SIZES[-1]}"


def _hub_licenses(licenses: Counter[str | None]) -> dict[str, Any]:
    """The front matter's licence: what rows say, `other` for names that the hub does not know, and `unknown`."""
    names = sorted(name for name in licenses if name)
    known = sorted({_hub_license(name) for name in names} | ({"unknown"} if not names or None in licenses else set()))
    found: dict[str, Any] = {"license": known[0] if len(known) == 1 else known}
    others = [name for name in names if _hub_license(name) == "other"]
    if others:
        found["license_name"] = ", ".join(others[:MOST_LISTED])
    return found


def _hub_license(name: str) -> str:
    plain = re.sub(r"-(only|or-later)$", "", name.strip().lower())
    for short in ("gfdl", "odc-by", "odbl", "pddl"):
        plain = short if plain.startswith(f"{short}-") else plain
    return plain if plain in HUB_LICENSES else "other"


def _opening(tier: str, lineage: Mapping[str, Any], counts: Mapping[str, Any], files: Mapping[str, Written]) -> str:
    parquet = {name: file for name, file in files.items() if name.endswith(".parquet")}
    size = size_of(sum(file.bytes for file in parquet.values()))
    return f"""# {lineage["recipe"]}: {tier_label(tier)}

{TIER_MEANINGS[tier]}

{counts["rows"]:,} rows, {counts["tokens"]:,} tokens, {size} in {_plural(len(parquet), "Parquet file")}.
A token is a word, a Han character or a punctuation mark; a subword tokenizer counts about 1.3 times as many in English
prose.

```python
from datasets import load_dataset

rows = load_dataset("path/to/this/folder", split="train")
```"""


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _funnel(tiers: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            tier_label(found["tier"]),
            f"{found['rows_in']:,}",
            f"{sum(found['dropped'].values()):,}",
            f"{sum(found['failed'].values()):,}",
            f"{found['rows']:,}",
            f"{found['tokens']:,}",
        )
        for found in tiers
    ]
    heads = ("tier", "rows in", "dropped", "quarantined", "rows out", "tokens out")
    table = "## From the inputs to here\n\n" + _table(heads, rows)
    makes = any(
        stage["made"] or stage["rows_out"] != stage["kept"]
        for found in tiers
        for step in found["steps"]
        for stage in step["stages"]
    )
    return f"{table}\n\nWhere a stage makes several rows of one, more rows come out than went in." if makes else table


def _losses(tiers: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (found["tier"], _code(reason), fate, f"{number:,}", share(number, found["rows_in"]))
        for found in tiers
        for fate, key in (("dropped", "dropped"), ("quarantined", "failed"))
        for reason, number in found[key].items()
    ]
    table = _table(("tier", "reason", "fate", "rows", "of the tier's rows in"), rows) if rows else "No row left."
    return (
        "## Why rows left\n\n"
        "`dropped`: a rule removed the row. `quarantined`: the row could not be processed. The run's ledger has the\n"
        f"measured figure and the threshold of each.\n\n{table}"
    )


def _columns(lineage: Mapping[str, Any], contents: Contents) -> str:
    givers = dict(_givers(lineage))
    rows = [
        (_code(column.name), _code(_type_name(column.type)), COLUMNS.get(column.name) or givers.get(column.name, ""))
        for column in contents.schema
    ]
    return f"## Columns\n\nSchema `{lineage['schema']}`.\n\n" + _table(("column", "type", "what it holds"), rows)


def _type_name(kind: Any) -> str:
    name = re.sub(r"\b(item|element): ", "", str(kind).replace(" not null", ""))
    return re.sub(r"^map<(.*?)( \('.*'\))?>$", r"list<struct<key, value>>", name)


def _givers(lineage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for part in lineage["tiers"]:
        used = {stage["stage"] for step in part["steps"] for stage in step["stages"]}
        for stage in STAGES.get(part["tier"], ()):
            if stage.name in used:
                yield from ((column.name, f"Added by the stage `{stage.name}`") for column in stage.gives)


def _counts(heading: str, noun: str, counter: Counter[str | None], whole: int) -> str:
    order = sorted(counter.items(), key=lambda item: (-item[1], item[0] or ""))
    rows = [
        (_code(name) if name else "unknown", f"{number:,}", share(number, whole))
        for name, number in order[:MOST_LISTED]
    ]
    rest = sum(number for _, number in order[MOST_LISTED:])
    if rest:
        rows.append((f"{len(order) - MOST_LISTED} others", f"{rest:,}", share(rest, whole)))
    said = "As the inputs say it of each row" if heading == "Licences" else "As it was found for each row"
    return f"## {heading}\n\n{said}; `unknown` where nothing does.\n\n" + _table((noun, "rows", "share"), rows)


def _synthetic(contents: Contents) -> str:
    rows = [
        (f"written by a model: {_code(name)}" if name else "documents", f"{number:,}", share(number, contents.rows))
        for name, number in sorted(contents.families.items(), key=lambda item: (item[0] or "", item[1]))
    ]
    said = f"The column `{FAMILY.name}` tells what a language model wrote, and what of; it is null for documents."
    return f"## Documents and synthetic rows\n\n{said}\n\n" + _table(("rows", "number", "share"), rows)


def _steps(lineage: Mapping[str, Any]) -> str:
    rows = [
        (
            _code(step["step"]),
            _code(stage["stage"]),
            f"{stage['rows_in']:,}",
            f"{stage['made']:,}",
            f"{sum(stage['dropped'].values()):,}",
            f"{sum(stage['failed'].values()):,}",
            f"{stage['rows_out']:,}",
        )
        for part in lineage["tiers"]
        for step in part["steps"]
        for stage in step["counts"]
    ]
    prints = [(part["tier"], _code(part["fingerprint"])) for part in lineage["tiers"]]
    return "\n\n".join(
        [
            "## Lineage",
            f"Recipe `{lineage['recipe']}`. Every parameter of every stage is in `lineage.json`.",
            _table(("step", "stage", "rows in", "made", "dropped", "quarantined", "rows out"), rows),
            "Equal fingerprints mean equal inputs, stages and parameters, and so equal rows:",
            _table(("tier", "fingerprint"), prints),
        ]
    )


def _inputs(lineage: Mapping[str, Any]) -> str:
    inputs = lineage["inputs"]
    rows = [
        (_code(file["uri"]), file["format"], f"{file['bytes']:,}", _code(file["digest"]), _plain(file["license"] or ""))
        for file in inputs[:MOST_LISTED]
    ]
    more = f"\n\n{len(inputs) - MOST_LISTED:,} more are in `lineage.json`." if len(inputs) > MOST_LISTED else ""
    heads = ("file", "format", "bytes", "digest (xxh3-128)", "licence given")
    return f"### Inputs\n\n{_table(heads, rows)}{more}"


def _cost(tiers: Sequence[Mapping[str, Any]], spent: Iterable[Spent]) -> str:
    names = {found["tier"] for found in tiers}
    paid = [spending_row(account) for account in spent if account.stage.partition("/")[0] in names]
    told = [
        "## What it cost",
        _table(("tier", "CPU time"), [(found["tier"], seconds(found["cpu_seconds"])) for found in tiers]),
    ]
    if paid:
        rows = [tuple(map(_plain, row)) for row in paid]
        told += ["Asked of language models, for work that was lost too:", _table(SPENDING_HEADS, rows)]
    return "\n\n".join(told)


def _checks() -> str:
    return "## Checking it\n\n`sha256sum -c SHA256SUMS` checks every file."


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns whose every cell is a figure are to the right."""
    rows = list(rows)
    figures = [all(re.fullmatch(r"[\d.,]+( (%|s|ms|min|h))?|–", row[n]) for row in rows) for n in range(len(heads))]
    rule = ["---:" if rows and figure else "---" for figure in figures]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def _plain(text: str) -> str:
    """Text from outside as one cell of a table that cannot end it."""
    return re.sub(r"[\s`|<>\[\]\\]+", " ", text).strip()[:120]


def _code(text: str) -> str:
    """Text from outside as code in a cell."""
    safe = re.sub(r"[\s`|]+", " ", text).strip()[:200]
    return f"`{safe}`" if safe else "(empty)"
