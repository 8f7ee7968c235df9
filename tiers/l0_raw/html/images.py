"""Images of a page."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

from resiliparse.parse.html import HTMLTree

from tiers.l0_raw.html.serialised import attribute

_MIN_PIXELS = 33
"""Images less wide or high are icons and counters of visits."""
_MIN_DATA_BYTES = 256
_MAX_URI = 1 << 20
_NO_CONTENT = re.compile(
    r"(?:^|[/_.\-=])(?:1x1|avatars?|badges?|beacon|blank|buttons?|emoji|favicon|gravatar|icons?|logos?|pixel|"
    r"placeholder|smil(?:ey|ies)|spacer|sprites?|tracking|transparent)(?:$|[/_.\-?&=\d])",
    re.IGNORECASE,
)
_MIMES = {
    "avif": "image/avif", "bmp": "image/bmp", "gif": "image/gif", "jpeg": "image/jpeg", "jpg": "image/jpeg",
    "png": "image/png", "svg": "image/svg+xml", "tif": "image/tiff", "tiff": "image/tiff", "webp": "image/webp",
}  # fmt: skip
_SOURCES = ("data-src", "data-original", "data-lazy-src", "src")
_SOURCE_SETS = ("data-srcset", "srcset")
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.=+-]+)*),", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Image:
    """An entry of a document's `media`.

    Attributes:
        uri: Its absolute address, or all of it as a `data:` URI.
        mime: Its media type as its address tells, else empty.
        sha256: Of its bytes where the address holds them, else empty.
        caption: The caption, else the alternative text, else the title.
        bytes: How many bytes it has, where the address holds them.
        width: In pixels, as the page says.
        height: Likewise.
    """

    uri: str
    mime: str
    sha256: str
    caption: str
    bytes: int | None = None
    width: int | None = None
    height: int | None = None

    def medium(self) -> dict[str, Any]:
        """The entry; see `tiers.document.MEDIA`."""
        return {"kind": "image", **asdict(self)}


def base_url(tree: HTMLTree, url: str | None) -> str:
    """What addresses in a page are relative to: its `base` element, itself relative to the page's own URL."""
    base = tree.head.query_selector("base[href]") if tree.head is not None else None
    return _join(url or "", base.getattr("href") or "" if base is not None else "")


def read_image(tag: str, base: str, caption: str = "") -> Image | None:
    """The image that an `img` tag shows; `None` for icons, spacers and counters, and where no address is to be had.

    Args:
        tag: The tag as serialised, without its angle brackets.
        base: What a relative address is relative to.
        caption: Its caption where one stands by it.
    """
    width, height = (_pixels(attribute(tag, side)) for side in ("width", "height"))
    if any(side is not None and side < _MIN_PIXELS for side in (width, height)):
        return None
    caption = caption or _text(attribute(tag, "alt")) or _text(attribute(tag, "title"))
    for address in _addresses(tag):
        if address[:5].lower() == "data:":
            image = _inline_image(address, caption)
        else:
            image = _linked_image(_join(base, address), caption)
        if image is not None:
            return replace(image, width=width, height=height)
    return None


def _addresses(tag: str) -> Iterator[str]:
    """The addresses that a tag names, the likeliest first: `src` is often a placeholder until a script has run."""
    for name in _SOURCES:
        if address := _text(attribute(tag, name)):
            yield address
    for name in _SOURCE_SETS:
        if candidates := _text(attribute(tag, name)):
            yield candidates.split(", ")[-1].split(" ")[0].rstrip(",")


def _linked_image(uri: str, caption: str) -> Image | None:
    path = uri.partition("?")[0]
    if (
        not uri.startswith(("http://", "https://"))
        or len(uri) > _MAX_URI
        or _NO_CONTENT.search(path.partition("//")[2])
    ):
        return None
    return Image(uri, _MIMES.get(path.rpartition(".")[2].lower(), ""), "", caption)


def _inline_image(uri: str, caption: str) -> Image | None:
    found = _DATA.match(uri)
    if not found or len(uri) > _MAX_URI or not (found[1] or "").lower().startswith("image/"):
        return None
    content = unquote_to_bytes(uri[found.end() :])
    if ";base64" in found[2].lower():
        content = _base64(content)
    if len(content) < _MIN_DATA_BYTES:
        return None
    return Image(uri, found[1].lower(), hashlib.sha256(content).hexdigest(), caption, len(content))


def _base64(content: bytes) -> bytes:
    import binascii

    try:
        return binascii.a2b_base64(content)
    except binascii.Error:
        return b""


def _join(base: str, address: str) -> str:
    try:
        return urljoin(base, address)
    except ValueError:
        return ""


def _pixels(size: str) -> int | None:
    found = re.match(r"\s*(\d{1,6})(?:px)?\s*$", size)
    return int(found[1]) if found else None


def _text(value: str) -> str:
    return " ".join(html.unescape(value).split()) if value else ""
