import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latent_memory.data import Form, cloze, python_sentences, read_passages, read_questions, read_sentences, sentences
from tiers.errors import SourceError

CONTEXT = "The tower stands in Paris. It was built in 1889 by Mr. Eiffel's men. Many climb it."
SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {"question": "When?", "answers": [{"text": "1889", "answer_start": CONTEXT.index("1889")}]},
                        {"question": "Misaligned?", "answers": [{"text": "London", "answer_start": 3}]},
                        {"question": "Unanswerable?", "answers": []},
                    ],
                }
            ]
        },
        {"paragraphs": [{"context": "Second article.", "qas": []}]},
    ]
}
HOTPOT = [
    {
        "question": "Where?",
        "answer": "Paris",
        "supporting_facts": [["Tower", 1], ["Seine", 0], ["Tower", 9]],
        "context": [["Tower", ["It is high.", " It is in Paris."]], ["Seine", ["A river."]], ["Other", ["No."]]],
    }
]
MUSIQUE = [
    {
        "question": "Who led it?",
        "answer": "Hall",
        "answer_aliases": ["G. Hall"],
        "question_decomposition": [
            {"paragraph_support_idx": 0, "answer": "APA"},
            {"paragraph_support_idx": 1, "answer": "Hall"},
        ],
        "paragraphs": [
            {"title": "Journal", "paragraph_text": "It is old. It is published by the APA."},
            {"title": "APA", "paragraph_text": "Its first head was Hall. He was tall."},
        ],
    }
]
QED = {
    "question_text": "who built it",
    "title_text": "Tower",
    "paragraph_text": "It is high . Eiffel built it .",
    "sentence_starts": [0, 13],
    "original_nq_answers": [[{"start": 13, "end": 19, "string": "Eiffel"}]],
}


def _write(path: Path, data: object) -> Path:
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    return path


def test_squad_gives_the_sentence_that_holds_the_answer(tmp_path: Path) -> None:
    path = _write(tmp_path / "squad.json.gz", SQUAD)
    (question,) = read_questions(path, "squad")
    assert question.answers == ("1889",)
    assert question.evidence == ("It was built in 1889 by Mr. Eiffel's men.",) or "1889" in question.evidence[0]
    assert read_questions(path, "squad", first=1) == []
    assert read_sentences(path, "squad", first=1) == ["Second article."]


def test_hotpotqa_gives_every_supporting_sentence_under_its_title(tmp_path: Path) -> None:
    path = _write(tmp_path / "h.json.gz", HOTPOT)
    (question,) = read_questions(path, "hotpotqa")
    assert question.evidence == ("Tower: It is in Paris.", "Seine: A river.")
    assert set(question.evidence) < set(read_sentences(path, "hotpotqa", titles=True))


def test_musique_gives_one_sentence_for_each_hop(tmp_path: Path) -> None:
    path = _write(tmp_path / "m.json.gz", MUSIQUE)
    (question,) = read_questions(path, "musique")
    assert question.evidence == ("Journal: It is published by the APA.", "APA: Its first head was Hall.")
    assert question.answers == ("Hall", "G. Hall")


def test_qed_reads_json_lines_and_puts_the_title_in_front(tmp_path: Path) -> None:
    path = tmp_path / "qed.jsonlines"
    path.write_text(json.dumps(QED) + "\n\n")
    (question,) = read_questions(path, "qed")
    assert question.evidence == ("Tower: Eiffel built it .",)
    assert question.answers == ("Eiffel",)


def test_2wiki_has_the_layout_of_hotpotqa(tmp_path: Path) -> None:
    path = tmp_path / "2wiki.jsonl"
    path.write_text("\n".join(json.dumps({**row, "type": "compositional", "evidences": []}) for row in HOTPOT))
    assert read_questions(path, "2wiki") == read_questions(_write(tmp_path / "h.json.gz", HOTPOT), "hotpotqa")


def test_nq_open_gives_questions_without_evidence(tmp_path: Path) -> None:
    path = tmp_path / "NQ-open.dev.jsonl.gz"
    path.write_bytes(
        gzip.compress(json.dumps({"question": "who built it", "answer": ["Eiffel", "G. Eiffel"]}).encode())
    )
    (question,) = read_questions(path, "nq-open")
    assert (question.text, question.answers) == ("who built it", ("Eiffel", "G. Eiffel"))
    assert question.evidence == question.pool == ()


