"""What an element is for, told from its tag, role, class and id."""

from __future__ import annotations

from tiers.kernel import called
from tiers.l0_raw.kernels.names import (
    BEGUN,
    BLANK,
    DASH,
    LOWER_A,
    LOWER_Z,
    UNDERSCORE,
    UPPER_A,
    UPPER_Z,
    Data,
    constant,
    hash_byte,
    is_blank,
    lower,
    name_bits,
    stands_at,
    value_of,
)

NO_ROLE, SMALL_PRINT, BOILERPLATE, HIDDEN, LINE_NUMBERS = range(5)
"""What an element is for, as far as its tag tells; of two the higher holds.

Small print are authors, dates, captions, buttons …: such names are also given to whole articles, so only if it is
short. Boilerplate is navigation, comments, links to other pages, advertisement …
"""

BOILERPLATE_TAGS = frozenset("aside dialog footer menu nav search".split())
NEUTRAL_TAGS = frozenset("article blockquote body h1 h2 h3 h4 h5 h6 main pre".split())
"""Elements whose class says nothing about what they are for."""
BOILERPLATE_ROLES = name_bits((
    1,
    "alert alertdialog banner complementary contentinfo dialog menu menubar navigation search tablist toolbar "
    "tooltip".split(),
))  # fmt: skip

_HIDDEN_NAMES = name_bits(
    (1, "d-none hidden hide screen-reader-text sr-only visually-hidden visuallyhidden".split())
)  # fmt: skip
_OF_SMALL_PRINT, _OF_BOILERPLATE, _OF_LINE_NUMBERS, _OF_HIDDEN, _OF_PICTURE, _FIRST, _EMBEDDED = (
    1 << bit for bit in range(7)
)
# Words of classes and ids; two that `-`, `_` or a capital parts are also looked for as one.
_WORDS = name_bits(
    (_OF_LINE_NUMBERS, "blobnum gutter hljsln lineno linenos linenumber linenumbers lnt".split()),
    (
        _OF_BOILERPLATE,
        "ad ads advert advertisement advertisements adverts authorbio authorbox authorinfo avatar breadcrumb "
        "breadcrumbs caption captions carousel comment commentlist comments consent cookie cookies copyright disqus "
        "followus footer gallery gdpr latestarticles latestnews latestposts lateststories lightbox login menu menus "
        "modal morearticles morefrom morenews moreposts morestories mostread nav navbar navigation newsletter "
        "otherarticles othernews otherposts otherstories outbrain pager pagination popover popular popup postprofile "
        "promo promos promotion promotions readmore recentarticles recentnews recentposts recentstories recommend "
        "recommendation recommendations recommended related relatedposts replies respond share sharedaddy sharing "
        "sidebar signature signin signup skiplink skiplinks slider slideshow social socialmedia sponsor sponsored "
        "subscribe subscription taboola teaser teasers toc toolbar tooltip trending widget widgets yarpp".split(),
    ),
    (
        _OF_SMALL_PRINT,
        "action actions author banner btn button buttons byline bylines categories category control controls credit "
        "credits date dateline disclaimer follow image images img info infos label labels legal meta notice photo "
        "photos picture pictures print published rating tag tags thumb thumbnail thumbnails thumbs timestamp "
        "timestamps tool tools view views".split(),
    ),
    (
        _OF_PICTURE,
        "caption captions carousel figure figures gallery image images img lightbox photo photos picture pictures "
        "slider slideshow thumb thumbnail thumbnails thumbs".split(),
    ),
    (
        _FIRST,
        "author blob bread by comment date follow hljs latest line log more most nav other pop post read recent "
        "related share side sign skip slide social sub time tool".split(),
    ),
)
_EMBED = constant(b"embed")


@called
def read_words(names: Data, begin: int, end: int) -> int:
    """What the words of a class or id say, in bits."""
    found, token, word, pair = 0, BEGUN, BEGUN, BEGUN
    size, pairs, was_lower = 0, False, False
    for at in range(begin, end + 1):
        byte = names[at] if at < end else BLANK
        ends = is_blank(byte)
        if ends:
            found |= _OF_HIDDEN if value_of(_HIDDEN_NAMES, token) else 0
            token = BEGUN
        else:
            token = hash_byte(token, byte)
            found |= _EMBEDDED if stands_at(names, at, end, _EMBED) else 0
        parts = ends or byte == DASH or byte == UNDERSCORE
        if size and (parts or (was_lower and UPPER_A <= byte <= UPPER_Z)):
            meaning = value_of(_WORDS, word)
            found |= meaning | (value_of(_WORDS, pair) if pairs else 0)
            pairs, pair, word, size = meaning & _FIRST != 0, word, BEGUN, 0
        if not parts:
            word, pair = hash_byte(word, lower(byte)), hash_byte(pair, lower(byte))
            size += 1
        was_lower = LOWER_A <= byte <= LOWER_Z
    return found


@called
def role_of_words(found: int) -> int:
    """The role that the words of a class, or of an id, tell."""
    if found & _OF_HIDDEN:
        return HIDDEN
    if found & _OF_LINE_NUMBERS:
        return LINE_NUMBERS
    if found & _OF_BOILERPLATE:
        # Embedded posts of others belong to an article though their class says social media.
        return NO_ROLE if found & _EMBEDDED else BOILERPLATE
    return SMALL_PRINT if found & _OF_SMALL_PRINT else NO_ROLE


@called
def tells_picture(found: int) -> bool:
    """Whether the words of a class or id say that the element is there for an image."""
    return found & _OF_PICTURE != 0
