"""The report as one HTML page that needs nothing beside itself: no script, no font, no image, no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pipelines.plots import Bar, Series, bars, escape, histogram
from pipelines.report_data import EXCERPT, LENGTH_BINS, Counts, Example, Loss, RunReport, Scores, TierReport
from pipelines.terms import TIER_MEANINGS, compact, seconds, share, tier_label

FATES = (
    ("dropped", "Why rows were dropped", "drop"),
    ("failed", "Why rows are in quarantine", "fail"),
    ("noted", "What was noted of rows that stay", "note"),
)
MOST_REASONS = 24
"""So many reasons of a stage have a bar of their own."""
MOST_LOST_READ = 12
"""So many reasons of a tier are shown with examples."""

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1c1d1f; --soft: #65686d; --rule: #e4e4e0; --rail: #f0f0ec;
  --keep: #2b6a8c; --keep-1: #86b3c9; --drop: #c2703d; --fail: #a8324a; --note: #7a7f3a; --back: #c9c9c2; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181a; --ink: #e6e5e1; --soft: #9a9c9f; --rule: #303236;
  --rail: #232528; --keep: #6fb1d3; --keep-1: #3d6d86; --drop: #e0935f; --fail: #e0708a; --note: #b3b866;
  --back: #484b50; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3.5rem 1.25rem 6rem; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -.02em; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 4rem 0 .25rem; padding-top: 1.1rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0 1rem; } .soft, figcaption, dd { color: var(--soft); }
.lead { font-size: 1.1rem; margin-bottom: 2rem; } figure { margin: 1rem 0 2rem; }
figcaption { font-size: .84rem; margin-top: .4rem; }
nav { margin: 1.5rem 0 0; font-size: .9rem; display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; }
a { color: var(--keep); text-decoration: none; } a:hover { text-decoration: underline; }
svg { display: block; overflow: visible; fill: currentColor; font-size: 13px; font-variant-numeric: tabular-nums; }
svg .end { text-anchor: end; } svg .tick { fill: var(--soft); font-size: 12px; }
svg .mark { stroke: var(--ink); stroke-dasharray: 3 3; } svg .mark-text { font-size: 12px; }
svg .axis { stroke: var(--soft); stroke-width: 1; shape-rendering: crispEdges; } svg .rail { fill: var(--rail); }
.keep { fill: var(--keep); } .keep-1 { fill: var(--keep-1); } .drop { fill: var(--drop); } .fail { fill: var(--fail); }
.note { fill: var(--note); } .back { fill: var(--back); }
.key { display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin: 0 .35em 0 .9em; }
.key:first-child { margin-left: 0; } .key.keep { background: var(--keep); } .key.keep-1 { background: var(--keep-1); }
.key.back { background: var(--back); }
.wide { overflow-x: auto; margin: 1rem 0 1.5rem; } table { border-collapse: collapse; width: 100%; font-size: .88rem;
  font-variant-numeric: tabular-nums; } th { font-weight: 500; color: var(--soft); }
th, td { text-align: right; padding: .4rem 0 .4rem 1.1rem; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
details { border-bottom: 1px solid var(--rule); }
summary { cursor: pointer; padding: .6rem 0; overflow-wrap: anywhere; }
summary .soft { float: right; margin-left: 1rem; font-variant-numeric: tabular-nums; }
.stage { font-size: .84rem; margin: 1.2rem 0 -.4rem; color: var(--soft); } .stage b { color: var(--ink); }
.row { margin: .3rem 0 1.6rem; } .row p { margin: 0 0 .3rem; font-size: .84rem; overflow-wrap: anywhere; }
.row pre { margin: 0; padding: .1rem 0 .1rem .9rem; border-left: 3px solid var(--rule); max-height: 22rem;
  overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext;
  font: .95rem/1.5 ui-serif, Georgia, "Times New Roman", serif; }
code { font: .86em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
dl { font-size: .9rem; } dt { font-weight: 600; margin-top: 1rem; } dd { margin: .15rem 0 0; }
.bad { color: var(--fail); font-weight: 600; }
@media (max-width: 30rem) { main { padding-top: 2rem; } h1 { font-size: 1.6rem; } h2 { margin-top: 3rem; }
  table { font-size: .8rem; } th, td { padding-left: .7rem; } }
@media print { details > * { display: block; } .row pre { max-height: none; } }
"""


