"""How reports, cards and releases speak of tiers and numbers."""

from __future__ import annotations

TIER_NAMES = {"L0": "raw", "L1": "filtered", "L2": "scored", "L3": "edited", "L4": "verified"}

TIER_MEANINGS = {
    "L0": "Documents as they were read from the inputs, with text extracted and nothing judged.",
    "L1": "Documents that pass quality rules, each of them once.",
    "L2": "Documents scored by a language model's standards, the better ones selected; their text is unchanged.",
    "L3": "Documents whose text a language model edited or wrote, and that passed the gates behind it.",
    "L4": "Passages and claims that were checked against their sources.",
    "memory": "Latents of evidence: each retrieves, and is read by a frozen language model as one token.",
}


def tier_label(tier: str) -> str:
    """A tier with its name: L1 filtered; the memory is called just that."""
    return f"{tier} {TIER_NAMES[tier]}" if tier in TIER_NAMES else tier


def compact(number: float) -> str:
    """A number in at most four characters and a unit: 950, 12.3k, 4.56M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            scaled = number / (1e3 if unit == "k" else size)
            return f"{scaled:.3g}{unit}" if scaled < 999.5 else f"{scaled:,.0f}{unit}"
    return f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """`part` of `whole` in percent, to one digit; a dash where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def seconds(value: float) -> str:
    """A time in the unit that reads best: 850 ms, 12.4 s, 3.1 min, 2.5 h."""
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def money(cost: float | None, currency: str | None) -> str:
    """An amount: 12.34 USD, 0.0012 USD; free without a currency, a dash where no price is known."""
    if cost is None:
        return "–"
    amount = f"{cost:,.2f}" if cost >= 1 or not cost else f"{cost:.2g}"
    return f"{amount} {currency}" if currency else amount if cost else "free"


def size_of(count: int) -> str:
    """A number of bytes in the unit that reads best: 12.3 kB, 4.5 MB."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.1f} {unit}" if unit != "bytes" else f"{count} bytes"
        size /= 1000
    return f"{size:,.1f} TB"
