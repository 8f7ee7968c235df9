import pytest
from pydantic import ValidationError

from tiers.document import documents
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.l1_filtered.rules import C4, FineWeb, GopherQuality, GopherRepetition, Reason
from tiers.stage import Context, check_outcome

PROSE = """The lighthouse keeper climbed the stairs every evening to light the lamp that guided ships along the coast.
In winter the storms threw spray against the windows, and he could not see the harbour for days.
He kept a diary of the weather, of passing vessels, and of the birds which rested on the gallery.
When the lamp was replaced by an automatic one, the town asked him to stay and to show visitors around.
Children liked his stories about wrecks, about smugglers, and about the whale that once came into the bay.
Years later, his diary helped scientists to reconstruct how the climate of the region had changed.
"""
OFF = {"gopher_repetition": None, "gopher_quality": None, "c4": None, "fineweb": None}
UNIQUE = [f"{a}{b}{c}" for a in "bdfgklm" for b in ("arn", "ell", "im", "ost") for c in ("er", "ing", "ous", "ly", "y")]


def judge(context, text, **families):
    stage = QualityRules(**{**OFF, **families})
    table = documents([{"text": text, "source": "a"}])
    outcome = stage.prepare(context)(table)
    check_outcome(stage, table, outcome)
    return outcome


def reason(context, text, **families):
    rows = judge(context, text, **families).dropped.to_pylist()
    return (rows[0]["reason"], rows[0]["detail"]) if rows else None


@pytest.fixture
def context(tmp_path):
    return Context(models=tmp_path)


def test_prose_passes_all_families(context):
    outcome = QualityRules().prepare(context)(documents([{"text": PROSE, "source": "a"}]))

    assert outcome.kept.num_rows == 1


REPETITION = {
    Reason.EMPTY: "",
    Reason.DUPLICATE_PARAGRAPHS: "one\n\n" * 4 + PROSE.replace("\n", " "),
    Reason.DUPLICATE_PARAGRAPH_CHARACTERS: f"{PROSE[:300]}\n\nb\n\nc\n\nd\n\n{PROSE[:300]}",
    Reason.DUPLICATE_LINES: PROSE + "ok\n" * 6,
    Reason.DUPLICATE_LINE_CHARACTERS: PROSE + "".join(PROSE.splitlines(keepends=True)[:2]),
    Reason.TOP_2_GRAM: " ".join(f"{word} big dog" for word in UNIQUE[:40]),
    Reason.TOP_3_GRAM: " ".join(" ".join(UNIQUE[4 * i : 4 * i + 4]) + " a big dog" for i in range(20)),
    Reason.TOP_4_GRAM: " ".join(" ".join(UNIQUE[5 * i : 5 * i + 5]) + " a or b c" for i in range(20)),
    Reason.DUPLICATE_5_GRAMS: f"{' '.join(UNIQUE[:60])} {' '.join(UNIQUE[:30])}",
}


@pytest.mark.parametrize(("expected", "text"), REPETITION.items())
def test_gopher_repetition(context, expected, text):
    found = reason(context, text, gopher_repetition=GopherRepetition())

    assert found is not None
    assert found[0] == expected


@pytest.mark.parametrize("n", [5, 6, 7, 8, 9, 10])
def test_gopher_duplicate_runs_of_each_length(context, n):
    rule = GopherRepetition(top_n_grams=(), duplicate_n_grams=((n, 0.1),))
    text = f"{' '.join(UNIQUE[:60])} {' '.join(UNIQUE[:30])}"

    assert reason(context, text, gopher_repetition=rule)[0] == f"gopher_repetition.duplicate_{n}_grams"