def render_page(report: RunReport) -> str:
    """The whole page, the same for the same run."""
    title = f"{escape(report.name)} – Tierline report"
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing that the documents bring along could load or run, even if the escaping had a hole.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
    )
    sections = [_opening(report), _funnel(report.tiers), _cost(report.tiers), _lengths(report.tiers)]
    sections += [_tier(tier) for tier in report.tiers]
    sections += [_account(report.tiers), _method(report)]
    return head + "\n".join(sections) + "\n</main></body></html>\n"


def _opening(report: RunReport) -> str:
    tiers = [tier.status for tier in report.tiers]
    links = [(tier["tier"], _name(tier)) for tier in tiers]
    links = [
        ("cost", "Cost"),
        ("length", "Length"),
        *links,
        ("account", "Every stage"),
        ("method", "How it was computed"),
    ]
    nav = "".join(f'<a href="#{place}">{text}</a>' for place, text in links)
    if not tiers:
        return f"<h1>{escape(report.name)}</h1>\n<p class=lead>Nothing is committed yet.</p>"
    first, last = tiers[0], tiers[-1]
    lead = (
        f"{_count(first['rows_in'], 'row')} came in. {_count(last['rows'], 'row')} with "
        f"{_count(last['tokens'], 'token')} {'is' if last['rows'] == 1 else 'are'} in {_name(last)}. "
    )
    lead += "Every row between is accounted for."
    if report.faults:
        lead = "".join(f'<span class="bad">{escape(fault)}</span><br>' for fault in report.faults)
    unfinished = [_name(tier) for tier in tiers if not tier["whole"]]
    if unfinished:
        lead += f'<br><span class="bad">Unfinished: {", ".join(unfinished)}.</span>'
    return f"<h1>{escape(report.name)}</h1>\n<p class=lead>{lead}</p>\n<nav>{nav}</nav>"


def _name(status: dict[str, Any]) -> str:
    return tier_label(status["tier"])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _figure(plot: str, caption: str = "") -> str:
    return f"<figure>{plot}{f'<figcaption>{caption}</figcaption>' if caption else ''}</figure>"


def _keys(*entries: tuple[str, str]) -> str:
    return "".join(f'<span class="key {style}"></span>{text}' for style, text in entries)


def _funnel(tiers: Sequence[TierReport]) -> str:
    if not tiers:
        return ""
    most_rows = max(max(tier.status["rows_in"], tier.status["rows"]) for tier in tiers) or 1
    most_tokens = max(tier.status["tokens"] for tier in tiers) or 1
    read = tiers[0].status["rows_in"]
    rows = [Bar("inputs", f"{compact(read)} rows", (read / most_rows,), f"{read:,} rows in the inputs")]
    for tier in tiers:
        found = tier.status
        hint = f"{_name(found)}: {found['rows']:,} rows ({share(found['rows'], found['rows_in'])} of the rows in)"
        figure = f"{compact(found['rows'])} rows · {compact(found['tokens'])} tokens"
        lengths = (found["rows"] / most_rows, found["tokens"] / most_tokens)
        rows.append(Bar(_name(found), figure, lengths, f"{hint}, {found['tokens']:,} tokens"))
    return "<h2>From tier to tier</h2>\n" + _figure(
        bars(rows, "keep", "Rows and tokens in each tier"), _keys(("keep", "rows"), ("keep-1", "tokens"))
    )


def _cost(tiers: Sequence[TierReport]) -> str:
    asked = any(tier.status["llm"].get("requests") for tier in tiers)
    heads = ["tier", "CPU time", "per 1,000 rows in"]
    heads += ["LLM requests", "from cache", "tokens in", "tokens out"] if asked else []
    rows = []
    for tier in tiers:
        found = tier.status
        each = seconds(1000 * found["cpu_seconds"] / found["rows_in"]) if found["rows_in"] else "–"
        row = [_name(found), seconds(found["cpu_seconds"]), each]
        if asked:
            llm = [found["llm"].get(key, 0) for key in ("requests", "cached", "prompt_tokens", "completion_tokens")]
            row += [f"{number:,}" for number in llm]
        rows.append(row)
    told = "" if asked else "<p class=soft>No language model was asked.</p>"
    return f'<h2 id="cost">What each tier cost</h2>\n{_table(heads, rows)}{told}'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _lengths(tiers: Sequence[TierReport]) -> str:
    used = np.flatnonzero(sum((tier.lengths for tier in tiers), np.zeros(LENGTH_BINS, np.int64)))
    if not len(used):
        return ""
    low, high = int(used[0]), int(used[-1]) + 1
    labels = [f"{compact(2 ** (k / 2))} to {compact(2 ** ((k + 1) / 2))} characters" for k in range(low, high)]
    tens = [n for n in range(12) if low <= _place(10**n) <= high]
    ticks = [((_place(10**n) - low) / (high - low), compact(10**n)) for n in tens]
    parts = ['<h2 id="length">How long the texts are</h2>']
    for tier in tiers:
        series = Series("rows", tier.lengths[low:high].tolist(), "keep")
        plot = histogram([series], labels, ticks, f"Lengths of the texts in {_name(tier.status)}")
        parts.append(f"<h3>{_name(tier.status)}</h3>" + _figure(plot, _middle(tier.lengths)))
    return "\n".join(parts)


