import random
from pathlib import Path

import pytest

from tiers.document import documents
from tiers.errors import SourceError
from tiers.l0_raw import read_warc
from tiers.l1_filtered.url_filter import UrlFilter
from tiers.stage import Context, check_outcome

WARCS = Path(__file__).resolve().parents[4] / "shared" / "data" / "warc"


def run(urls, **parameters):
    """What becomes of each URL: `None` where it's kept, (reason, detail) where it's dropped."""
    stage = UrlFilter.model_validate(parameters)
    table = documents([{"text": "", "source": str(number), "url": url} for number, url in enumerate(urls)])
    outcome = stage.prepare(Context(models=Path("no-models")))(table)
    check_outcome(stage, table, outcome)
    dropped = {row["id"]: (row["reason"], row["detail"]) for row in outcome.dropped.to_pylist()}
    return [dropped.get(row_id) for row_id in table["id"].to_pylist()]


def dropped_by(line, urls, **parameters):
    """Which of `urls` a list of one line, and one that matches nothing, drops."""
    verdicts = run(urls, block={"own": [line, "unrelated.example"]}, **parameters)
    return [url for url, verdict in zip(urls, verdicts, strict=True) if verdict]


def test_a_domain_stands_for_what_lies_below_it():
    blocked = [
        "https://bad.example/",
        "http://www.bad.example:8080/x?y#z",
        "https://a.b.BAD.example./",
        "https://user:secret@bad.example",
    ]
    others = ["https://notbad.example/", "https://bad.example.org/", "https://good.example/bad.example", None]

    verdicts = run(blocked + others, block={"mine": ["bad.example"]})

    assert verdicts[:4] == [("url_filter.domain", "bad.example in mine")] * 4
    assert verdicts[4:] == [None] * 4


@pytest.mark.parametrize(
    "line",
    [
        "0.0.0.0 ads.example",
        "127.0.0.1\tother.example ads.example # a comment",
        ":: ads.example",
        "ads.example",
        "*.ads.example",
        ".ads.example",
        "ADS.example.",
        "https://ads.example/",
        "||ads.example^",
        "||ads.example^$document",
    ],
)
def test_formats_of_lists(line):
    urls = [
        "https://ads.example/",
        "https://x.ads.example/a",
        "https://example/",
        "http://localhost/",
        "http://0.0.0.0/",
    ]

    assert dropped_by(line, urls) == urls[:2]


@pytest.mark.parametrize(
    "line",
    [
        "||ads.example^$third-party",
        "||ads.example/banner*^",
        "/banner/*",
        "ads.example##.banner",
        "com",
        "two words",
        "127.0.0.1 localhost",
    ],
)
def test_lines_that_are_not_about_sites_are_passed_over(line):
    assert not dropped_by(line, ["https://ads.example/banner/1", "https://x.com/", "http://localhost/"])


def test_a_url_stands_for_what_lies_below_its_path():
    below = [
        "https://site.example/~joe",
        "http://www.site.example/~Joe/",
        "https://site.example/~joe/a?b",
        "https://site.example/~joe?c",
    ]
    others = [
        "https://site.example/",
        "https://site.example/~joey",
        "https://sub.site.example/~joe",
        "https://site.example/x/~joe",
    ]

    assert dropped_by("http://www.site.example/~joe/", below + others) == below
    assert dropped_by("site.example/p?id=7", ["https://site.example/p?id=7", "https://site.example/p?id=77"]) == [
        "https://site.example/p?id=7"
    ]


def test_patterns_and_addresses():
    assert dropped_by("regex:/page-[0-9]{3,}$", ["https://x.example/PAGE-123", "https://x.example/page-12"]) == [
        "https://x.example/PAGE-123"
    ]
    assert dropped_by("10.1.2.3", ["http://10.1.2.3/a", "http://210.1.2.3/"]) == ["http://10.1.2.3/a"]
    assert dropped_by("[2001:DB8::1]", ["http://[2001:db8::1]:80/"]) == ["http://[2001:db8::1]:80/"]


def test_hosts_in_other_scripts():
    assert dropped_by("bücher.example", ["https://xn--bcher-kva.example/", "https://www.BÜCHER.example/"])
    assert len(dropped_by("xn--bcher-kva.example", ["https://bücher.example/"])) == 1


def test_what_is_allowed_is_kept():
    block = {"hosts": ["blogs.example", "@@||exception.blogs.example^"]}
    urls = [f"https://{name}.blogs.example/nasty" for name in ("bad", "good", "exception")]

    verdicts = run(urls, block=block, allow={"own": ["good.blogs.example"]}, hard_words=["nasty"])

    assert [verdict is None for verdict in verdicts] == [False, True, True]


def test_words_of_a_url():
    urls = [
        "https://x.example/some-Spam",
        "https://x.example/spammers",
        "https://cheap.example/pills",
        "https://x.example/cheap/cheap",
        "https://x.example/free-ca/sino",
    ]
    lists = {"hard_words": ["# of one's own", "spam"], "soft_words": ["cheap", "pills"], "substrings": ["freecasino"]}

    assert run(urls, **lists) == [
        ("url_filter.hard_word", "spam"),
        None,
        ("url_filter.soft_words", "2 > 1: cheap, pills"),
        None,
        ("url_filter.substring", "freecasino"),
    ]


