"""Images of the main content become media."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.tiers.l0_raw.html.pages import article, extract
from tiers.document import documents
from tiers.l0_raw import CONTENT, ExtractHtml
from tiers.stage import Context

URL = "https://example.org/news/harbour.html"


def media(inner: str, before: str = "", **parameters: int) -> list[dict[str, Any]]:
    return [image.medium() for image in extract(article(inner, before), URL, **parameters).images]


def test_a_figure_gives_an_image_with_its_caption_and_no_text() -> None:
    figure = '<figure><img src="../img/crane.jpg" alt="crane"><figcaption>The old <b>crane</b></figcaption></figure>'
    expected = {"kind": "image", "mime": "image/jpeg", "uri": "https://example.org/img/crane.jpg", "sha256": ""}
    assert media(figure) == [{**expected, "caption": "The old crane", "bytes": None, "width": None, "height": None}]
    assert "crane</b>" not in extract(article(figure)).text
    assert "The old crane" not in extract(article(figure)).text


@pytest.mark.parametrize(
    ("markup", "caption"),
    [
        ('<img src="/a.png" alt="a &amp; b" title="t">', "a & b"),
        ('<img src="/a.png" alt="" title="t">', "t"),
        ('<img src="/a.png">', ""),
        (
            '<div class="wp-caption"><img src="/a.png" alt="x"><p class="wp-caption-text">By the sea</p></div>',
            "By the sea",
        ),
    ],
)
def test_captions(markup: str, caption: str) -> None:
    assert [image["caption"] for image in media(markup)] == [caption]


@pytest.mark.parametrize(
    ("markup", "uri"),
    [
        ('<img src="blank.gif" data-src="/lazy.webp">', "https://example.org/lazy.webp"),
        ('<img srcset="/s.jpg 300w, /l.jpg 900w">', "https://example.org/l.jpg"),
        ('<img src="//cdn.example.net/a.jpg?w=3">', "https://cdn.example.net/a.jpg?w=3"),
    ],
)
def test_addresses(markup: str, uri: str) -> None:
    assert [image["uri"] for image in media(markup)] == [uri]


def test_addresses_are_relative_to_the_base_element() -> None:
    page = article('<img src="a.png">').replace("<head>", '<head><base href="/static/">')
    assert [image.uri for image in extract(page, URL).images] == ["https://example.org/static/a.png"]


def test_an_image_that_the_page_holds_has_its_hash() -> None:
    content = b"\x89PNG" + bytes(range(256)) * 2
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    assert media(f'<img src="{uri}" alt="dot">') == [
        {
            "kind": "image",
            "mime": "image/png",
            "uri": uri,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "width": None,
            "height": None,
            "caption": "dot",
        }
    ]


@pytest.mark.parametrize(
    "markup",
    [
        '<img src="/a.png" width="1" height="1">',
        '<img src="/a.png" width="32">',
        '<img src="/icons/star.png">',
        '<img src="https://count.example.net/pixel.gif?id=1">',
        '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
        '<img src="javascript:alert(1)">',
        '<img src="http://[broken/a.png">',
        '<img alt="none">',
    ],
)
def test_icons_and_counters_are_no_media(markup: str) -> None:
    assert media(markup) == []


def test_images_outside_the_main_content_are_no_media() -> None:
    assert media("", before='<nav><img src="/nav-photo.jpg"></nav><aside><img src="/ad.jpg"></aside>') == []


def test_an_image_is_named_once_and_their_number_is_bounded() -> None:
    many = "".join(f'<img src="/{n % 30}.jpg">' for n in range(90))
    assert [image["uri"] for image in media(many, max_images=5)] == [f"https://example.org/{n}.jpg" for n in range(5)]
    assert len(media(many)) == 30
    assert media(many, max_images=0) == []


def test_media_stand_in_the_document(tmp_path: Path) -> None:
    row = {"source": "x#0", "text": "", "url": URL, CONTENT[1].name: "text/html"}
    row[CONTENT[0].name] = article('<img src="a.jpg" alt="A" width="640px" height="50%">').encode()
    kept = ExtractHtml().prepare(Context(models=tmp_path))(documents([row], CONTENT)).kept
    known = {"kind": "image", "mime": "image/jpeg", "uri": "https://example.org/news/a.jpg", "caption": "A"}
    assert kept["media"].to_pylist() == [[{**known, "sha256": "", "bytes": None, "width": 640, "height": None}]]
