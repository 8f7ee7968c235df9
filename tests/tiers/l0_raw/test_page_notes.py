from __future__ import annotations

import pytest

from tiers.l0_raw.page_notes import license_id, license_of_link, page_notes


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://creativecommons.org/licenses/by-sa/4.0/", "CC-BY-SA-4.0"),
        ("http://www.creativecommons.org/licenses/by-nc-nd/3.0/de/deed.en", "CC-BY-NC-ND-3.0-DE"),
        ("//creativecommons.org/licenses/by/2.5", "CC-BY-2.5"),
        ("https://creativecommons.org/licenses/by/4.0/deed.fr", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by/3.0/igo/", "CC-BY-3.0-IGO"),
        ("http://creativecommons.org/licenses/by-nd-nc/1.0/", "CC-BY-NC-ND-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("https://www.gnu.org/licenses/fdl-1.3.html", "GFDL-1.3"),
        ("http://www.apache.org/licenses/LICENSE-2.0.html", "Apache-2.0"),
        ("https://opensource.org/licenses/MIT", "MIT"),
        ("http://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/", "OGL-UK-3.0"),
        ("https://creativecommons.org/licenses/sampling+/1.0/", None),
        ("https://creativecommons.org/about", None),
        ("/terms", None),
    ],
)
def test_licences_by_their_addresses(url: str, expected: str | None) -> None:
    assert license_id(url) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<meta name="robots" content="NOINDEX, nofollow">', {"robots": "noindex, nofollow"}),
        (b"<META content='noarchive' NAME=robots><meta name=robots content=noindex>", {"robots": "noarchive, noindex"}),
        ('<meta name="robots" content="">', {}),
        ('<meta name="googlebot" content="noindex"> robots', {}),
        ("<link rel=license href=https://creativecommons.org/licenses/by/4.0/>", {"license": "CC-BY-4.0"}),
        (
            '<p><a class="x" href="http://creativecommons.org/licenses/by-sa/3.0/"\n rel="nofollow license">CC</a>',
            {"license": "CC-BY-SA-3.0"},
        ),
        ('<a href="https://creativecommons.org/licenses/by/4.0/">a link to a license</a>', {}),
        ('<a rel="license" href="/terms?a=1&amp;b=2">', {"license_url": "/terms?a=1&b=2"}),
        (
            '<a rel=license href="https://creativecommons.org/licenses/by/4.0/">'
            '<link rel=license href="https://creativecommons.org/licenses/by/4.0/deed.de">',
            {"license": "CC-BY-4.0"},
        ),
        (
            '<a rel=license href="https://creativecommons.org/licenses/by/4.0/"><a rel=license href="/terms">',
            {"licenses": "/terms, CC-BY-4.0"},
        ),
        ('<!-- <meta name="robots" content="noindex"> --><p>', {}),
        ('<!-- open <meta name="robots" content="noindex">', {"robots": "noindex"}),
        ("", {}),
    ],
)
def test_what_a_page_says_of_its_use(page: str | bytes, expected: dict[str, str]) -> None:
    assert page_notes(page) == expected


def test_a_link_header_names_one_licence() -> None:
    by = "https://creativecommons.org/licenses/by/4.0/"
    assert license_of_link(f'</a.css>; rel=preload, <{by}>; rel="license"') == "CC-BY-4.0"
    assert license_of_link(f"<{by}>; rel=next, <license>; rel=up") is None
    assert license_of_link(f"<{by}>; rel=license, </own>; rel=license") is None
    assert license_of_link("</own>; rel=license") is None
    assert license_of_link("") is None


@pytest.mark.parametrize("piece", ["<!--", "<a ", "<a rel=license ", "<meta robots='", "<a href=\"'", '="', "license<"])
def test_hostile_pages_take_no_longer_than_others(piece: str) -> None:
    page = "<meta name=robots content=none>" + piece * 300_000
    assert page_notes(page) == {"robots": "none"}
    assert license_of_link(f"license{piece * 300_000}") is None
