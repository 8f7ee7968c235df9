"""What an element is for, told from its tag, role, class and id."""

from __future__ import annotations

import re
from enum import IntEnum
from operator import add


class Role(IntEnum):
    """What an element is for, as far as its tag tells; of two the higher holds."""

    NONE = 0
    SMALL_PRINT = 1
    """Authors, dates, captions, buttons …: such names are also given to whole articles, so only if it is short."""
    BOILERPLATE = 2
    """Navigation, comments, links to other pages, advertisement …"""
    HIDDEN = 3
    LINE_NUMBERS = 4


_BOILERPLATE_TAGS = frozenset("aside dialog footer menu nav search".split())
NEUTRAL_TAGS = frozenset("article blockquote body h1 h2 h3 h4 h5 h6 main pre".split())
"""Elements whose class says nothing about what they are for."""
_BOILERPLATE_ROLES = frozenset(
    "alert alertdialog banner complementary contentinfo dialog menu menubar navigation search tablist toolbar "
    "tooltip".split()
)


_HIDDEN = frozenset("d-none hidden hide screen-reader-text sr-only visually-hidden visuallyhidden".split())
# Words of classes and ids; two that `-`, `_` or a capital parts are also looked for as one.
_LINE_NUMBERS = frozenset("blobnum gutter hljsln lineno linenos linenumber linenumbers lnt".split())
_BOILERPLATE = frozenset(
    "ad ads advert advertisement advertisements adverts authorbio authorbox authorinfo avatar breadcrumb breadcrumbs "
    "caption captions carousel comment commentlist comments consent cookie cookies copyright disqus followus footer "
    "gallery gdpr latestarticles latestnews latestposts lateststories lightbox login menu menus modal morearticles "
    "morefrom morenews moreposts morestories mostread nav navbar navigation newsletter otherarticles othernews "
    "otherposts otherstories outbrain pager pagination popover popular popup postprofile promo promos promotion "
    "promotions readmore recentarticles recentnews recentposts recentstories recommend recommendation recommendations "
    "recommended related relatedposts replies respond share sharedaddy sharing sidebar signature signin signup "
    "skiplink skiplinks slider slideshow social socialmedia sponsor sponsored subscribe subscription taboola teaser "
    "teasers toc toolbar tooltip trending widget widgets yarpp".split()
)
_SMALL_PRINT = frozenset(
    "action actions author banner btn button buttons byline bylines categories category control controls credit "
    "credits date dateline disclaimer follow image images img info infos label labels legal meta notice photo photos "
    "picture pictures print published rating tag tags thumb thumbnail thumbnails thumbs timestamp timestamps tool "
    "tools view views".split()
)
_PICTURE = frozenset(
    "caption captions carousel figure figures gallery image images img lightbox photo photos picture pictures slider "
    "slideshow thumb thumbnail thumbnails thumbs".split()
)
_ROLES = {
    **dict.fromkeys(_SMALL_PRINT, Role.SMALL_PRINT),
    **dict.fromkeys(_BOILERPLATE, Role.BOILERPLATE),
    **dict.fromkeys(_LINE_NUMBERS, Role.LINE_NUMBERS),
}
_FIRST_WORDS = frozenset(
    "author blob bread by comment date follow hljs latest line log more most nav other pop post read recent related "
    "share side sign skip slide social sub time tool".split()
)
_ROLE = re.compile(r'(?:^| )role="([^"]*)"')
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def role_of_element(name: str, attributes: str) -> Role:
    """The role that an element's name and its attributes other than class and id tell."""
    if attributes:
        if 'hidden="' in attributes and ('aria-hidden="true"' in attributes or 'hidden=""' in attributes):
            return Role.HIDDEN
        if "display" in attributes and "display:none" in attributes.replace(" ", ""):
            return Role.HIDDEN
        if "role=" in attributes and (found := _ROLE.search(attributes)) and found[1] in _BOILERPLATE_ROLES:
            return Role.BOILERPLATE
    return Role.BOILERPLATE if name in _BOILERPLATE_TAGS else Role.NONE


def role_of_class(names: str) -> Role:
    """The role that the words of an element's class, or of its id, tell."""
    if not _HIDDEN.isdisjoint(names.split()):
        return Role.HIDDEN
    role = max([_ROLES[word] for word in _words(names) if word in _ROLES], default=Role.NONE)
    # Embedded posts of others belong to an article though their class says social media.
    return Role.NONE if role is Role.BOILERPLATE and "embed" in names else role


def is_picture(names: str) -> bool:
    """Whether the words of an element's class and id say that it is there for an image."""
    return not _PICTURE.isdisjoint(_words(names))


def _words(names: str) -> list[str]:
    """The words of a class, and two neighbours as one where the first may begin such a word."""
    if not names.islower():
        names = _CAMEL.sub("-", names).lower()
    words = names.replace("-", " ").replace("_", " ").split()
    if not _FIRST_WORDS.isdisjoint(words):
        words += list(map(add, words, words[1:]))
    return words
