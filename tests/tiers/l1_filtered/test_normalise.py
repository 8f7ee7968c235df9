import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tiers.document import documents
from tiers.l1_filtered.normalise import Normalise, normalise
from tiers.stage import Context, check_outcome


def normal(text, form="NFC"):
    return normalise(text, form)[0]


CHANGED = {
    "e\u0301te\u0301": "été",
    "\u212b": "Å",
    "a\r\nb\rc\x0bd\x0ce\x85f\u2028g\u2029h": "a\nb\nc\nd\ne\nf\ng\nh",
    "\ufeffa\u200bb\u00adc\u2060d\x00e\x07f": "abcdef",
    "\x1b[1;31mred\x1b[0m": "red",
    "icon \ue001 here \U000f0001.": "icon here .",
    "hidden\U000e0068\U000e0069 words": "hidden words",
    "10\u2009kg,\u00a0a\u2003b\u202fc": "10 kg, a b c",
    "word   word\tword": "word word word",
    "end  \nnext\t\n": "end\nnext",
    "\n\n  \none\n\n\n \n\ntwo\n\n": "one\n\ntwo",
    "left\u202ato right\u202c, \u200eplain": "leftto right, plain",
    "wide\u3000space": "wide space",
    "\u263a\ufe0f\ufe0f\ufe01": "\u263a\ufe0f",
}


@pytest.mark.parametrize(("text", "expected"), CHANGED.items())
def test_texts_get_one_form(text, expected):
    assert normal(text) == expected


KEPT = {
    "paragraphs": "One paragraph.\n\nAnother one.\n\nA third.",
    "compatibility characters": "E = mc², x₁ ≤ ½, ﬁ ℌ ①",
    "indentation": "def f(x):\n  if x:\n        return x",
    "indented code": "Text.\n\n    x    = 1\n    long = 2\n\nText.",
    "fenced code": "Text.\n\n```python\nx    = 1   \n\n\n\ny\t= 2\n```\n\nText.",
    "unclosed fence": "~~~\na  =  b",
    "table with bars": "| a    | b |\n|------|---|\n| 1    | 2 |",
    "table with rules": "=====  =====\nName   Age\nAda    36\n=====  =====",
    "aligned columns": "Name      Age   City\nAda       36    London\nBlaise    39    Paris",
    "tabs": "a\tb\tc\n1\t2\t3",
    "persian": "می\u200cخواهم",
    "devanagari": "क्\u200dष और क्\u200cष",
    "khmer": "ភាសា\u200bខ្មែរ",
    "thai": "ภาษา\u200bไทย",
    "emoji": "👩\u200d🚀 🏳\ufe0f\u200d🌈 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "ideographic space": "「はい。」\u3000彼は言った。",
    "embedded": "קובץ \u202afile.txt\u202c כאן \u2067abc\u2069",
    "mongolian": "ᠤᠯᠤᠰ\u202fᠤᠨ",
    "variation": "葛\U000e0100城",
    "replacement": "lost \ufffd here",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_what_means_something_stays(text):
    assert normalise(text) == (text, 0, 0)


def test_joiners_with_nothing_to_join_go():
    assert normal("a\u200db \u200cc क\u200d") == "ab c क\u200d"


def test_unbalanced_marks_of_direction_go():
    assert normal("שלום \u202bעולם\nשלום \u202c\u200fעולם") == "שלום עולם\nשלום \u200fעולם"


def test_justified_prose_loses_its_gaps():
    text = "The  keeper climbed   the stairs every evening.\nIn winter  storms threw spray against  the windows."

    assert normal(text) == "\n".join(" ".join(line.split()) for line in text.split("\n"))


def test_compatibility_form_on_demand():
    assert normal("x² ﬁ ①", "NFKC") == "x2 fi 1"


MOJIBAKE = {
    "The cafÃ© wasnâ€™t open â€” pity.": "The café wasn’t open — pity.",
    "quoted â\x80\x9csoâ\x80\x9d": "quoted “so”",
    "It costs Â£5 at 25Â°C": "It costs £5 at 25°C",
    "Ã–sterreich": "Österreich",
    "ÐŸÑ€Ð¸Ð²ÐµÑ‚": "Привет",
    "РџСЂРёРІРµС‚": "Привет",
    "ä¸­æ–‡": "中文",
    "ðŸ˜€": "😀",
    "It wasnÃ¢â‚¬â„¢t": "It wasn’t",
    "\x93Quoted\x94 \x96 and more": "“Quoted” – and more",
}


@pytest.mark.parametrize(("text", "expected"), MOJIBAKE.items())
def test_double_encoded_text_is_decoded(text, expected):
    assert normalise(text) == (expected, 1, 0)


INTACT = [
    "Le CAFÉ” et la déesse",
    "LE CAFÉ”",
    "IRMÃ” e IRMÃ…",
    "il a passé\u00a0»",
    "voilà\u00a0»",
    "Das „Ä“ und das „Ö“",
    "UTF-8 read as Latin-1 turns é into Ã©.",
    "С° и Р°",
    "Âge, château, Île",
    "Über Ähren",
    "50 °C ± 2 °C",
    "Съешь же ещё этих мягких французских булок",
]


@pytest.mark.parametrize("text", INTACT)
def test_what_could_be_meant_is_not_decoded(text):
    assert normalise(text)[0] == text.replace("\u00a0", " ")
    assert normalise(text)[1] == 0


def test_every_row_is_kept_and_changes_are_noted():
    rows = ["Clean text.", "The cafÃ©\x00 is open.", "e\u0301\r\n", ""]
    table = documents([{"text": text, "source": str(number)} for number, text in enumerate(rows)])
    stage = Normalise()
    outcome = stage.prepare(Context(models=None))(table)
    check_outcome(stage, table, outcome)

    assert outcome.kept["text"].to_pylist() == ["Clean text.", "The café is open.", "é", ""]
    assert [(row["id"], row["reason"], row["detail"]) for row in outcome.noted.to_pylist()] == [
        (table["id"][1].as_py(), "normalise.encoding_repaired", "1 lines"),
        (table["id"][1].as_py(), "normalise.characters_removed", "1 characters"),
    ]


PIECES = st.sampled_from(
    [
        *"aZ1 \t\n\r`~|-+=Ã©Ââ€™é»“”—РС°™²*.",
        *"\u00a0\u200b\u200c\u200d\u00ad\ufeff\u202a\u202c\u2067\u2069\u200e\u3000\u2000\u202f\u180e\ufe0f\x1b[m\x00\x0c\x85\x93",
        *"اबक्ไทខ្中。ᠠ🏴🙂\ue000\U000e0067\U000e007f\u0301\u0302\u1f71\u1fef\u2028",
        *["```", "~~~", "---", "    ", "\n\n\n", "a  b", "|  |", "Ã©", "â€œ", "РїСЂРё", "ç”¨"],
    ]
)


@given(st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=60)), st.sampled_from(["NFC", "NFKC"]))
def test_done_twice_it_changes_nothing_more(text, form):
    once = normal(text, form)

    assert normalise(once, form) == (once, 0, 0)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.just("\n"), max_size=200))
def test_ascii_loses_nothing_but_white_space(text):
    assert normal(text).split() == text.split()


@pytest.mark.parametrize(
    "text", [" " * 300_000 + "a", "a\t " * 100_000, "\n" * 300_000, "\u202b" * 100_000, "```a\n" * 50_000]
)
def test_long_runs_are_read_in_linear_time(text):
    assert len(normal(text)) <= len(text)


def test_an_unknown_form_is_refused():
    with pytest.raises(ValidationError):
        Normalise(form="NFD")
