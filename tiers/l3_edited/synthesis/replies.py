r"""Replies in JSON, as language models write it around LaTeX.

A model that writes `"\frac{1}{2}"` in JSON has written a form feed and `rac{1}{2}`; `\neq` becomes a line break and
`eq`. So a backslash that begins a command of LaTeX, or no escape of JSON, is taken for a backslash. Where a line break
and a word are as likely, as in `\nu` and `\nless`, it is taken for one behind an odd number of dollar signs.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tiers.llm.protocol import unfenced, well_formed

_SHORT = 160

_ESCAPE = re.compile(
    r"""\\(?:
        \\ |
        (?P<command>
            (?:b(?:ar|ars|egin|eta|f|ig|igg|inom|mod|oldsymbol|ot|oxed|ullet)
            |f(?:lat|orall|rac|box)
            |n(?:abla|eg|eq|ot|otin|olimits)
            |r(?:aise|angle|brace|brack|ceil|floor|ho|ight|ightarrow|m|tag)
            |t(?:ag|an|anh|au|ext|extbf|extit|extrm|frac|heta|herefore|ilde|imes|o|op|riangle)
            |u(?:nderline|nderbrace|parrow|psilon|plus))
            (?![A-Za-z])
        )
        | (?P<ambiguous>n(?:e|exists|i|less|mid|parallel|u)(?![A-Za-z]))
        | (?P<escape>["/bfnrt]|u[0-9a-fA-F]{4})
        | (?P<other>)
    )""",
    re.VERBOSE,
)


def read_object(text: str, prefill: str) -> dict[str, Any] | str:
    """The object that a reply is, with the strings in it trimmed; or what is wrong with it.

    Args:
        text: What the model wrote: the whole object, or what follows `prefill`; a fence around it is passed over.
        prefill: How the object begins.
    """
    written = unfenced(text)
    faults = []
    for whole in (written, prefill + written):
        try:
            found = json.loads(_ESCAPE.sub(_doubled, whole), strict=False)
        except (ValueError, RecursionError) as error:
            faults.append(f"{error}")
            continue
        if isinstance(found, dict):
            return {well_formed(key): _trimmed(value) for key, value in found.items()}
        faults.append(f"a {type(found).__name__} instead of an object")
    return faults[-1]


def invalid(content: dict[str, Any], schema: dict[str, Any]) -> str | None:
    """Where and why `content` doesn't satisfy `schema`, if so."""
    from jsonschema import Draft202012Validator

    fault = min(
        Draft202012Validator(schema).iter_errors(content), key=lambda one: list(map(str, one.path)), default=None
    )
    if fault is None:
        return None
    where = ".".join(map(str, fault.path))
    said = fault.message if len(fault.message) <= _SHORT else f"fails {fault.validator}: {fault.validator_value}"
    return f"{where}: {said}" if where else said


def _doubled(match: re.Match[str]) -> str:
    in_prose = match["ambiguous"] is not None and match.string.count("$", 0, match.start()) % 2 == 0
    kept = match[0] == r"\\" or match["escape"] is not None or in_prose
    return match[0] if kept else "\\" + match[0]


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return well_formed(value).strip()
    if isinstance(value, list):
        return [_trimmed(each) for each in value]
    return {well_formed(key): _trimmed(each) for key, each in value.items()} if isinstance(value, dict) else value