def test_pairs_have_one_answer_and_one_piece_of_evidence_or_several(tmp_path: Path) -> None:
    rows = [
        {"question": "Where?", "answer": "Paris", "evidence": "It is in Paris."},
        {"question": "Both?", "answer": ["yes", "yeah"], "evidence": ["It is.", "So is he."]},
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    one, other = read_questions(path, "pairs")
    assert (one.answers, one.evidence) == (("Paris",), ("It is in Paris.",))
    assert (other.answers, other.evidence) == (("yes", "yeah"), ("It is.", "So is he."))
    assert read_sentences(path, "pairs") == ["It is in Paris.", "It is.", "So is he."]


def test_easy_vqa_s_questions_have_captions_for_evidence(tmp_path: Path) -> None:
    folder = tmp_path / "easy_vqa" / "data" / "train"
    folder.mkdir(parents=True)
    rows = [["what shape is it?", "circle", 0], ["is there a red shape?", "yes", 0], ["what shape is it?", "circle", 1]]
    (folder / "questions.json").write_text(json.dumps(rows))
    shape, yes = read_questions(tmp_path, "easy-vqa")  # of the second image nothing tells the colour
    assert shape.evidence == yes.evidence == ("The image shows a red circle.",)
    assert (shape.answers, yes.answers) == (("circle",), ("yes",))
    assert read_sentences(tmp_path, "easy-vqa") == ["The image shows a red circle."]
    with pytest.raises(SourceError, match="pip download easy-vqa"):
        read_questions(tmp_path / "elsewhere", "easy-vqa")


def test_an_unanswerable_question_of_musique_is_left_out(tmp_path: Path) -> None:
    rows = [{**MUSIQUE[0], "answerable": False, "question_decomposition": [{"paragraph_support_idx": None}]}]
    assert read_questions(_write(tmp_path / "m.json.gz", rows), "musique") == []


@pytest.mark.parametrize(
    ("form", "data"), [("squad", SQUAD), ("qed", [QED]), ("hotpotqa", HOTPOT), ("musique", MUSIQUE)]
)
def test_a_question_knows_the_sentences_of_its_own_passages(form: Form, data: object, tmp_path: Path) -> None:
    (question,) = read_questions(_write(tmp_path / "set.json.gz", data), form)
    assert set(question.evidence) < set(question.pool)
    assert set(question.pool) <= {
        " ".join(s.split()) for s in read_sentences(tmp_path / "set.json.gz", form, titles=True)
    }


@pytest.mark.parametrize(
    "data",
    [
        [{"title": "Tower", "text": "It is high. It is in Paris."}, {"text": "A river."}],
        {"Tower": ["It is high.", " It is in Paris."], "": "A river."},
    ],
)
def test_a_corpus_of_passages_is_read_by_sentence(data: object, tmp_path: Path) -> None:
    assert read_passages(_write(tmp_path / "c.json.gz", data)) == [
        "Tower: It is high.",
        "Tower: It is in Paris.",
        "A river.",
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("cut.json.gz", gzip.compress(b'[{"question": "who"}]' * 40)[:-12], "cut.json.gz"),
        ("plain.json.gz", b"[]", "gzip"),
        ("lines.jsonl", b'{"a": 1}\n\n{"a": ', "lines.jsonl, line 3"),
        ("latin.json", '["é"]'.encode("latin-1"), "latin.json"),
        ("one.json", b'{"question": "who"}', "a list"),
        ("rows.json", b'[{"question": "who", "answer": ["me"]}, {"question": "who"}]', "row 1.*'answer'"),
    ],
)
def test_a_bad_file_is_named_with_the_place(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=told):
        read_questions(tmp_path / name, "nq-open")


