"""The names that tags are told apart by."""

from __future__ import annotations

from tiers.l0_raw.kernels.names import name_table
from tiers.l0_raw.kernels.roles import BOILERPLATE_TAGS, NEUTRAL_TAGS

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_BLOCKS = (
    *HEADINGS,
    *"address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure "
    "footer form header hgroup legend li main menu nav ol p pre search section summary table tbody td tfoot th thead "
    "tr ul".split(),
)
_SKIPPED = (
    "audio button canvas datalist iframe map noembed noframes noscript object plaintext script select style svg "
    "template textarea video xmp"
).split()
"""Elements that hold no text of a page, but for the types `math/…` of scripts and for obsolete elements for code."""
_OPAQUE = frozenset("iframe noembed noframes plaintext script style textarea xmp".split())
"""Those of them in which there is no markup."""
_CODE = ("plaintext", "xmp")

NAMES = ("", *_BLOCKS, "a", "br", "hr", "img", *_SKIPPED)
"""By their numbers; the first stands for all others."""
NUMBER = 0xFF
"""The bits of a tag's meaning that are the number of its name."""
IS_BLOCK, IS_SKIPPED, IS_OPAQUE, IS_CODE, IS_NEUTRAL, IS_BOILERPLATE = (1 << bit for bit in range(8, 14))

TAGS = name_table(
    {
        name: number
        | IS_BLOCK * (name in _BLOCKS)
        | IS_SKIPPED * (name in _SKIPPED)
        | IS_OPAQUE * (name in _OPAQUE)
        | IS_CODE * (name in _CODE)
        | IS_NEUTRAL * (name in NEUTRAL_TAGS)
        | IS_BOILERPLATE * (name in BOILERPLATE_TAGS)
        for number, name in enumerate(NAMES)
        if number
    }
)
"""What a name means."""
H1, H6, BODY, PRE, SCRIPT, A, BR, HR, IMG = map(NAMES.index, "h1 h6 body pre script a br hr img".split())