def _place(characters: float) -> float:
    """Where a length stands among the bins of lengths."""
    return float(2 * np.log2(characters))


def _middle(lengths: Counts) -> str:
    half = int(np.searchsorted(np.cumsum(lengths), lengths.sum() / 2)) if lengths.sum() else 0
    span = f"{compact(2 ** (half / 2))} and {compact(2 ** ((half + 1) / 2))}"
    return f"Characters. The median of {_count(int(lengths.sum()), 'text')} is between {span}."


def _tier(tier: TierReport) -> str:
    found = tier.status
    gone = [f"{sum(found[key].values()):,} {fate}" for key, fate in (("dropped", "dropped"), ("failed", "quarantined"))]
    counts = f"{found['rows_in']:,} rows in, {', '.join(gone)}, {found['rows']:,} rows out."
    parts = [f'<h2 id="{found["tier"]}">{_name(found)}</h2>']
    parts.append(f"<p>{TIER_MEANINGS[found['tier']]} {counts}</p>")
    parts += [_reasons(found, *kind) for kind in FATES if found[kind[0]]]
    parts += [_score(scores) for scores in tier.scores]
    parts += list(_examples(tier))
    return "\n".join(parts)


def _reasons(found: dict[str, Any], key: str, heading: str, style: str) -> str:
    """Bars of the reasons of one fate, stage by stage, all to one scale."""
    stages = [stage for step in found["steps"] for stage in step["stages"] if stage[key]]
    most = max(number for stage in stages for number in stage[key].values())
    parts = [f"<h3>{heading}</h3>"]
    for stage in stages:
        counts = sorted(stage[key].items(), key=lambda item: (-item[1], item[0]))
        listed = [(reason.removeprefix(f"{stage['stage']}."), number) for reason, number in counts[:MOST_REASONS]]
        if rest := sum(number for _, number in counts[MOST_REASONS:]):
            listed.append((f"{len(counts) - MOST_REASONS} other reasons", rest))
        rows_in = stage["rows_in"]
        rows = [
            Bar(reason, f"{number:,}", (min(number / most, 1.0),), f"{reason}: {number:,} ({share(number, rows_in)})")
            for reason, number in listed
        ]
        caption = f"<b>{escape(stage['stage'])}</b>, {sum(stage[key].values()):,} of {rows_in:,} rows"
        parts.append(f"<p class=stage>{caption}</p>" + _figure(bars(rows, style, f"{heading}: {stage['stage']}")))
    return "\n".join(parts)


def _score(scores: Scores) -> str:
    span = scores.high - scores.low or 1.0
    edges = np.linspace(scores.low, scores.low + span, len(scores.before) + 1)
    labels = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    ticks = [(part, f"{scores.low + part * span:.3g}") for part in (0.0, 0.25, 0.5, 0.75, 1.0)]
    marks = []
    if scores.threshold is not None and scores.low <= scores.threshold <= scores.low + span:
        marks = [((scores.threshold - scores.low) / span, f"threshold {scores.threshold:.3g}")]
    series = [Series("rows scored", scores.before.tolist(), "back"), Series("rows kept", scores.after.tolist(), "keep")]
    plot = histogram(series, labels, ticks, f"Distribution of {scores.column}", marks)
    caption = _keys(
        ("back", f"{int(scores.before.sum()):,} rows scored"), ("keep", f"{int(scores.after.sum()):,} rows kept")
    )
    if scores.measured:
        caption += f"<br>Against the judge or the pools, on rows held out: {_figures(scores.measured)}."
    return f"<h3><code>{escape(scores.column)}</code></h3>" + _figure(plot, caption) + _calibration(scores.measured)


def _figures(measured: Mapping[str, Sequence[float]]) -> str:
    """Single figures, with their intervals where they have them."""
    told = []
    for name, values in measured.items():
        if len(values) in (1, 3) and not name.startswith(("curve.", "keep.")):
            interval = f" ({values[1]:,.3g} to {values[2]:,.3g})" if len(values) == 3 else ""
            told.append(f"{escape(name)} {values[0]:,.3g}{interval}")
    return ", ".join(told)


