"""English words as the published quality rules count them.

The thresholds of Gopher, C4 and FineWeb are used, in open pipelines, on words as spaCy's English tokenizer splits
them: punctuation stands apart, contractions fall in two (`do` `n't`), abbreviations keep their period, numbers lose
their units. A plain split at white space decides differently in most documents (punctuation isn't counted as
words, so the share of alphabetic words moves). This module follows the same conventions, which go back to the Penn
Treebank (Marcus et al. 1993), without spaCy, and in time linear in the length of a chunk.

A *chunk* is what stands between white space; no rule looks beyond its ends.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product

SENTENCE_ENDS = frozenset(
    "!.?։؟۔܀܁܂߹।॥၊။።፧፨᙮᜵᜶᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡。"
    "𐩖𐩗𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑩂𑩃𑪛𑪜𑱁𑱂𖩮𖩯𖫵𖬷𖬸𖭄𛲟𝪈"
)
"""Marks that end a sentence in any script (Unicode property Sentence_Terminal)."""

TERMINALS = SENTENCE_ENDS | frozenset("؝؞࠷࠹࠽࠾។៕៖៙៚᭽᭾⹓⹔𐽕𐽖𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑥄𑥆𑻷𑻸𑽃𑽄𖺘")
"""Marks that a line of prose may end with: those of sentences, and of verses and sections in some scripts."""

SYMBOLS = (
    TERMINALS
    | frozenset(chr(code) for code in (*range(32), *range(127, 160)))
    | frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    | frozenset("–—’‘“”„«»‹›…´►━〈〉《》「」【】、；：，（）！？．～％１∶")
) - frozenset("‘‹›")
"""Characters that don't make a word a word: ASCII punctuation, quotes, dashes, full-width marks, controls."""

_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
_MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCIES = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa "
    "mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч "
    "кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ كم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ غرام جرام "
    "جم كغ ملغ كوب اكواب"
)
_APOSTROPHES = ("'", "’")
_TAIL = 10  # No suffix but a run of periods is longer, with what must stand before it.
_LONGEST_SPECIAL = 16
_LONGEST_JOINED = 64
_LONGEST_URL = 2000
_PLAIN = re.compile(r"([A-Za-z](?:[A-Za-z_]*[A-Za-z])?)((?:(?<=[a-z])\.|[,;:!?)])?)")


def _ranges(codes: Iterable[int]) -> str:
    """The inside of a character class that holds exactly `codes`, ascending."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(rf"\U{low:08x}-\U{high:08x}" for low, high in spans)


def _classes(limit: int) -> dict[str, str]:
    """Character classes below a code point: lower and upper case (letters without case are in both), other symbols."""
    found: dict[str, list[int]] = {"lower": [], "upper": [], "icon": []}
    for code in range(limit):
        category = unicodedata.category(chr(code))
        if category in ("Ll", "Lo"):
            found["lower"].append(code)
        if category in ("Lu", "Lo"):
            found["upper"].append(code)
        if category == "So":
            found["icon"].append(code)
    return {name: _ranges(codes) for name, codes in found.items()}


def _either(options: Iterable[str]) -> str:
    """A pattern for any of `options`, the longest first."""
    return "|".join(re.escape(option) for option in sorted(set(options), key=len, reverse=True))


@lru_cache(maxsize=2)
def _patterns(ascii_only: bool) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Compiled patterns for what stands before, behind and inside words, and for addresses that stay whole.

    Those for ASCII agree with the others on it and are much faster, having no large character classes.
    """
    classes = _classes(0x80 if ascii_only else 0x20000)
    lower, upper = classes["lower"], classes["upper"]
    icon = f"[{classes['icon']}]" if classes["icon"] else "(?!)"
    quotes, marks = re.escape(_QUOTES), re.escape(_MARKS)
    letter = r"[^\W\d_]"
    money = _either([*_CURRENCIES, "US$", "C$", "A$"])
    loose = f"……|[{marks}{quotes}]|{icon}"
    before = rf"[§%=—–]|\+(?!\d)|\.\.+|{loose}|{money}"
    behind = (
        rf"(?:\.\.+|{loose}|['’][sS]|[—–]|(?<=[0-9])\+|(?<=°[FfCcKk])\.|(?<=[0-9])(?:{money}|{_either(_UNITS.split())})"
        rf"|(?<=[0-9{lower}%²\-+{quotes}{marks}|])\.|(?<=[{upper}][{upper}])\.)$"
    )
    inside = (
        rf"\.\.+|…|{icon}|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{lower}{quotes}])\.(?=[{upper}{quotes}])"
        rf"|(?<={letter}),(?={letter})|(?<=[^\W_])(?:-{{1,3}}|——?|–|~)(?={letter})|(?<=[^\W_])[:<>=/](?={letter})"
    )
    host = rf"(?:[A-Za-z0-9\u00a1-\uffff](?:[A-Za-z0-9\u00a1-\uffff_-]*[A-Za-z0-9\u00a1-\uffff])?\.)+[{lower}]{{2,63}}"
    number = r"(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.\d{1,3}){3}"
    address = rf"(?:[\w+\-.]{{2,}}://)?(?:[^\s@]+@)?(?:{number}|{host})(?::\d{{2,5}})?(?:[/?#]\S*)?$"
    return re.compile(before), re.compile(behind), re.compile(inside), re.compile(address)