QUALITY = {
    Reason.TOO_SHORT: "the cat and the dog",
    Reason.SHORT_WORDS: "a of be to " * 20,
    Reason.LONG_WORDS: "the incomprehensibilities and internationalisation of counterrevolutionaries " * 12,
    Reason.HASHES: PROSE + "# " * 30,
    Reason.ELLIPSES: PROSE + "wait... " * 40,
    Reason.BULLETS: "".join(f"- {line}\n" for line in PROSE.splitlines()),
    Reason.ELLIPSIS_LINES: "".join(f"{line}...\n" for line in PROSE.splitlines()),
    Reason.FEW_LETTERS: PROSE + "12 345 " * 40,
    Reason.FEW_STOP_WORDS: " ".join(UNIQUE[:120]),
}


@pytest.mark.parametrize(("expected", "text"), QUALITY.items())
def test_gopher_quality(context, expected, text):
    found = reason(context, text, gopher_quality=GopherQuality())

    assert found is not None
    assert found[0] == expected


def test_gopher_quality_of_too_many_words(context):
    found = reason(context, PROSE, gopher_quality=GopherQuality(max_words=60))

    assert found == (Reason.TOO_LONG, "109 > 60")


def test_the_detail_holds_value_and_threshold(context):
    assert reason(context, "the cat and the dog", gopher_quality=GopherQuality()) == (Reason.TOO_SHORT, "5 < 50")


C4_CASES = {
    Reason.LOREM_IPSUM: PROSE + "Lorem ipsum dolor sit amet.\n",
    Reason.CURLY_BRACKET: PROSE + "function f() { return 1. }.\n",
    Reason.FEW_SENTENCES: "One sentence stands here. Another stands there! And a third?\n",
}


@pytest.mark.parametrize(("expected", "text"), C4_CASES.items())
def test_c4_drops_pages(context, expected, text):
    found = reason(context, text, c4=C4())

    assert found is not None
    assert found[0] == expected


def test_c4_counts_sentences_within_lines(context):
    line = 'He came. "Where are you?" she asked. Nobody answered... She left! And so on.'

    assert reason(context, line, c4=C4(min_sentences=5)) is None
    assert reason(context, line, c4=C4(min_sentences=8))[1] == "5 < 8"


def test_c4_takes_lines_out_and_says_so(context):
    extra = "Menu\nThis site uses cookies to improve your experience.\nPlease enable JavaScript in your browser.\n"
    outcome = judge(context, PROSE.replace("windows", "windows[12]") + extra, c4=C4())

    assert outcome.kept["text"].to_pylist() == [PROSE.strip()]
    assert outcome.noted.to_pylist() == [
        {
            "id": outcome.kept["id"][0].as_py(),
            "reason": "c4.lines_removed",
            "detail": "3 of 9 lines, 103 of 715 characters",
        }
    ]


def test_lost_white_space_is_not_noted(context):
    outcome = judge(context, PROSE.replace("\n", "\n\n  "), c4=C4())

    assert outcome.kept["text"].to_pylist() == [PROSE.replace("\n", "\n\n  ").strip()]
    assert outcome.noted.num_rows == 0


def test_c4_can_leave_the_text_alone(context):
    outcome = judge(context, PROSE + "Menu\n", c4=C4(edit=False))

    assert outcome.kept["text"].to_pylist() == [PROSE + "Menu\n"]
    assert outcome.noted.num_rows == 0


def test_c4_drops_lines_with_overlong_words(context):
    outcome = judge(context, PROSE + "x" * 1001 + " is not a word.\n", c4=C4())

    assert outcome.kept["text"].to_pylist() == [PROSE.strip()]


FINEWEB = {
    Reason.NO_LINES: " \n \n",
    Reason.LINE_PUNCTUATION: "\n".join(f"{line[:-1]} and so on" for line in PROSE.splitlines()),
    Reason.SHORT_LINES: PROSE + "Short.\nBrief.\nTiny.\n" * 5,
    Reason.DUPLICATE_CHARACTERS: PROSE + PROSE.splitlines()[0] + "\n",
    Reason.LINE_BREAKS: "\n".join(f"{word}incomprehensibilitiesandmore." for word in UNIQUE[:30]),
}


@pytest.mark.parametrize(("expected", "text"), FINEWEB.items())
def test_fineweb(context, expected, text):
    found = reason(context, text, fineweb=FineWeb())

    assert found is not None
    assert found[0] == expected