def test_the_form_of_urls():
    long = "https://x.example/" + "a" * 30
    cases = {
        "ftp://x.example/": "scheme",
        "relative/path": "not_a_url",
        "": None,
        "https:///path": "host",
        f"https://{'a.' * 5000}example/": "host",
        "http://192.0.2.7/": "ip_host",
        "http://3232235777/": "ip_host",
        "http://[::1]/": "ip_host",
        long: "too_long",
        "https://x.example/?a=1&b=2&&c=3": "query_parameters",
        "https://x.example/?a=1&b=2": None,
    }
    verdicts = run(cases, ip_hosts=False, max_length=40, max_query_parameters=2)

    reasons = [verdict and verdict[0].removeprefix("url_filter.") for verdict in verdicts]
    assert reasons == list(cases.values())
    assert verdicts[8] == ("url_filter.too_long", f"{len(long)} > 40")
    assert verdicts[9] == ("url_filter.query_parameters", "3 > 2")


def test_lists_in_files_and_folders(tmp_path):
    ut1 = tmp_path / "ut1"
    for name, content in {
        "adult/domains": "adult.example\n10.0.0.9\n",
        "adult/urls": "site.example/adult\n",
        "adult/expressions": "(^|/)adult[0-9]\n",
        "adult/usage": "harmless.example\n",
    }.items():
        (ut1 / name).parent.mkdir(parents=True, exist_ok=True)
        (ut1 / name).write_text(name and content)
    (tmp_path / "hosts").write_bytes(b"! title\n\n0.0.0.0 ads.example \xff\r\n")
    urls = [
        "https://www.adult.example/",
        "https://site.example/adult/x",
        "https://x.example/adult7",
        "https://ads.example/",
        "https://harmless.example/",
    ]

    verdicts = run(urls, block={"ut1": str(ut1), "ads": str(tmp_path / "hosts")})

    assert [verdict and verdict[0] for verdict in verdicts] == [
        "url_filter.domain",
        "url_filter.url",
        "url_filter.pattern",
        "url_filter.domain",
        None,
    ]
    assert verdicts[3][1] == "ads.example in ads"


@pytest.mark.parametrize(
    ("lines", "told"),
    [(["# nothing"], "own: .*no domain, URL or pattern"), (["regex:(?=x)"], "own: .*no regular expression")],
)
def test_a_list_that_says_nothing_is_refused(lines, told):
    with pytest.raises(SourceError, match=told):
        run([], block={"own": lines})


def test_the_first_list_by_name_is_told_whatever_their_order():
    lists = {"b": ["bad.example"], "a": ["bad.example"]}

    for block in (lists, dict(reversed(lists.items()))):
        assert run(["https://bad.example/"], block=block) == [("url_filter.domain", "bad.example in a")]


def real_urls():
    if not WARCS.exists():
        return []
    urls = {
        url
        for path in sorted(WARCS.glob("*.warc.gz"))
        for outcome in read_warc(path.open("rb"), path.name)
        for url in outcome.kept["url"].to_pylist()
    }
    return sorted(url for url in urls if url and url.startswith("http"))


@pytest.mark.filterwarnings("ignore")
def test_decisions_are_those_of_datatrove_on_the_same_lists():
    for package in ("tldextract", "ahocorasick", "fasteners"):
        pytest.importorskip(package, reason="datatrove's filter needs it")
    filters = pytest.importorskip(
        "datatrove.pipeline.filters", reason="datatrove is the reference", exc_type=ImportError
    )
    from datatrove.data import Document
    from tldextract import TLDExtract

    order = random.Random(5)
    hosts = [
        f"{sub}{name}.{end}" for sub in ("", "www.", "a.b.") for name in "abcdef" for end in ("com", "co.uk", "de")
    ]
    urls = real_urls() + [
        f"https://{host}/{'/'.join(order.choices(['news', 'cheap', 'pills', 'spam', 'x-free-y'], k=3))}/{number}.html"
        for number, host in enumerate(hosts * 6)
    ]
    domains = ["a.com", "b.co.uk", "www.c.de", "a.b.d.com", "co.uk", "data.gov.uk", "archive.org", "www.example.com"]
    chosen = order.sample(urls, 20)
    words = {"banned_words": ["spam"], "soft_banned_words": ["cheap", "pills"], "banned_subwords": ["xfreeynews"]}
    theirs = filters.URLFilter(extra_domains=domains, extra_urls=chosen, use_integrated_lists=False, **words)
    theirs.tldextractor = TLDExtract(suffix_list_urls=(), cache_dir=None)
    ours = run(
        urls,
        block={"domains": domains[:4] + domains[5:], "urls": chosen},
        hard_words=["spam"],
        soft_words=["cheap", "pills"],
        substrings=["xfreeynews"],
        max_length=None,
    )

    their = [theirs.filter(Document(text="", id="", metadata={"url": url})) for url in urls]
    differ = [(url, t, o) for url, t, o in zip(urls, their, ours, strict=True) if (t is True) != (o is None)]
    assert not differ
    assert len({t[1] for t in their if t is not True}) == 6
    assert 100 < sum(t is True for t in their) < len(urls) - 100