def _contractions() -> Iterator[tuple[str, ...]]:
    """Every contraction, in its parts, in lower case with the straight apostrophe."""
    subjects = {
        **dict.fromkeys(("i",), ("'m", "'ll", "'d", "'ve")),
        **dict.fromkeys(("you", "we", "they"), ("'ll", "'d", "'ve", "'re")),
        **dict.fromkeys(("he", "she", "it"), ("'ll", "'d", "'s")),
        **dict.fromkeys(("who", "what", "when", "where", "why", "how", "there"), ("'s", "'ll", "'re", "'ve", "'d")),
        **dict.fromkeys(("that", "this"), ("'s", "'ll", "'d")),
        **dict.fromkeys(("these", "those"), ("'ll", "'re", "'ve", "'d")),
    }
    for subject, endings in subjects.items():
        for ending in endings:
            yield subject, ending
            if ending in ("'ll", "'d"):
                yield subject, ending, "'ve"
    for verb in "ca could do does did had may might must need ought sha should wo would".split():
        yield verb, "n't"
        yield verb, "n't", "'ve"
    for verb in "ai are is was were have has dare".split():
        yield verb, "n't"
    for verb in "could might must should would not".split():
        yield verb, "'ve"
    yield from (("i", "'m", "a"), ("can", "not"), ("gon", "na"), ("got", "ta"))


_ABBREVIATIONS = (
    "Adm Ak Ala Apr Ariz Ark Aug Bros Calif Co Colo Conn Corp Dec Del Dr Feb Fla Ga Gen Gov Ia Id Ill Inc Ind Jan "
    "Jr Jul Jun Kan Kans Ky La Ltd Mar Mass Md Messrs Mich Minn Miss Mo Mont Mr Mrs Ms Mt Neb Nebr Nev Nov Oct Okla "
    "Ore Pa Prof Rep Rev Sen Sep Sept St Tenn Va Wash Wis co vs a.m p.m v.s e.g E.g E.G i.e I.e I.E D.C N.C N.D N.H "
    "N.J N.M N.Y S.C Ph.D a b c d e f g h i j k l m n o p q r s t u v w x y z ä ö ü"
)
_OTHERS = "' '' ’ ’’ — C++ <space> \\t \\n \\\") and/or w/o XD XDD xD xDD em ll nuff ‘S ‘s"
_ELISIONS = "Cause Cos Coz Cuz bout cause cos coz cuz em ll nuff re d s S"
_DROPPED_G = "doin goin havin lovin nothin nuthin ol somethin"
_EMOTICONS = (
    ":1 :o) :'( :') :'-( :'-) :’( :’) :’-( :’-) ;) ;-) ;-D ;D ;_; 8) 8-) 8-D 8D =( =) =/ =3 =D =[ =] =| (-8 (-: (-; (: "
    "(; (= (o: ): )-: [-: [: [= ]= <3 <33 <333 </3 <.< >.< >.> >:( >:o ><(((*> ^_^ ^__^ ^___^ (*_*) (-_-) (._.) (>_<) "
    "(^_^) -_- -__- ._. @_@ 0.0 0.o o.0 0_0 0_o o_0 O.O O.o o.O o.o O_O O_o o_O o_o :() V.V v.v V_V v_v (¬_¬) (ಠ_ಠ) "
    "ಠ_ಠ ಠ︵ಠ ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻"
)
_MOUTHS = "( ( ) * / 0 3 > D O P X ] o p x | } )) ))) (( ((("


def _whole() -> Iterator[str]:
    """What stays one word although it holds, or lacks, punctuation: abbreviations, elisions, emoticons."""
    yield from (*_OTHERS.split(), *_EMOTICONS.split())
    yield from (word + "." for word in _ABBREVIATIONS.split())
    yield from (":" + nose + mouth for nose, mouth in product(("", "-"), _MOUTHS.split()))
    for mark in _APOSTROPHES:
        yield from (mark + word for word in _ELISIONS.split())
        yield from (mark.join(word) for word in (("Ma", "am"), ("ma", "am"), ("O", "clock"), ("o", "clock")))
        for word in _DROPPED_G.split():
            yield from (word, word.title(), word + mark, word.title() + mark)


