"""From HTML bytes to text and images."""

from tiers.l0_raw.html.decoding import decode
from tiers.l0_raw.html.reasons import HtmlReason, Refused
from tiers.l0_raw.html.stage import ExtractHtml, Page

__all__ = ["ExtractHtml", "HtmlReason", "Page", "Refused", "decode"]
