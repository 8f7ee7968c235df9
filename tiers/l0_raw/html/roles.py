"""What an element is for, told from its tag, role, class and id."""

from __future__ import annotations

import re
from enum import IntEnum


class Role(IntEnum):
    """What an element is for, as far as its tag tells."""

    NONE = 0
    BOILERPLATE = 1
    """Navigation, comments, links to other pages, advertisement …"""
    SMALL_PRINT = 2
    """Authors, dates, captions, buttons …: such names are also given to whole articles, so only if it is short."""
    HIDDEN = 3
    LINE_NUMBERS = 4


BOILERPLATE_TAGS = frozenset("aside dialog footer menu nav search".split())
NEUTRAL_TAGS = frozenset("article blockquote body h1 h2 h3 h4 h5 h6 main pre".split())
"""Elements whose class says nothing about what they are for."""
_BOILERPLATE_ROLES = frozenset(
    "alert alertdialog banner complementary contentinfo dialog menu menubar navigation search tablist toolbar "
    "tooltip".split()
)


def _words(*alternatives: str) -> re.Pattern[str]:
    """Matches any of the names as a whole word of a class or id, whose words are parted by blanks, `-` and `_`."""
    return re.compile(rf"(?:^|[\s_-])(?:{'|'.join(alternatives)})(?:$|[\s_-])")


_HIDDEN = re.compile(r"(?:^| )(?:hidden|hide|sr-only|visually-?hidden|screen-reader-text|d-none)(?:$| )")
_LINE_NUMBERS = _words("line-?nos?", "line-?numbers?", "gutter", "lnt", "hljs-ln-numbers", "blob-num")
_BOILERPLATE = _words(
    "nav(?:bar|igation)?", "menus?", "side-?bar", "footer", "bread-?crumbs?", "pagination", "pager", "skip-?links?",
    "comments?", "comment-?list", "disqus", "respond", "replies", "signature", "post-?profile", "avatar",
    "shar(?:e|ing)(?:daddy)?", "social(?:-?media)?", "follow-?us", "newsletter", "subscri(?:be|ption)",
    "related", "jp-relatedposts", "yarpp", "recommend(?:ed|ations?)?", "popular", "trending", "most-?read",
    "read-?more", "(?:more|other|latest|recent)-?(?:stories|news|articles|posts|from)", "teasers?",
    "promo(?:tion)?s?", "advert(?:isement|s)?", "ads?", "sponsor(?:ed)?", "outbrain", "taboola", "widgets?",
    "cookies?", "consent", "gdpr", "modal", "popup", "pop-?over", "tool-?tip", "toolbar", "copyright",
    "sign-?(?:up|in)", "log-?in", "author-?(?:bio|box|info)",
    "gallery", "carousel", "slide-?show", "slider", "lightbox", "captions?", "sr-?only", "table-of-contents", "toc",
)  # fmt: skip
_SMALL_PRINT = _words(
    "by-?lines?", "author", "credits?", "timestamps?", "date(?:line)?", "published", "meta", "infos?", "tags?",
    "labels?", "category", "categories", "photos?", "images?", "img", "pictures?", "thumb(?:nail)?s?",
    "banner", "legal", "notice", "disclaimer", "print", "follow", "tools?", "actions?", "buttons?", "btn", "controls?",
    "rating", "views?",
)  # fmt: skip
_PICTURE = _words(
    "gallery", "carousel", "slide-?show", "slider", "lightbox", "captions?", "photos?", "images?", "img", "pictures?",
    "figures?", "thumb(?:nail)?s?", "wp-caption",
)  # fmt: skip
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def role_of_element(name: str, attributes: str) -> Role:
    """The role that an element's name and its attributes other than class and id tell."""
    if 'aria-hidden="true"' in attributes or 'hidden=""' in attributes:
        return Role.HIDDEN
    if "style=" in attributes and "display:none" in attributes.replace(" ", ""):
        return Role.HIDDEN
    role = re.search(r'(?:^| )role="([^"]*)"', attributes) if "role=" in attributes else None
    if name in BOILERPLATE_TAGS or (role and role[1] in _BOILERPLATE_ROLES):
        return Role.BOILERPLATE
    return Role.NONE


def role_of_class(names: str) -> Role:
    """The role that the words of an element's class and id tell."""
    names = _CAMEL.sub("-", names).lower()
    if _HIDDEN.search(names):
        return Role.HIDDEN
    if _LINE_NUMBERS.search(names):
        return Role.LINE_NUMBERS
    if "embed" in names:  # of others' posts, which belong to an article though their class says social media
        return Role.NONE
    if _BOILERPLATE.search(names):
        return Role.BOILERPLATE
    return Role.SMALL_PRINT if _SMALL_PRINT.search(names) else Role.NONE


def is_picture(names: str) -> bool:
    """Whether the words of an element's class and id say that it is there for an image."""
    return _PICTURE.search(_CAMEL.sub("-", names).lower()) is not None