def test_fineweb_sees_what_c4_left(context):
    text = PROSE + "Menu\n" * 30

    assert reason(context, text, fineweb=FineWeb()) is not None
    assert reason(context, text, c4=C4(), fineweb=FineWeb()) is None


def test_a_threshold_of_none_turns_a_rule_off(context):
    assert reason(context, "the cat and the dog", gopher_quality=GopherQuality(min_words=None)) is None


ODD = ["", " ", "\n\n\n", "\x00", "\x01\x02 \x1f", "\u200b", "a", "。", "…", "#", "\ufeff", "🙂 🙂"]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_get_a_verdict_from_every_family(context, text):
    for name, family in (("gopher_quality", GopherQuality()), ("c4", C4()), ("fineweb", FineWeb())):
        assert reason(context, text, **{name: family}) is not None
    judge(context, text, gopher_repetition=GopherRepetition())


def test_no_rule_divides_by_nothing(context):
    rules = GopherQuality(min_words=None, min_alphabetic_words=None, min_stop_words=None)
    for text in ODD:
        judge(context, text, gopher_quality=rules, c4=C4(min_sentences=None), fineweb=FineWeb())


@pytest.mark.parametrize("text", ["a" * 5_000_000, "lorem dolor " * 420_000, "(" * 200_000])
def test_one_very_long_line(context, text):
    assert QualityRules().prepare(context)(documents([{"text": text, "source": "a"}])).dropped.num_rows == 1


def test_chinese_is_judged_too(context):
    text = "灯塔看守人每天晚上爬上楼梯点亮灯塔。\n冬天的暴风雨把浪花打在窗户上。\n" * 3

    assert reason(context, text, c4=C4())[0] == Reason.FEW_SENTENCES


def test_verdicts_do_not_depend_on_what_was_seen_before(context):
    texts = [*REPETITION.values(), *QUALITY.values(), *C4_CASES.values(), *FINEWEB.values(), PROSE]
    rows = [{"text": text, "source": str(number)} for number, text in enumerate(texts)]
    together = QualityRules().prepare(context)(documents(rows)).dropped.to_pylist()
    alone = [row for r in rows for row in QualityRules().prepare(context)(documents([r])).dropped.to_pylist()]

    assert together == alone


@pytest.mark.parametrize(
    "parameters",
    [
        {"gopher_quality": {"min_words": -1}},
        {"gopher_repetition": {"duplicate_lines": 1.5}},
        {"gopher_repetition": {"top_n_grams": [[3, 0.1], [2, 0.1]]}},
        {"fineweb": {"short_line": -3}},
        {"c4": {"unknown": True}},
        {"c4": {"max_word_length": 0}},
    ],
)
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(ValidationError):
        QualityRules(**parameters)


def test_c4_takes_lines_out_and_leaves_paragraphs_and_indentation_alone(context):
    first, second = "One whole sentence stands here.\n\n", "Another follows it.\n    indented code stays as it is."
    outcome = judge(context, f"{first}\n\nmenu\n\n{second}\n\n", c4=C4(min_sentences=None))

    assert outcome.kept["text"].to_pylist() == [first + second]


@pytest.mark.parametrize(
    "phrase", ["Use cookies", "USE COO\u212aIES", "uses cookies", "JavaScript", "a privacy policy"]
)
def test_c4_finds_phrases_in_any_case(context, phrase):
    outcome = judge(context, f"{PROSE}This line speaks of {phrase}, and goes.\n", c4=C4())

    assert outcome.kept["text"].to_pylist() == [PROSE.strip()]


def test_c4_gives_the_reason_that_comes_first(context):
    lorem, bracket = "Lorem ipsum is a line here.\n", "A { is in this line, too.\n"

    assert reason(context, PROSE + lorem + bracket, c4=C4()) == (Reason.LOREM_IPSUM, "1 > 0")
    assert reason(context, PROSE + bracket * 2 + lorem, c4=C4()) == (Reason.CURLY_BRACKET, "2 > 0")
    assert reason(context, PROSE + lorem + bracket, c4=C4(lorem_ipsum=False))[0] == Reason.CURLY_BRACKET


