"""Which part of a page is kept."""

from __future__ import annotations

import pytest

from tests.tiers.l0_raw.html.pages import PROSE, article, extract

LINKS = "".join(f'<li><a href="/{n}">Another page about something {n}</a></li>' for n in range(9))
OTHER = "I was there too, and what a day it was, with the wind and the rain and all that came with it!"
TEXT = "\n\n".join(PROSE)


@pytest.mark.parametrize(
    "around",
    [
        f"<nav>{LINKS}</nav>",
        f'<div class="site-menu"><ul>{LINKS}</ul></div>',
        f"<div><ul>{LINKS}</ul></div>",
        f'<div id="comments"><p>{OTHER}</p></div>',
        f'<div class="relatedPosts"><p>{OTHER}</p></div>',
        f'<div role="complementary"><p>{OTHER}</p></div>',
        f"<footer><p>{OTHER}</p></footer>",
        "".join(
            f'<div class="card"><h3><a href="/{n}">Another story</a></h3><p>How it went on, in two lines or three, and '
            "that you can read all of it behind the link.</p></div>"
            for n in range(4)
        ),
    ],
)  # fmt: skip
def test_what_is_around_the_article_is_left_out(around: str) -> None:
    assert extract(article("", before=around)).text == TEXT
    assert extract(article("", after=around)).text == TEXT


def test_an_article_within_an_element_of_a_misleading_name_is_found() -> None:
    page = article("").replace("<main>", '<div class="nav-sidebar-wrapper"><div>').replace("</main>", "</div></div>")
    assert extract(page).text == TEXT


def test_an_article_of_several_sections_is_kept_whole() -> None:
    sections = "".join(f"<div class=part><p>{line}</p><p>{line}</p></div>" for line in PROSE)
    text = extract(f"<body><div><ul>{LINKS}</ul></div><div>{sections}</div></body>").text
    assert text == "\n\n".join(line for line in PROSE for _ in range(2))


def test_a_table_keeps_cells_that_are_links() -> None:
    table = "<table><tr><td>Artist<td><a href=/l>Leonardo</a><tr><td>Year<td>1503</table>"
    assert "| Artist | Leonardo |" in extract(article(table)).text


def test_chinese_is_weighed_as_well() -> None:
    line = (
        "这座港口建了三年，每一块石头都是从北方的采石场经水路运来的。工程师们量了整整一个冬天的潮汐，把墙移动了两次。"
    )
    page = f"<body><ul>{LINKS}</ul><div><p>{line}</p><p>{line}</p></div></body>"
    assert extract(page).text == f"{line}\n\n{line}"


POSTS = (
    "How do I mount a remote folder so that it comes back after a reboot? I tried fstab and it hangs.",
    "Use the automount option of systemd, which waits for the network before it mounts anything at all.",
    "Thanks, that works!",
)


def phpbb(number: int, text: str) -> str:
    return f"""<div id="p{number}" class="post has-profile bg{number % 2 + 1}"><div class="inner">
    <dl class="postprofile"><dt><a class="username" href="u">user{number}</a></dt><dd>Posts: 12</dd></dl>
    <div class="postbody"><div id="post_content{number}"><h3><a href="#p{number}">Re: Mounting</a></h3>
    <ul class="post-buttons"><li><a href="q">Quote</a></li></ul>
    <p class="author"><a href="#">Post</a> by <a href="u">user{number}</a> » Mon May 04, 2020</p>
    <div class="content">{text}</div></div><div class="signature">Sent from my toaster</div></div></div></div>"""


def discourse(number: int, text: str) -> str:
    return f"""<div id="post_{number}" class="topic-body crawler-post"><div class="crawler-post-meta">
    <span class="creator"><a href="u">user{number}</a></span><time>May 4, 2020</time></div>
    <div class="post" itemprop="text"><p>{text}</p></div><span class="post-likes">2 Likes</span></div>"""


def stack_exchange(number: int, text: str) -> str:
    kind = "answer" if number else "question"
    return f"""<div id="{kind}-{number}" class="{kind}"><div class="votecell">{number}</div>
    <div class="postcell"><div class="s-prose js-post-body" itemprop="text"><p>{text}</p></div>
    <div class="user-info">answered May 4 <a href="u">user{number}</a></div></div>
    <ul class="comments-list"><li class="comment">Which distribution?</li></ul></div>"""


def vbulletin(number: int, text: str) -> str:
    return f"""<li class="postbitlegacy postcontainer" id="post_{number}">
    <div class="posthead">05-04-2020, 01:2{number} PM</div><div class="postdetails"><div class="userinfo">
    <a class="username">user{number}</a><dl><dt>Join Date</dt><dd>2018</dd></dl></div>
    <div class="postbody"><h2 class="title">Mounting</h2><div class="content"><div id="post_message_{number}">
    <blockquote class="postcontent restore">{text}</blockquote></div></div></div></div></li>"""


def old_vbulletin(number: int, text: str) -> str:
    return f"""<table id="post{number}" class="tborder"><tr><td class="thead">05-04-2020, 01:2{number} PM</td></tr>
    <tr><td class="alt2"><a class="bigusername" href="u">user{number}</a></td></tr>
    <tr><td class="alt1" id="td_post_{number}"><div id="post_message_{number}">{text}</div></td></tr></table>"""


def xenforo(number: int, text: str) -> str:
    return f"""<article class="message message--post"><section class="message-user"><a>user{number}</a></section>
    <header class="message-attribution"><time>May 4, 2020</time></header><article class="message-body">
    <div class="bbWrapper">{text}</div></article><footer><a href="l">Like</a></footer></article>"""


def hacker_news(number: int, text: str) -> str:
    return f"""<tr class="athing comtr" id="{number}"><td><table><tr><td class="ind"><img src="s.gif"></td>
    <td class="default"><span class="comhead"><a href="u">user{number}</a> <a href="i">2 hours ago</a></span><br>
    <div class="comment"><div class="commtext c00">{text}</div><div class="reply"><a href="r">reply</a></div></div>
    </td></tr></table></td></tr>"""


FORUMS = (phpbb, discourse, stack_exchange, vbulletin, old_vbulletin, xenforo, hacker_news)


@pytest.mark.parametrize("post", FORUMS, ids=lambda post: post.__name__)
def test_threads_keep_all_posts_in_order(post) -> None:
    posts = "".join(post(number, text) for number, text in enumerate(POSTS))
    around = {vbulletin: ("<ol>", "</ol>"), hacker_news: ("<table>", "</table>")}.get(post, ("<div>", "</div>"))
    text = extract(f"<body><nav>{LINKS}</nav>{around[0]}{posts}{around[1]}<footer>Imprint</footer></body>").text
    assert [line for line in text.split("\n") if line in POSTS] == list(POSTS)
    for gone in ("Another page", "Imprint", "Sent from my toaster", "user1", "Like", "Which distribution"):
        assert gone not in text
