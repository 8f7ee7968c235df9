from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.tiers.l3_edited.synthesis.authors import Author
from tiers.document import check_schema, documents
from tiers.l3_edited.synthesis.gates import index_of
from tiers.l3_edited.synthesis.products import CONTENT, FAMILY, VARIANT
from tiers.l3_edited.synthesis.synthesise import People, Synthesise
from tiers.llm.transformers_llm import TransformersLLM
from tiers.reference import Reference
from tiers.stage import Context, Outcome, check_outcome

BRIDGE = (
    "The Old Bridge crosses the river Neretva. It was built by Mimar Hayruddin, a student of Sinan, took nine years of "
    "work, and stood for 427 years until it was destroyed in 1993. Divers jump from it into the cold river below, "
    "which lies 24 metres under its arch. Its rebuilding used local stone called tenelija and methods of that time."
)
MEAN = "The arithmetic mean of numbers is their sum divided by how many they are. It lies between least and greatest."


def qa(question: str, solution: str, answer: str) -> str:
    return json.dumps({"question": question, "solution": solution, "answer": answer})


DEEP = qa(
    "How far under the arch of the Old Bridge does the river lie?",
    "The document says that the river lies 24 metres under the arch of the bridge.",
    "24 metres",
)
TALK = [
    ("Ana", "Who built the bridge across the Neretva?"),
    ("Ben", "Mimar Hayruddin did, who had learned from Sinan."),
    ("Ana", "Is it still the bridge that he built?"),
    ("Ben", "No, it was destroyed in 1993, and its rebuilding used the same local stone."),
]


def talk(*turns: tuple[str, str]) -> str:
    return json.dumps({"turns": [{"speaker": speaker, "text": text} for speaker, text in turns]})


def table(count: int = 1, text: str = BRIDGE) -> pa.Table:
    rows = [{"text": f"{text} Case {n}.", "source": f"s{n}", "title": "Old Bridge", "lang": "en"} for n in range(count)]
    return documents(rows)


def run(stage: Synthesise, rows: pa.Table, people: People) -> Outcome:
    outcome = stage.synthesise(rows, people)
    check_outcome(stage, rows, outcome)
    check_schema(outcome.kept.schema, "synthesise")
    assert outcome.kept.slice(0, rows.num_rows).select(rows.column_names).equals(rows.select(rows.column_names))
    return outcome


def test_a_good_product_is_a_row_behind_the_documents(author: Author, people: People) -> None:
    author.rules = [("author", "Case 0", DEEP), ("solver", "Case 0", "It lies 24 metres under it.")]
    rows = table()
    outcome = run(Synthesise(family="qa", share=1, variants=("college",)), rows, people)
    document, product = outcome.kept.to_pylist()
    assert document[FAMILY.name] is None
    assert (product[FAMILY.name], product[VARIANT.name]) == ("qa", "general.college")
    assert product["parents"] == [document["id"]]
    assert (product["source"], product["lang"], product["title"]) == ("s0", "en", "Old Bridge")
    assert product["text"].endswith("Answer: 24 metres")
    content = json.loads(product[CONTENT.name])
    assert content["context"] == document["text"]
    assert (content["answer"], content["compared_as"]) == ("24 metres", "text")
    assert outcome.made.to_pylist() == [{"id": product["id"], "parent": document["id"]}]
    assert outcome.usage.requests == 2


