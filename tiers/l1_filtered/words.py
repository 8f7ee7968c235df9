"""English words as the published quality rules count them.

The thresholds of Gopher, C4 and FineWeb are used, in open pipelines, on words as spaCy's English tokenizer splits
them: punctuation stands apart, contractions fall in two (`do` `n't`), abbreviations keep their period, numbers lose
their units. A plain split at white space decides differently in most documents (punctuation isn't counted as
words, so the share of alphabetic words moves). This module follows the same conventions, which go back to the Penn
Treebank (Marcus et al. 1993), without spaCy: here are the characters and chunks that they name, in `kernels.words` is
how they split.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise, product

import numpy as np

from tiers.l1_filtered.kernels import text as classes
from tiers.l1_filtered.kernels.text import Characters, Hashes, Text, put_entries
from tiers.l1_filtered.kernels.words import UNIT, split_words

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
_DOLLARS = ("US$", "C$", "A$")
_CURRENCIES = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa "
    "mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч "
    "кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ كم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ غرام جرام "
    "جم كغ ملغ كوب اكواب"
)
_APOSTROPHES = ("'", "’")
_UNSPACED = (
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u1000", "\u109f"),  # Myanmar
    ("\u1780", "\u17ff"),  # Khmer
    ("\u3040", "\u30ff"),  # Hiragana, Katakana
    ("\u3400", "\u9fff"),  # Han
    ("\uf900", "\ufaff"),
)
_AMONG_LETTERS = (("\u3001", "\u303f"),)  # Han punctuation, which the common split has among the letters.
_CATEGORIZED = 0x20000  # Beyond are letters without case, which no rule here tells from others.
_BITS_OF_CATEGORY = {
    "Ll": classes.LOWER | classes.STOPPED,
    "Lo": classes.LOWER | classes.STOPPED | classes.UPPER,
    "Lu": classes.UPPER,
    "So": classes.ICON | classes.PREFIX | classes.SUFFIX | classes.INFIX,
    "P": classes.PUNCTUATION,
}


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


def text_of(texts: Sequence[str], table: Characters) -> Text:
    """`texts` as the kernels see them."""
    codes = np.array([ord(character) for character in "".join(texts)], np.int64)
    return Text(table[codes], np.cumsum([0, *map(len, texts)]))


def entries(texts: Sequence[str]) -> Hashes:
    """Entries of `texts` [slots, (hash, 1)]."""
    made = _no_entries(len(texts))
    put_entries(made, text_of(texts, characters()), np.ones(len(texts), np.uint64), np.uint64(0))
    return made


def _no_entries(most: int) -> Hashes:
    return np.zeros((1 << (2 * most).bit_length(), 2), np.uint64)


def _masks(lengths: Iterable[Sequence[int]]) -> Hashes:
    """Where words of these lengths begin in their chunks, as bits [chunks]."""
    return np.array([sum(1 << start for start in np.cumsum([0, *each[:-1]]).tolist()) for each in lengths], np.uint64)


@lru_cache(maxsize=1)
def special_chunks() -> Hashes:
    """The entries of special chunks and of units, for the kernels."""
    units = [*_UNITS.split(), *_CURRENCIES, *_DOLLARS]
    chunks = text_of(list(_special()), characters())
    made = _no_entries(len(units) + len(_special()))
    put_entries(made, text_of(units, characters()), np.zeros(len(units), np.uint64), UNIT)
    ruled = split_words(chunks, made)
    runs = _masks([lengths.tolist() for lengths in np.split(ruled.lengths, ruled.bounds[1:-1])])
    starts = _masks([list(map(len, words)) for words in _special().values()])
    put_entries(made, chunks, starts | runs << np.uint64(32), np.uint64(0))
    return made


@lru_cache(maxsize=2)
def characters(unspaced: bool = False) -> Characters:
    """The character of every code point: itself and its classes.

    Args:
        unspaced: Whether characters of scripts without spaces between words are words of their own.
    """
    table = np.arange(0x110000)
    alone = table.astype(np.uint32).view("U1")
    for bit, holds in (
        (classes.SPACE, np.strings.isspace),
        (classes.LETTER, np.strings.isalpha),
        (classes.ALPHANUMERIC, np.strings.isalnum),
        (classes.DECIMAL, np.strings.isdecimal),
    ):
        table[holds(alone)] |= bit
    for code, category in enumerate(map(unicodedata.category, map(chr, range(_CATEGORIZED)))):
        table[code] |= _BITS_OF_CATEGORY.get(category, _BITS_OF_CATEGORY.get(category[0], 0))
    for first, last in _AMONG_LETTERS:
        table[ord(first) : ord(last) + 1] |= classes.ALPHANUMERIC | classes.LOWER | classes.UPPER | classes.STOPPED
    for bit, members in _members().items():
        table[np.array([ord(member) for member in members])] |= bit
    for first, last in (("0", "9"), ("A", "Z"), ("a", "z"), ("\u00a1", "\uffff")):
        table[ord(first) : ord(last) + 1] |= classes.HOST
    for first, last in _UNSPACED if unspaced else ():
        table[ord(first) : ord(last) + 1] |= classes.UNSPACED
    return table


def _members() -> dict[int, Iterable[str]]:
    """The characters of each class that has a list."""
    loose = _QUOTES + _MARKS
    lines = "".join(map(chr, range(0x2030)))
    return {
        classes.LINE_BREAK: [line[-1] for line in lines.splitlines(keepends=True)[:-1]],
        classes.DIGIT: "0123456789",
        classes.PREFIX: f"§%=—–{loose}{_CURRENCIES}",
        classes.SUFFIX: f"—–{loose}",
        classes.INFIX: "….,+-*^—–~:<>=/",
        classes.QUOTE: _QUOTES,
        classes.STOPPED: f"0123456789%²-+|{loose}",
        classes.HEAD: {chunk[0] for chunk in _special()},
        classes.SYMBOL: SYMBOLS,
        classes.SENTENCE_END: SENTENCE_ENDS,
        classes.TERMINAL: TERMINALS,
    }


def split(texts: Sequence[str], unspaced: bool = False) -> list[list[str]]:
    """The words of each of `texts`, in order, without white space."""
    words = split_words(text_of(texts, characters(unspaced)), special_chunks())
    found = []
    for text, lengths in zip(texts, np.split(words.lengths, words.bounds[1:-1]), strict=True):
        letters, ends = "".join(text.split()), np.cumsum(lengths).tolist()
        found.append([letters[begin:end] for begin, end in pairwise([0, *ends])])
    return found
