"""Small pages, and how tests extract them."""

from __future__ import annotations

from typing import Any

from tiers.l0_raw import ExtractHtml
from tiers.l0_raw.html import Page

PROSE = (
    "The harbour was built in three years, and every stone of it came over the water from the quarries in the north.",
    "When the engineers had measured the tide for a whole winter, they moved the wall twice, which nobody had planned.",
    "Today the ferries leave from it four times a day, and the old crane still stands where the first ship was loaded.",
)


def extract(page: bytes | str, url: str | None = None, charset: str | None = "utf-8", **parameters: Any) -> Page:
    content = page if isinstance(page, bytes) else page.encode()
    return ExtractHtml(**parameters).extracting()(content, charset, url)


def article(inner: str, before: str = "", after: str = "") -> str:
    """A page whose main content is prose followed by `inner`."""
    prose = "".join(f"<p>{paragraph}</p>" for paragraph in PROSE)
    return f"<html><head><title>T</title></head><body>{before}<main>{prose}{inner}</main>{after}</body></html>"


def below_prose(inner: str) -> str:
    """The text that `inner` gives in an article."""
    text = extract(article(inner)).text
    prose = "\n\n".join(PROSE)
    assert text.startswith(prose)
    return text[len(prose) :].strip("\n")