GENERAL: list[tuple[str, str, Any, str]] = [
    ("truncated", "qa", (DEEP[:80], "length"), r"5 tokens"),
    ("malformed", "qa", "What a bridge!", "Expecting|Extra|delimiter|char"),
    ("malformed", "qa", '{"question": "How far does it lie under?", "answer": "24"}', "solution"),
    ("length", "conversation", talk(*[(who, "Yes, the bridge.") for who, _ in TALK]), r"\d+ < 40 words"),
    ("repetitive", "conversation", talk(*TALK, *TALK), r"\d+ of \d+ runs of words repeated, 0\.\d\d > 0\.2"),
    ("new_numbers", "conversation", talk(*TALK).replace("1993", "1994"), "1 of 1 numbers, 1.00 > 0: 1994"),
    ("new_names", "qa", DEEP.replace("the arch of the Old", "the arch of the Roman"), "1 of 2 names.*Roman"),
    (
        "ungrounded",
        "qa",
        qa("What is the largest planet around our star?", "Planets differ in mass and radius.", "Jupiter"),
        r"0 of \d+ words in the source, 0\.00 < 0\.5",
    ),
    ("copied", "rewrite", json.dumps({"title": "A bridge", "text": BRIDGE}), r"runs of words copied, 0\.\d\d > 0\.7"),
    (
        "answer_uncheckable",
        "qa",
        qa("Does the river lie 24 metres under the arch?", "The document says it lies 24 metres below.", "24 metres"),
        "'24 metres' stands in the question",
    ),
    (
        "answer_uncheckable",
        "qa",
        DEEP.replace(
            '"24 metres"', '"the cold river below the bridge lies, as it always did, 24 metres under its arch"'
        ),
        r"14 words, 1 to 12 can be compared",
    ),
    (
        "answer_not_in_solution",
        "qa",
        DEEP.replace('"24 metres"', '"nine years of work"'),
        "'nine years of work' isn't what the solution says",
    ),
]


@pytest.mark.parametrize(("gate", "family", "reply", "detail"), GENERAL)
def test_each_gate_drops_what_fails_it_and_says_why(
    author: Author, people: People, gate: str, family: str, reply: Any, detail: str
) -> None:
    author.rules = [("author", "Case 0", reply), ("author", "Case 1", DEEP if family == "qa" else talk(*TALK))]
    author.rules += [("solver", "Case", "24 metres")]
    outcome = run(Synthesise(family=family, share=1), table(2), people)
    gone = outcome.dropped.to_pylist()
    assert gone[0]["reason"] == gate
    assert re.search(detail, gone[0]["detail"]), gone[0]["detail"]
    kept = [row for row in outcome.kept.to_pylist() if row[FAMILY.name]]
    assert len(kept) == (0 if family == "rewrite" else 1)  # the neighbour is none the worse


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("24 metres", None),
        ("It is 24 metres.", None),
        ("nine years", "answer_differs"),
        ("25 metres", "answer_differs"),
        (("24", "length"), "answer_differs"),
    ],
)
def test_the_question_is_asked_again_of_its_source_alone(
    author: Author, people: People, second: Any, reason: str | None
) -> None:
    author.rules = [("author", "Case", DEEP), ("solver", "Case", second)]
    outcome = run(Synthesise(family="qa", share=1), table(), people)
    assert outcome.dropped["reason"].to_pylist() == ([reason] if reason else [])
    asked = author.seen[-1]["messages"][-1]["content"]
    assert BRIDGE in asked
    assert "24 metres under the arch of the bridge" not in asked  # neither solution nor answer


@pytest.mark.parametrize(
    ("answer", "second", "reason"),
    [
        ("8", r"$24 / 3 = \frac{24}{3}$. Answer: $\frac{16}{2}$", None),
        ("8", "Answer: 9", "answer_differs"),
        ("8", "", "answer_differs"),
        ("24", "Answer: 24", "answer_not_in_solution"),
        ("that depends", "Answer: 8", "answer_uncheckable"),
    ],
)
def test_answers_of_maths_are_compared_by_what_they_are_worth(
    author: Author, people: People, answer: str, second: str, reason: str | None
) -> None:
    written = qa("What is the arithmetic mean of the numbers 4, 9 and 11?", "There are 3, so $24 / 3 = 8$.", answer)
    author.rules = [("author", "Case", written), ("solver", "", second)]
    outcome = run(Synthesise(family="qa", domain="maths", share=1), table(text=MEAN), people)
    assert outcome.dropped["reason"].to_pylist() == ([reason] if reason else [])
    if reason is None:
        assert MEAN not in author.seen[-1]["messages"][-1]["content"]  # the problem stands alone


