import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tiers.document import documents
from tiers.l1_filtered.boilerplate import Boilerplate, mark_lines, without_boilerplate
from tiers.l1_filtered.boilerplate_lines import length
from tiers.l1_filtered.boilerplate_patterns import Reason
from tiers.stage import Context, check_outcome

EXTRACTION = Path(__file__).resolve().parents[4] / "shared" / "data" / "extraction"
PROSE = "The lighthouse keeper climbed the stairs every evening to light the lamp that guided ships along the coast."


def run(texts, **parameters):
    stage = Boilerplate(**parameters)
    table = documents([{"text": text, "source": str(number)} for number, text in enumerate(texts)])
    outcome = stage.prepare(Context(models=Path()))(table)
    check_outcome(stage, table, outcome)
    return outcome


TAKEN = {
    Reason.NAVIGATION: [
        *["Skip to content", "• Privacy Policy", "Home | About | Contact", "Zum Inhalt springen", "Vous êtes ici :"],
        *[
            "Aviso legal",
            "Карта сайта",
            "返回顶部",
            "联系我们",
            "プライバシーポリシー",
            "Terms & Conditions",
            "首页 | 新闻 | 体育",
        ],
    ],
    Reason.BUTTONS: [
        *["Leave a comment", "Add to cart", "In den Warenkorb", "Laisser un commentaire", "¿Olvidaste tu contraseña?"],
        *["Оставить комментарий", "加入购物车", "カートに入れる", "Log in / Register"],
    ],
    Reason.PAGINATION: [
        *["Page 2 of 10", "« 1 2 3 … 10 »", "Previous 1 2 3 4 Next", "Seite 3 von 7", "Showing 1-10 of 234 results"],
        *["第2页/共10页", "下一页", "次のページ", "Следующая страница", "« Older posts"],
    ],
    Reason.READ_MORE: [
        *[
            "Read more…",
            "READ MORE: Three ships were lost",
            "Weiterlesen »",
            "Lire la suite",
            "Leer más",
            "Читать далее",
        ],
        *["阅读全文", "続きを読む"],
    ],
    Reason.SHARING: [
        *["Share on Facebook", "Click to share on Twitter (Opens in new window)", "Facebook Twitter Email Print"],
        *[
            "Auf Facebook teilen",
            "Partager sur Facebook",
            "Compartir en Twitter",
            "Поделиться в Facebook",
            "258 Shares",
        ],
        *["分享到微信", "Facebookでシェアする"],
    ],
    Reason.ADVERTISING: ["Advertisement", "Anzeige", "Publicité", "Publicidad", "Реклама", "广告", "スポンサーリンク"],
    Reason.COOKIES: [
        *["We use cookies to improve your experience.", "Diese Webseite verwendet Cookies.", "Accept all cookies"],
        *["Ce site utilise des cookies pour mesurer l'audience.", "Utilizamos cookies propias y de terceros."],
        *["Мы используем файлы cookie.", "本网站使用cookie", "当サイトではクッキーを使用しています"],
    ],
    Reason.COPYRIGHT: [
        *["© 2020 Example Press. All rights reserved.", "Copyright 1999-2021 The Company", "Alle Rechte vorbehalten."],
        *["Tous droits réservés", "Все права защищены", "版权所有 某某公司"],
    ],
    Reason.BREADCRUMBS: [
        "Home > Ships > Wrecks of the coast",
        "Startseite » Schiffe » Wracks",
        "首页 > 国内船只 > 正文内容",
    ],
    Reason.TIMESTAMP: [
        *["3 hours ago", "vor 3 Stunden", "il y a 2 jours", "hace 5 minutos", "3 часа назад", "3小时前", "3時間前"],
        *["Posted on March 3, 2020", "12:51 p.m.", "Mon, 3 Feb 2020, 17:42", "Last updated: 2020-01-02", "5 min read"],
    ],
}


@pytest.mark.parametrize(("rule", "line"), [(rule, line) for rule, lines in TAKEN.items() for line in lines])
def test_lines_of_the_page_go(rule, line):
    text, counts = without_boilerplate(f"{PROSE}\n\n{line}\n\n{PROSE}")

    assert text == f"{PROSE}\n\n{PROSE}"
    assert dict(counts) == {rule: 1}


LEFT = [
    "Search",
    "Cancel",
    "Print",
    "The home page",
    "3 March 2020",
    "1 2 3 4 5",
    "0x00",
    "200 OK",
    "8:16 170",
    "[23:16]",
    "home/include/python",
    "2020-11-01 01:00:00-07:00",
    "|-- 00:00.0",
    "# like this",
    "-x X X",
    "3.11.2",
    "2020-11-01 01:00:00",
    "See also:",
    "Facebook removes a post about ships",
    "The company shares three principles",
    "She baked cookies for the crew of the lifeboat.",
    "He read more about ships than anybody else.",
    "Copyright law protects the diary.",
    "Choose File > Open > Recent",
    "Meeting at 9.30 a.m., dinner at 7.00 p.m.",
    "Published works",
    "Next we turn to the harbour.",
]