@lru_cache(maxsize=1)
def _special() -> dict[str, tuple[str, ...]]:
    """Chunks whose words no rule finds, and those words."""
    ordinary = set("ill its hell shell shed were well whore".split())
    special: dict[str, tuple[str, ...]] = {word: (word,) for word in _whole()}
    for parts in _contractions():
        for first in (parts[0], parts[0].title()):
            for mark in ("'", "’", ""):
                words = (first, *(part.replace("'", mark) for part in parts[1:]))
                if "".join(words).lower() not in ordinary:
                    special["".join(words)] = words
    for hour, period in product(range(1, 13), ("a.m.", "am", "p.m.", "pm")):
        special[f"{hour}{period}"] = (str(hour), period)
    for mark in _APOSTROPHES:
        for let, c in (("let", "c"), ("Let", "C")):
            special[f"{let}{mark}s"] = (let, f"{mark}s")
            special[f"{c}{mark}mon"] = (f"{c}{mark}m", "on")
        special[f"y{mark}all"] = (f"y{mark}", "all")
    special["yall"] = ("y", "all")
    for scale in "CFKcfk":
        special[f"°{scale}."] = ("°", scale, ".")
    return special


@lru_cache(maxsize=1)
def _sequences() -> tuple[dict[tuple[str, ...], tuple[str, ...]], frozenset[str], int]:
    """Runs of words that make up a special chunk, by their words; the words that they begin with; the longest."""
    runs = {tuple(_split(chunk, {})): words for chunk, words in _special().items()}
    runs = {run: words for run, words in runs.items() if len(run) > 1}
    return runs, frozenset(run[0] for run in runs), max(map(len, runs))


def _split(chunk: str, special: dict[str, tuple[str, ...]]) -> list[str]:
    """The words of `chunk` by prefixes, suffixes and infixes; what is in `special` isn't split further."""
    before, behind, inside, address = _patterns(chunk.isascii())
    start, end = 0, len(chunk)
    tail: list[str] = []
    words: list[str] = []

    def is_special() -> bool:
        return end - start <= _LONGEST_SPECIAL and chunk[start:end] in special

    while start < end and not is_special():
        prefix = before.match(chunk, start, end)
        if prefix:
            words.append(prefix.group())
            start = prefix.end()
            if is_special():
                break
        cut = _suffix_start(chunk, start, end, behind)
        if cut < end:
            tail.append(chunk[cut:end])
            end = cut
        elif not prefix:
            break
    if start < end:
        words.extend(special[chunk[start:end]] if is_special() else _split_inside(chunk[start:end], inside, address))
    return words + tail[::-1]


def _suffix_start(chunk: str, start: int, end: int, behind: re.Pattern[str]) -> int:
    """Where the suffix of chunk[start:end] begins, or `end` if it has none; looks at a few characters only."""
    if chunk.endswith("..", start, end):
        while end > start and chunk[end - 1] == ".":
            end -= 1
        return end
    low = max(start, end - _TAIL)
    tail = chunk[low:end]
    found = None if tail.isalpha() else behind.search(tail)
    return low + found.start() if found else end


def _split_inside(core: str, inside: re.Pattern[str], address: re.Pattern[str]) -> list[str]:
    """The words of a chunk that has lost its prefixes and suffixes."""
    if len(core) <= _LONGEST_URL and "." in core and address.match(core):
        return [core]
    words, start = [], 0
    for infix in inside.finditer(core):
        if infix.start() == 0:
            continue
        if infix.start() > start:
            words.append(core[start : infix.start()])
        words.append(infix.group())
        start = infix.end()
    if start < len(core):
        words.append(core[start:])
    return words


def _join_special(words: list[str]) -> list[str]:
    """`words` with each run that makes up a special chunk replaced by that chunk's words, longest runs first.

    A chunk of very many words is left as it is: it's no language, and emoticons in it don't matter.
    """
    runs, heads, longest = _sequences()
    starts = [at for at, word in enumerate(words) if word in heads]
    if not starts or not 1 < len(words) <= _LONGEST_JOINED:
        return words
    taken: dict[int, tuple[int, tuple[str, ...]]] = {}
    used = [False] * len(words)
    for size in range(min(longest, len(words)), 1, -1):
        for at in starts:
            run = runs.get(tuple(words[at : at + size])) if at + size <= len(words) else None
            if run is not None and not any(used[at : at + size]):
                taken[at] = (size, run)
                used[at : at + size] = [True] * size
    if not taken:
        return words
    joined: list[str] = []
    at = 0
    while at < len(words):
        size, run = taken.get(at, (1, (words[at],)))
        joined.extend(run)
        at += size
    return joined


def chunk_words(chunk: str) -> list[str]:
    """The words of one chunk, in order.

    Args:
        chunk: Text without white space; any length.

    Returns:
        Words that joined give `chunk` again.
    """
    special = _special().get(chunk)
    if special is not None:
        return list(special)
    plain = _PLAIN.fullmatch(chunk)
    if plain:  # Most chunks; what follows would find the same.
        core, mark = plain.groups()
        if not mark:
            return [core]
        if core not in _special():
            return [core, mark]
    return _join_special(_split(chunk, _special()))


def english_words(text: str) -> list[str]:
    """The words of `text`, in order, without white space."""
    return [word for chunk in text.split() for word in chunk_words(chunk)]


def is_punctuation(word: str) -> bool:
    """Whether every character of `word` is punctuation (Unicode categories P*)."""
    return all(unicodedata.category(character)[0] == "P" for character in word)
