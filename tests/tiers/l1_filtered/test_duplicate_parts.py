import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tiers.document import documents
from tiers.l1_filtered.duplicate_parts import DuplicateLines, DuplicateParagraphs
from tiers.stage import check_outcome

NOTICE = "All rights reserved by the owners of this site since 2001."
PROSE = [
    "The lighthouse keeper climbed the stairs every evening to light the lamp that guided the ships along the coast.",
    "A river that freezes from its banks leaves open water in the middle, where the current is too quick for ice.",
    "Bread rises because yeast turns sugar into gas, and the dough is tough enough to hold what it cannot see.",
    "Swallows return to the barn in which they hatched, though nobody has ever shown them the way back to it.",
]


def table(texts):
    return documents([{"text": text, "source": source} for source, text in texts.items()])


def run(stage, *tables):
    spilled = pa.concat_tables([stage.spill(shard) for shard in tables])
    number = pa.array(spilled["partition"].to_numpy() % 3)
    reduced = [stage.reduce(spilled.filter(pc.equal(number, n))) for n in range(3)]
    decision = stage.decide(pa.concat_tables(reduced), lambda rows, columns: pytest.fail("it needs no full rows"))
    texts, dropped, noted = {}, {}, {}
    for shard in tables:
        outcome = stage.apply(shard, decision)
        check_outcome(stage, shard, outcome)
        texts |= dict(zip(outcome.kept["source"].to_pylist(), outcome.kept["text"].to_pylist(), strict=True))
        names = dict(zip(shard["id"].to_pylist(), shard["source"].to_pylist(), strict=True))
        dropped |= {names[row["id"]]: (row["reason"], row["detail"]) for row in outcome.dropped.to_pylist()}
        noted |= {names[row["id"]]: (row["reason"], row["detail"]) for row in outcome.noted.to_pylist()}
    return texts, dropped, noted


def test_a_line_of_many_documents_stays_in_one():
    texts = {str(n): f"{prose}\n{NOTICE}\nEnd {n}." for n, prose in enumerate(PROSE)}
    kept, dropped, noted = run(DuplicateLines(min_documents=3), table(texts))

    assert dropped == {}
    assert [name for name in texts if kept[name] == texts[name]] == [name for name in texts if name not in noted]
    assert len(noted) == 3
    for name, (reason, detail) in noted.items():
        assert kept[name] == f"{PROSE[int(name)]}\nEnd {name}."
        assert (reason, detail) == ("duplicate_lines_removed", f"1, {len(NOTICE) + 1} of {len(texts[name])} characters")


def test_no_document_keeps_it_where_none_is_to():
    texts = {str(n): f"{prose}\n{NOTICE}" for n, prose in enumerate(PROSE)}
    kept, _, noted = run(DuplicateLines(min_documents=3, keep="none"), table(texts))

    assert list(kept.values()) == PROSE
    assert len(noted) == 4


def test_case_accents_punctuation_and_figures_do_not_set_parts_apart():
    forms = [
        "Déjà vu, 2001: all rights reserved",
        "deja vu 1999 ALL RIGHTS RESERVED!",
        "De\u0301ja\u0300 vu, 2024 — all rights reserved",
    ]
    texts = {str(n): f"{form}\n{prose}" for n, (form, prose) in enumerate(zip(forms, PROSE, strict=False))}
    kept, _, _ = run(DuplicateLines(min_documents=3, keep="none"), table(texts))

    assert list(kept.values()) == PROSE[:3]


@pytest.mark.parametrize(
    ("parameters", "notice", "copies"),
    [
        ({"min_documents": 4}, NOTICE, 3),
        ({"min_documents": 2, "min_words": 12}, NOTICE, 3),
        ({"min_documents": 2}, "Next page", 3),
        ({"min_documents": 2}, "——————————", 3),
    ],
)
def test_rare_and_short_lines_stay(parameters, notice, copies):
    texts = {str(n): f"{PROSE[n]}\n{notice}" for n in range(copies)}

    assert run(DuplicateLines(**parameters), table(texts)) == (texts, {}, {})