@pytest.mark.parametrize("line", LEFT)
def test_lines_of_the_text_stay(line):
    text = f"{PROSE}\n\n{line}\n\n{PROSE}"

    assert without_boilerplate(text)[0] is text


def test_what_may_be_a_heading_goes_beside_others_alone():
    assert without_boilerplate(f"Home\nSearch\nContact\n\n{PROSE}")[0] == PROSE
    assert without_boilerplate(f"• Ships\n• Contact\n• Wrecks\n\n{PROSE}")[0] == f"• Ships\n• Wrecks\n\n{PROSE}"


@pytest.mark.parametrize(
    "block",
    [
        "```\nRead more\nPage 2 of 10\n```",
        "    Read more\n    © 2020 Example. All rights reserved.",
        "| Home | About |\n|------|-------|\n| Read more | Next page |",
        "Name          Button\nRead more     Next page",
    ],
)
def test_code_and_tables_stay(block):
    text = f"{PROSE}\n\n{block}\n\n{PROSE}"

    assert without_boilerplate(text)[0] is text


def test_paragraphs_stay_apart_and_together():
    text = f"Skip to content\n\n{PROSE}\nRead more\n{PROSE}\n\nShare on Facebook\n\n\n{PROSE}\n\nAdvertisement"

    assert without_boilerplate(text)[0] == f"{PROSE}\n{PROSE}\n\n{PROSE}"


def test_lengths_in_scripts_without_spaces_are_measured_in_characters():
    assert length("灯塔看守人每天晚上爬上楼梯点亮灯塔") == 1 + 17 // 2
    assert length("The keeper climbed the stairs") == 5


def test_counts_are_noted_and_documents_of_little_else_dropped():
    menu = "Home\nContact\nRead more\nShare on Facebook\n"
    outcome = run([f"{menu}{PROSE}", f"{menu}A lamp.", PROSE, "", menu])

    assert outcome.kept["text"].to_pylist() == [PROSE, PROSE, ""]
    assert [(row["reason"], row["detail"]) for row in outcome.noted.to_pylist()] == [
        ("boilerplate.navigation", "2 lines"),
        ("boilerplate.read_more", "1 lines"),
        ("boilerplate.sharing", "1 lines"),
    ]
    assert [(row["reason"], row["detail"]) for row in outcome.dropped.to_pylist()] == [
        ("boilerplate.little_left", "0.15 < 0.3"),
        ("boilerplate.little_left", "0 < 0.3"),
    ]


def test_the_share_that_must_be_left_can_be_chosen():
    assert run(["Read more\nA lamp."], min_left=0.2).kept.num_rows == 1
    with pytest.raises(ValidationError):
        Boilerplate(min_left=1.5)


@pytest.mark.skipif(not EXTRACTION.exists(), reason="real pages aren't there")
def test_real_articles_lose_next_to_nothing():
    articles = json.loads((EXTRACTION / "ground-truth.json").read_text())
    lines = [line for article in articles.values() for line in article["articleBody"].split("\n")]
    gone = sum(mark is not None for article in articles.values() for mark in mark_lines(article["articleBody"]))

    assert len(lines) > 2000
    assert gone / len(lines) < 0.002


@pytest.mark.skipif(not EXTRACTION.exists(), reason="real pages aren't there")
def test_real_pages_lose_lines_by_most_rules():
    from resiliparse.extract.html2text import extract_plain_text

    pages = [gzip.decompress(path.read_bytes()).decode("utf-8", "replace") for path in EXTRACTION.glob("html/*.gz")]
    rules = [mark.rule for page in pages[:30] for mark in mark_lines(extract_plain_text(page)) if mark]

    assert len(rules) > 300
    assert len(set(rules)) >= 6


PIECES = st.sampled_from(
    [
        "Home",
        "Read more",
        "Page 2 of 9",
        "Share",
        "on",
        "Facebook",
        "©",
        "2020",
        "|",
        ">",
        "3",
        "ago",
        "```",
        "    ",
        "\n",
        "\n\n",
        " ",
        "第",
    ]
)


@given(st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=60)))
def test_lines_that_are_left_are_the_ones_that_came(text):
    left, counts = without_boilerplate(text)
    came = text.split("\n")

    assert all(line in came for line in left.split("\n") if line)
    assert sum(map(bool, came)) - sum(map(bool, left.split("\n"))) >= 0
    assert counts or left is text


UNITS = [
    "1 ",
    "page 1 of ",
    "« 1 2 ",
    "we use ",
    "by using ",
    "posted 2020 ",
    "1:30 ",
    "| ",
    "home > ",
    "share ",
    "© ",
    "第1页 ",
    "  ",
]


@pytest.mark.parametrize("unit", UNITS)
def test_long_lines_are_read_in_linear_time(unit):
    lines = [(unit * 500)[:size] for size in (60, 110, 490, 20_000)]
    text = "\n".join(["cookie © facebook teilen read more", *lines * 30])

    assert len(without_boilerplate(text)[0]) <= len(text)