def measured(context, text, **parameters):
    measure = QualityRules(**parameters).prepare_measuring(context)
    return measure(documents([{"text": text, "source": "a"}])["text"]).to_pylist()[0]


def test_every_signal_of_every_document_is_measured(context):
    signals = measured(context, f"{PROSE}{{\nLorem ipsum comes after it.\n")

    assert set(signals) == {rule.signal for rule in QualityRules().rules()}
    assert None not in signals.values()
    assert signals["c4.sentences"] == 7
    assert signals["fineweb.lines"] == 7


@pytest.mark.parametrize("text", ["", " \n"])
def test_what_a_text_has_nothing_of_is_null(context, text):
    signals = measured(context, text)

    assert signals["gopher_repetition.characters"] == len(text)
    assert signals["gopher_quality.words"] == signals["fineweb.lines"] == 0
    assert (signals["gopher_repetition.duplicate_lines"] is None) == (text == "")
    assert {signals["gopher_quality.mean_word_length"], signals["fineweb.short_lines"]} == {None}


def test_thresholds_do_not_belong_to_what_is_measured():
    other = QualityRules(
        gopher_repetition=GopherRepetition(duplicate_lines=None, top_n_grams=((2, 0.5), (3, 0.5), (4, 0.5))),
        gopher_quality=GopherQuality(min_words=10),
        c4=C4(min_sentences=None),
        fineweb=FineWeb(max_short_lines=0.5),
    )

    assert other.measuring() == QualityRules().measuring()


@pytest.mark.parametrize(
    "parameters",
    [
        {"fineweb": None},
        {"fineweb": {"short_line": 20}},
        {"c4": {"terminal_punctuation": False}},
        {"c4": {"edit": False}},
        {"gopher_quality": {"stop_words": ["der", "die", "das"]}},
        {"gopher_repetition": {"duplicate_n_grams": [[5, 0.1]]}},
        {"unspaced": "characters"},
    ],
)
def test_what_changes_a_signal_belongs_to_what_is_measured(parameters):
    assert QualityRules(**parameters).measuring() != QualityRules().measuring()


def test_runs_of_other_lengths_have_signals_and_reasons(context):
    rule = GopherRepetition(top_n_grams=((12, 0.1),), duplicate_n_grams=())
    text = f"{' '.join(UNIQUE[:60])} {' '.join(UNIQUE[:30])}"

    assert reason(context, text, gopher_repetition=rule)[0] == Reason.TOP_N_GRAM
    assert "gopher_repetition.top_12_gram" in measured(context, text, gopher_repetition=rule)


CHINESE = "灯塔看守人每天晚上爬上楼梯点亮灯塔。冬天的暴风雨把浪花打在窗户上，他好几天看不见港口。\n他写日记。\n"


def test_unspaced_scripts_can_be_counted_by_characters(context):
    chunks, counted = (
        measured(context, CHINESE, unspaced=unspaced, c4={"terminal_punctuation": False})
        for unspaced in ("chunks", "characters")
    )

    assert chunks["gopher_quality.words"] == 2
    assert counted["gopher_quality.words"] == sum(map(str.isalpha, CHINESE))
    assert counted["gopher_quality.mean_word_length"] == 1
    assert chunks["c4.sentences"] == 0
    assert counted["c4.sentences"] == 3


def test_long_lines_without_spaces_are_no_words(context):
    rules = {"c4": C4(terminal_punctuation=False, min_sentences=None)}
    text = "灯塔" * 600

    assert judge(context, text, **rules).kept["text"].to_pylist() == [""]
    assert judge(context, text, unspaced="characters", **rules).kept["text"].to_pylist() == [text]


def test_some_family_must_be_on():
    with pytest.raises(ValidationError, match="all families"):
        QualityRules(**OFF)