def _calibration(measured: Mapping[str, Sequence[float]]) -> str:
    """What scores mean, and what thresholds keep."""
    if not measured:
        return ""
    curve, keep = ([measured[f"{kind}.{name}"] for name in names]
                   for kind, names in (("curve", ("scored", "true")), ("keep", ("threshold", "share"))))  # fmt: skip
    means = [(f"{scored:.3g}", f"{true:.3g}") for scored, true in zip(*curve, strict=True)]
    kept = [(f"{threshold:.3g}", share(round(1000 * part), 1000)) for threshold, part in zip(*keep, strict=True)]
    tables = _table(("mean score", "mean truth"), means) + _table(("threshold", "keeps"), kept)
    return f"<details><summary>Calibration and keep rates, on rows held out</summary>{tables}</details>"


def _examples(tier: TierReport) -> Iterator[str]:
    if tier.kept:
        rows = "".join(_row(example) for example in tier.kept)
        summary = f"kept<span class=soft>{tier.status['rows']:,}</span>"
        yield f"<h3>Examples</h3>\n<details><summary>{summary}</summary>{rows}</details>"
    for loss in tier.losses[:MOST_LOST_READ]:
        yield _lost(loss)
    if rest := tier.losses[MOST_LOST_READ:]:
        yield f"<p class=soft>{_count(len(rest), 'rarer reason')} without examples here; the ledger has every row.</p>"


def _lost(loss: Loss) -> str:
    reason = loss.reason if loss.reason.startswith(loss.stage) else f"{loss.stage}.{loss.reason}"
    rows = "".join(_row(example) for example in loss.examples)
    summary = f"{escape(loss.fate)}: {escape(reason)}<span class=soft>{loss.count:,}</span>"
    return f"<details><summary>{summary}</summary>{rows}</details>"


def _row(example: Example) -> str:
    facts = [f"<code>{escape(example.id)}</code>", escape(example.source)]
    if example.detail:
        facts.insert(0, f"<strong>{escape(example.detail)}</strong>")
    told = " · ".join(fact for fact in facts if fact)
    if example.text is None:
        return f'<div class="row"><p class="soft">{told}</p><p class="soft">It was lost before it had a text.</p></div>'
    more = f" · {EXCERPT:,} of {example.length:,} characters" if example.length > EXCERPT else ""
    text = escape(example.text) + ("…" if more else "")
    return f'<div class="row"><p class="soft">{told}{more}</p><pre dir="auto">{text}</pre></div>'


def _account(tiers: Sequence[TierReport]) -> str:
    heads = ("stage", "rows in", "kept", "dropped", "quarantined", "rows out")
    parts = ['<h2 id="account">Every stage, row by row</h2>']
    parts.append("<p class=soft>Rows in = kept + dropped + quarantined, in every line.</p>")
    for tier in tiers:
        rows = []
        for stage in (stage for step in tier.status["steps"] for stage in step["stages"]):
            gone = [sum(stage[key].values()) for key in ("dropped", "failed")]
            figures = (stage["rows_in"], stage["kept"], *gone, stage["rows_out"])
            rows.append((stage["stage"], *(f"{number:,}" for number in figures)))
        parts.append(f"<h3>{_name(tier.status)}</h3>{_table(heads, rows)}")
    return "\n".join(parts)


METHOD = {
    "Rows": "Counted by every shard task while it ran, and committed with its data. A commit that does not balance is "
    "refused.",
    "Tokens": "Words, Han characters and punctuation marks. A subword tokenizer counts about 1.3 times as many in "
    "English prose.",
    "CPU time": "Processor time of the tasks that brought each shard through its steps, from their commit records. "
    "What deciding over all rows took, for duplicates say, is not in it, nor is work that was lost with its worker.",
    "LLM requests and tokens": "As the back ends reported them for the rows that were committed. Answers from the "
    "request cache cost nothing again.",
    "Reasons": "As the ledger gives them. A row has one: that of the first rule that it broke.",
    "Lengths": "Characters of every text in the tier, in bins of half an octave.",
    "Scores": "All rows that the step which gave the score kept, before the cut, and all rows of the tier, behind it.",
    "Examples": "The rows with the smallest ids. An id is a hash of where its row came from, so this is a fair sample, "
    "and the same one each time. The text of a lost row is the one with which it entered its step.",
}


def _method(report: RunReport) -> str:
    told = "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in METHOD.items())
    return f'<h2 id="method">How it was computed</h2>\n<dl>{told}</dl>'