def test_the_second_product_of_a_source_may_not_be_the_first(author: Author, people: People) -> None:
    author.rules = [("author", "Case", talk(*TALK))]
    outcome = run(Synthesise(family="conversation", share=1, per_document=2), table(2), people)
    assert [row[FAMILY.name] for row in outcome.kept.to_pylist()] == [None, None, "conversation", "conversation"]
    assert outcome.dropped["reason"].to_pylist() == ["near_duplicate"] * 2
    assert outcome.dropped["detail"].to_pylist()[0] == f"1.000 similar to {outcome.kept['id'][2]}"


@pytest.mark.parametrize("wrong", ["grade_school", "college"])
def test_what_fails_a_gate_takes_no_other_products_place(author: Author, people: People, wrong: str) -> None:
    def asked(payload: dict) -> str:
        level = "grade_school" if "6 to 11" in json.dumps(payload) else "college"
        return DEEP.replace("lie?", "lie ?") if level == wrong else DEEP

    author.rules = [
        ("author", "Case", asked),
        ("solver", "lie ?", "90 metres"),
        ("solver", "lie?", "24 metres"),
    ]
    stage = Synthesise(family="qa", share=1, per_document=2, variants=("grade_school", "college"))
    outcome = run(stage, table(), people)
    assert outcome.dropped["reason"].to_pylist() == ["answer_differs"]
    assert outcome.kept.num_rows == 2


def test_no_product_shares_words_with_a_benchmark(author: Author, people: People, tmp_path: Path) -> None:
    benchmark = tmp_path / "bench.txt"
    benchmark.write_text("No, it was destroyed in 1993, and its rebuilding used the same local stone.\n")
    author.rules = [("author", "Case", talk(*TALK))]
    stage = Synthesise(family="conversation", share=1, benchmarks={"bench": Reference.model_validate(str(benchmark))})
    outcome = run(stage, table(), replace(people, index=index_of(stage.benchmarks)))
    assert outcome.dropped["reason"].to_pylist() == ["contaminated"]
    assert outcome.dropped["detail"].to_pylist()[0].startswith("14 words of bench")


@pytest.mark.parametrize(("yes", "no", "reason"), [(-0.1, -2.4, None), (-2.4, -0.1, "unfaithful")])
def test_a_judge_may_have_the_last_word(
    author: Author, people: People, yes: float, no: float, reason: str | None
) -> None:
    author.rules = [("author", "Case", talk(*TALK)), ("judge", "Case", {"Yes": yes, "No": no})]
    outcome = run(Synthesise(family="conversation", share=1), table(), replace(people, judge=author.llm("judge")))
    assert outcome.dropped["reason"].to_pylist() == ([reason] if reason else [])
    if reason:
        assert outcome.dropped["detail"].to_pylist() == ["0.091 < 0.5"]


def test_a_call_that_fails_costs_one_row(author: Author, people: People) -> None:
    author.rules = [
        ("author", "Case 1", 400),
        ("author", "Case", DEEP),
        ("solver", "Case 2", 400),
        ("solver", "", "24 metres"),
    ]
    rows = table(4)
    outcome = run(Synthesise(family="qa", share=1), rows, people)
    assert outcome.failed["reason"].to_pylist() == ["model_failed"] * 2
    assert "400" in outcome.failed["detail"].to_pylist()[0]
    makers = dict(zip(outcome.made["id"].to_pylist(), outcome.made["parent"].to_pylist(), strict=True))
    assert [makers[row_id] for row_id in outcome.failed["id"].to_pylist()] == rows["id"].to_pylist()[1:3]
    assert outcome.kept.num_rows == 4 + 2


