"""Why a page gave no document."""

from __future__ import annotations

from enum import StrEnum


class HtmlReason(StrEnum):
    """Why a page gave no document. An empty page is dropped; the others fail."""

    EMPTY_PAGE = "empty_page"
    UNDECODABLE = "undecodable"
    TOO_DEEP = "too_deep"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"
    TOO_COMPLEX = "too_complex"
    PARSER_ERROR = "parser_error"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"


class Refused(Exception):
    """A page that cannot become a document.

    Args:
        reason: Why.
        detail: The measured value and the threshold.
    """

    def __init__(self, reason: HtmlReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)