def test_repeats_within_one_document_are_not_its_business():
    texts = {"a": "\n".join([NOTICE] * 9), "b": PROSE[0]}

    assert run(DuplicateLines(min_documents=2), table(texts)) == (texts, {}, {})


def test_all_copies_in_a_document_go():
    texts = {str(n): f"{NOTICE}\n{prose}\n{NOTICE}\n" for n, prose in enumerate(PROSE)}
    kept, _, noted = run(DuplicateLines(min_documents=2, keep="none"), table(texts))

    assert list(kept.values()) == PROSE
    assert all(detail.startswith("2, ") for _, detail in noted.values())


def test_a_document_of_which_little_is_left_is_dropped():
    texts = {str(n): f"{NOTICE}\n{NOTICE}\n{NOTICE} No.\n{n}" for n in range(3)}
    kept, dropped, noted = run(DuplicateLines(min_documents=2, keep="none", min_left=0.5), table(texts))

    assert (kept, noted, set(dropped)) == ({}, {}, set(texts))
    assert {reason for reason, _ in dropped.values()} == {"little_left"}
    assert all(detail.endswith(f"< 0.5 of {len(texts['0'])} characters") for _, detail in dropped.values())


def test_paragraphs_are_what_empty_lines_end():
    long = "The first line of a notice that goes on\nover a second line, as notices of this kind like to do."
    texts = {str(n): f"{prose}\n \n{long}\r\n\r\n\nLast words of {prose[:20]}" for n, prose in enumerate(PROSE)}
    kept, _, noted = run(DuplicateParagraphs(keep="none"), table(texts))

    assert list(kept.values()) == [f"{prose}\n \nLast words of {prose[:20]}" for prose in PROSE]
    assert {reason for reason, _ in noted.values()} == {"duplicate_paragraphs_removed"}
    same_line = {name: text.replace("\n \n", "\n") for name, text in texts.items()}
    assert run(DuplicateParagraphs(), table(same_line))[0] == same_line


def test_scripts_of_several_bytes_are_cut_between_characters():
    notice = "本网站所有权利均归所有者所有，未经许可不得转载"
    texts = {
        "a": f"灯塔看守人每天晚上都会爬上楼梯\n{notice}\nкорабли 🚢 плывут",
        "b": f"🙂 другая страница\n{notice}",
        "c": notice + "\n",
    }
    kept, dropped, _ = run(DuplicateLines(min_documents=3, keep="none"), table(texts))

    assert kept == {"a": "灯塔看守人每天晚上都会爬上楼梯\nкорабли 🚢 плывут", "b": "🙂 другая страница"}
    assert set(dropped) == {"c"}


@pytest.mark.parametrize("stage", [DuplicateLines(), DuplicateParagraphs()], ids=lambda stage: stage.name)
@pytest.mark.parametrize("texts", [{}, {"a": "", "b": ""}, {"a": "\n\n", "b": "\n"}], ids=["none", "empty", "blank"])
def test_texts_without_words(stage, texts):
    assert run(stage, table(texts)) == (texts, {}, {})


@settings(max_examples=20)
@given(st.data())
def test_the_outcome_depends_neither_on_order_nor_on_shards(data):
    texts = {str(n): "\n".join(PROSE[k % 4] for k in range(n, n + 1 + n % 4)) + f"\nOwn line {n}" for n in range(12)}
    stage = DuplicateLines(min_documents=3, min_left=0.1)
    expected = run(stage, table(texts))
    order = data.draw(st.permutations(list(texts)))
    cut = data.draw(st.integers(0, len(order)))

    assert run(stage, *(table({name: texts[name] for name in part}) for part in (order[:cut], order[cut:]))) == expected
    assert expected[2]


@pytest.mark.parametrize("parameters", [{"min_documents": 1}, {"min_words": 0}, {"keep": "two"}, {"min_left": 1.1}])
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(ValidationError):
        DuplicateLines(**parameters)