def test_passages_of_textbooks_are_written_from_points_of_knowledge(author: Author, people: People) -> None:
    points = [
        {"kind": "fact", "statement": "The Old Bridge stood for 427 years until it was destroyed."},
        {"kind": "fact", "statement": "Its rebuilding used local stone called tenelija."},
    ]
    passage = {
        "explanation": "The Old Bridge of the river wasn't always there: it stood for 427 years, and was destroyed.",
        "question": "For how many years did the Old Bridge stand until it was destroyed?",
        "solution": "It stood for 427 years, and was destroyed then.",
        "answer": "427 years",
    }
    author.rules = [
        ("author", "fact: The Old Bridge", json.dumps(passage)),
        ("author", "fact: Its rebuilding", "no"),
        ("author", "Case", json.dumps({"points": points})),
        ("solver", "427 years", "It stood 427 years."),
    ]
    rows = run(Synthesise(family="knowledge", share=1), table(), people).kept
    assert run(Synthesise(family="textbook", share=1), rows, people).made.num_rows == 1
    outcome = run(Synthesise(family="textbook", share=1, variants=("easy",), per_document=2), rows, people)
    document, knowledge, textbook = outcome.kept.to_pylist()
    assert knowledge["text"] == "\n\n".join(f"fact: {point['statement']}" for point in points)
    assert knowledge["parents"] == [document["id"]]
    assert textbook["parents"] == [document["id"], knowledge["id"]]
    assert textbook[FAMILY.name] == "textbook"
    assert "Exercise. For how many years" in textbook["text"]
    assert outcome.dropped["reason"].to_pylist() == ["malformed"]
    assert outcome.made["parent"].to_pylist() == [knowledge["id"]] * 2


def test_knowledge_of_a_page_that_holds_none_is_too_short(author: Author, people: People) -> None:
    author.rules = [("author", "Case", '{"points": []}')]
    outcome = run(Synthesise(family="knowledge", share=1), table(), people)
    assert outcome.dropped.select(["reason", "detail"]).to_pylist() == [{"reason": "length", "detail": "0 < 5 words"}]


def test_the_sample_and_the_variants_follow_from_ids(author: Author, people: People) -> None:
    author.rules = [("author", "", "no")]
    rows = table(40)
    half = run(Synthesise(family="rewrite", share=0.5), rows, people)
    every = run(Synthesise(family="rewrite", share=1, per_document=2), rows, people)
    asked = set(half.made["id"].to_pylist())
    assert 10 < len(asked) < 30
    assert asked < set(every.made["id"].to_pylist())
    assert every.made.num_rows == 80
    part = run(Synthesise(family="rewrite", share=0.5), rows.slice(7, 9), people)
    assert set(part.made["id"].to_pylist()) <= asked
    systems = {payload["messages"][0]["content"] for payload in author.seen}
    assert len(systems) == 7  # every style was asked for


def test_products_are_no_documents_to_write_from(author: Author, people: People) -> None:
    author.rules = [("author", "Case", talk(*TALK))]
    rows = run(Synthesise(family="conversation", share=1), table(), people).kept
    assert run(Synthesise(family="conversation", share=1), rows, people).made.num_rows == 1


def test_no_document_asks_nothing(author: Author, people: People) -> None:
    outcome = run(Synthesise(family="qa", share=1), table().slice(0, 0), people)
    assert (outcome.kept.num_rows, outcome.usage.requests, author.seen) == (0, 0, [])


def test_what_a_real_model_copies_from_the_example_is_dropped(smollm: TransformersLLM) -> None:
    stage = Synthesise(family="qa", share=1, variants=("grade_school",), max_tokens=60)
    rows = documents([{"text": BRIDGE, "source": "s", "title": "Old Bridge"}])
    outcome = run(stage, rows, People(smollm, smollm))
    assert outcome.usage.completion_tokens > 10
    (gone,) = outcome.dropped.to_pylist()
    assert gone["reason"] == "new_numbers"  # it is valid, and tells the height of the bridge in the example
    assert "134" in gone["detail"]


def test_preparing_loads_the_models_that_are_named(tiny_model: Path) -> None:
    stage = Synthesise(family="qa", llm=str(tiny_model), share=1, max_tokens=16)
    outcome = stage.prepare(Context(models=tiny_model.parent))(table())
    assert outcome.dropped["reason"].to_pylist()[0] in {"truncated", "malformed"}


def test_what_another_model_or_seed_writes_is_another_row(author: Author, people: People) -> None:
    author.rules = [("author", "Case", "no"), ("other", "Case", "no")]
    stages = [Synthesise(family="qa", share=1), Synthesise(family="qa", share=1, seed=1)]
    ids = [run(stage, table(), people).made["id"][0].as_py() for stage in stages]
    ids.append(run(stages[0], table(), replace(people, writer=author.llm("other"))).made["id"][0].as_py())
    assert len(set(ids)) == 3