def test_a_row_that_is_no_passage_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "c.json.gz", [{"text": "It is high."}, {"body": "It is in Paris."}])
    with pytest.raises(SourceError, match=r"row 1.*body"):
        read_passages(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        read_questions(tmp_path / "nowhere.json", "squad")


def test_sentences_know_their_offsets() -> None:
    text = 'It rained. "Go home!" he said. Then 3.5 mm fell.\n\nNew paragraph'
    found = sentences(text)
    assert [sentence for _, sentence in found] == [
        "It rained.", '"Go home!" he said.', "Then 3.5 mm fell.", "New paragraph",
    ]  # fmt: skip
    assert all(text[offset:].startswith(sentence) for offset, sentence in found)


@pytest.mark.parametrize("seed", range(20))
def test_a_cloze_question_lacks_its_answer_and_the_evidence_has_it(seed: int) -> None:
    sentence = "In 1889 the company of Gustave Eiffel completed a famous iron tower beside the river Seine in Paris."
    question = cloze(sentence, random.Random(seed))
    assert question is not None
    assert question.answers[0] in sentence
    assert question.answers[0] not in question.text
    assert question.evidence == (sentence,)
    assert len(question.text.split()) <= 15


def test_a_sentence_without_content_gives_no_cloze_question() -> None:
    assert cloze("It is what it was and so on.", random.Random(0)) is None


def test_the_python_documentation_is_prose_and_stable() -> None:
    found = python_sentences()
    assert len(found) > 2000
    assert found == python_sentences()
    assert all(5 <= len(sentence.split()) <= 60 for sentence in found)


def _qamr(tmp_path: Path, *rows: str, sentences: str = "") -> Path:
    folder = tmp_path / "filtered"
    folder.mkdir(exist_ok=True)
    (tmp_path / "wiki-sentences.tsv").write_text(sentences or "w:1\tBob -LRB- 9 -RRB- said `` no '' to Eve 's cat .\n")
    path = folder / "dev.tsv"
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def test_qamr_gives_questions_whose_answers_stand_in_a_sentence(tmp_path: Path) -> None:
    rows = [
        "w:1\t0\t7\t0\t0\tWho said no?\t0\t3:0\t4:0 1",
        "w:1\t0\t7\t1\t0\tWho is he?\t0\t3:0\t4:0",  # the same answer again
        "w:1\t9\t7\t2\t9\tWhose cat?\t9 10\t3:9\t4:9 10",
        "w:1\t9\t7\t3\t9\tWhat is split?\t0 9\t3:0\t4:9",
        "w:1\t9\t7\t4\t9\tWhat do they disagree on?\t11\t3:11\t4:0",
    ]
    found = read_questions(_qamr(tmp_path, *rows), "qamr")
    sentence = "Bob (9) said “no” to Eve's cat."
    assert [(q.text, q.answers, q.evidence) for q in found] == [
        ("Who said no?", ("Bob",), (sentence,)),
        ("Whose cat?", ("Eve's",), (sentence,)),
    ]
    assert read_sentences(tmp_path / "filtered" / "dev.tsv", "qamr") == [sentence]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("w:1\t0\t7", "line 1"),
        ("w:2\t0\t7\t0\t0\tWho?\t0\t3:0\t4:0", "KeyError"),
        ("w:1\t0\t7\t0\t0\tWho?\tx\t3:0\t4:0", "ValueError"),
        ("w:1\t0\t7\t0\t0\tWho?\t99\t3:0\t4:0", "token"),
        ("w:1\t0\t7\t0\t0\tWho?\t\t3:0\t4:0", "IndexError"),
    ],
)
def test_a_row_that_is_not_qamr_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_questions(_qamr(tmp_path, row), "qamr")


def test_qamr_without_its_sentences_is_an_error(tmp_path: Path) -> None:
    path = _qamr(tmp_path, "w:1\t0\t7\t0\t0\tWho?\t0\t3:0\t4:0")
    (tmp_path / "wiki-sentences.tsv").unlink()
    with pytest.raises(SourceError, match="sentences of a QAMR set are missing"):
        read_questions(path, "qamr")


def test_verified_claims_of_a_release_are_questions(tmp_path: Path) -> None:
    rows = [
        {"text": "It was built in 1889.", "evidence.context": "Tower", "claim.status": "verified"},
        {"text": "It is high.", "evidence.context": None, "claim.status": "refuted"},
        {"text": "It stands.", "evidence.context": None, "claim.status": "unverified"},
    ]
    asked = [("When was it built?", "1889"), ("Is it low?", "yes"), (None, None)]
    table = pa.Table.from_pylist(
        [row | {"claim.question": q, "claim.answer": a} for row, (q, a) in zip(rows, asked, strict=True)]
    )
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    found = read_questions(tmp_path, "claims")
    assert [(q.text, q.answers, q.evidence) for q in found] == [
        ("When was it built?", ("1889",), ("Tower: It was built in 1889.",))
    ]
    assert read_sentences(tmp_path, "claims") == ["Tower: It was built in 1889.", "It is high.", "It stands."]


def test_what_is_no_release_of_l4_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="tierline release L4"):
        read_questions(tmp_path / "gone", "claims")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="no release of L4"):
        read_questions(tmp_path / "a.parquet", "claims")
