import gzip
import json
import pydoc_data.topics
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tiers.document import documents
from tiers.errors import SourceError
from tiers.l1_filtered.decontamination import Decontaminate
from tiers.stage import Context, check_outcome

QA = Path(__file__).resolve().parents[4] / "shared" / "data" / "qa"
QUESTION = (
    "If a lighthouse keeper climbs ninety-nine stairs twice every evening, how many stairs does she climb in one week?"
)
SHORT = "What is the boiling point of liquid helium?"
CHINESE = "灯塔看守人每天晚上都会爬上九十九级楼梯，请问她一个星期一共要爬多少级楼梯？"
PROSE = (
    "Wind came up from the south in the afternoon, and the boats that had gone out at dawn turned back one after the "
    "other. On the quay people stood and counted them. "
)


@pytest.fixture
def benchmark_file(tmp_path):
    path = tmp_path / "stairs.jsonl"
    rows = [{"question": SHORT, "answer": "4.2 K"}, {"question": QUESTION, "answer": "1386"}, {"question": CHINESE}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def run(path, texts, **parameters):
    stage = Decontaminate.model_validate({"benchmarks": {"stairs": str(path)}, **parameters})
    table = documents([{"text": text, "source": str(number)} for number, text in enumerate(texts)])
    outcome = stage.prepare(Context(models=Path("no-models")))(table)
    check_outcome(stage, table, outcome)
    return outcome


def is_dropped(path, text, **parameters):
    return run(path, [PROSE, text, PROSE], **parameters).dropped.num_rows == 1


@pytest.mark.parametrize("item", [QUESTION, SHORT, CHINESE])
def test_a_copy_is_dropped_with_where_it_stands(benchmark_file, item):
    texts = [PROSE, f"{PROSE}\n{item}\n{PROSE}", PROSE[::-1]]

    outcome = run(benchmark_file, texts)

    assert outcome.kept["text"].to_pylist() == [texts[0], texts[2]]
    row = {SHORT: 0, QUESTION: 1, CHINESE: 2}[item]
    start = len(PROSE) + 1
    assert outcome.dropped["reason"].to_pylist() == ["contaminated"]
    detail = outcome.dropped["detail"][0].as_py()
    assert f"words of stairs, row {row} question, characters {start} to {start + len(item) - 1}: {item[:20]}" in detail


def test_case_punctuation_and_layout_hide_nothing(benchmark_file):
    assert is_dropped(benchmark_file, QUESTION.upper().replace(" ", " -\n\t").replace(",", ""))
    assert is_dropped(benchmark_file, CHINESE.replace("，", "\n"))


def test_an_n_gram_is_enough_and_less_is_not(benchmark_file):
    words = QUESTION.split()

    assert is_dropped(benchmark_file, " ".join(["x", *words[3:15], "x"]))  # ninety-nine is two words
    assert not is_dropped(benchmark_file, " ".join(["x", *words[4:15], "x"]))
    assert is_dropped(benchmark_file, " ".join(["x", *words[4:15], "x"]), n=10)
    assert not is_dropped(benchmark_file, " ".join(reversed(words)))


def test_a_short_string_must_be_there_whole(benchmark_file):
    assert not is_dropped(benchmark_file, SHORT.removesuffix(" helium?"))
    assert not is_dropped(benchmark_file, "4.2 K")
    assert is_dropped(benchmark_file, "4.2 K", min_words=2)


def test_what_two_documents_have_between_them_is_no_match(benchmark_file):
    half = len(QUESTION) // 2

    assert run(benchmark_file, [QUESTION[:half], QUESTION[half:]]).kept.num_rows == 2


def test_named_fields_alone_count(tmp_path):
    path = tmp_path / "squad.json"
    paragraph = {"context": PROSE, "qas": [{"question": QUESTION, "answers": [{"text": "1386"}]}]}
    path.write_text(
        json.dumps({"version": "1", "data": [{"title": "x", "paragraphs": []}, {"paragraphs": [paragraph]}]})
    )

    assert run(path, [PROSE, QUESTION]).kept.num_rows == 0
    outcome = run(path, [PROSE, QUESTION], fields=["question"])
    assert outcome.kept["text"].to_pylist() == [PROSE]
    assert "row 1 paragraphs[0].qas[0].question" in outcome.dropped["detail"][0].as_py()
    with pytest.raises(SourceError, match=r"stairs: .*no string of 8 words.*expected \('prompt',\)"):
        run(path, [PROSE], fields=["prompt"])


def test_formats_of_benchmarks(tmp_path):
    rows = [{"id": "https://example.com/a-b-c-d-e-f-g-h-i", "question": QUESTION}]
    files = {
        "list.json": json.dumps(rows).encode(),
        "object.json": json.dumps({"first": rows[0]}, indent=1).encode(),
        "lines.jsonl.gz": gzip.compress(b"".join(json.dumps(row).encode() + b"\n\n" for row in rows)),
        "text.txt": QUESTION.encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")

    for name in (*files, "rows.parquet"):
        assert is_dropped(tmp_path / name, QUESTION), name
        assert not is_dropped(tmp_path / name, rows[0]["id"]), name


@pytest.mark.parametrize("content", [b'{"a": "b"}\n{"a": ', b"\xff\xfe", b"PAR1 nonsense"])
def test_a_damaged_benchmark_is_refused(tmp_path, content):
    (tmp_path / "bad").write_bytes(content)

    with pytest.raises(SourceError, match="stairs"):
        run(tmp_path / "bad", [PROSE])


def test_what_many_strings_of_a_benchmark_share_is_a_template(tmp_path):
    path = tmp_path / "templated.jsonl"
    numbers = ["one", "two", "three", "four", "five"]
    rows = [{"prompt": f"{PROSE} Question: {QUESTION.replace('ninety-nine', number)}"} for number in numbers]
    path.write_text("\n".join(map(json.dumps, rows * 3)))

    assert run(path, [f"x {PROSE} x"], max_items=5).kept.num_rows == 0
    assert run(path, [f"x {PROSE} x"], max_items=4).kept.num_rows == 1
    assert run(path, [rows[0]["prompt"]], max_items=4).kept.num_rows == 0


def test_a_match_is_cut_with_a_window(benchmark_file):
    before, after = PROSE * 4, PROSE[::-1] * 4

    outcome = run(benchmark_file, [f"{before}{QUESTION} {after}", PROSE], action="cut", window=150)

    text, untouched = outcome.kept["text"].to_pylist()
    first, last = text.split("\n\n")
    assert before.startswith(first)
    assert len(before) - 150 - 15 < len(first) <= len(before) - 150
    assert after.endswith(last.rstrip()) or after.rstrip().endswith(last)
    assert untouched == PROSE
    assert outcome.noted["reason"].to_pylist() == ["contamination_cut"]
    assert "row 1 question" in outcome.noted["detail"][0].as_py()


def test_a_document_goes_whole_if_little_would_be_left_or_too_much_matched(benchmark_file):
    many = f"{QUESTION} {PROSE * 5}" * 3

    assert is_dropped(benchmark_file, f"{PROSE} {QUESTION} {PROSE}", action="cut")
    assert run(benchmark_file, [many], action="cut", max_cuts=3).kept.num_rows == 1
    assert run(benchmark_file, [many], action="cut", max_cuts=2).kept.num_rows == 0


def test_every_planted_copy_is_found_and_nothing_else(tmp_path):
    order = random.Random(3)
    topics = [text for _, text in sorted(pydoc_data.topics.topics.items()) if len(text) > 1500]
    sentences = [
        " ".join(order.choices(PROSE.split() + QUESTION.split(), k=order.randrange(8, 40))) for _ in range(200)
    ]
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(sentences))
    planted = []
    for number, sentence in enumerate(sentences):
        text = topics[number % len(topics)]
        at = text.index(" ", order.randrange(len(text) - 200))
        planted.append(f"{text[:at]} {sentence}{text[at:]}")

    assert run(path, topics).kept.num_rows == len(topics)
    dropped = run(path, planted).dropped["detail"].to_pylist()
    assert len(dropped) == len(planted)


def test_passages_of_real_questions():
    if not QA.exists():
        pytest.skip("needs the question sets")
    xquad = json.loads(gzip.decompress((QA / "xquad.zh.json.gz").read_bytes()))["data"]
    passages = [paragraph["context"] for article in xquad for paragraph in article["paragraphs"]]
    others = json.loads(gzip.decompress((QA / "cmrc2018_dev.json.gz").read_bytes()))["data"]
    unrelated = [paragraph["context"] for article in others for paragraph in article["paragraphs"]][:300]

    outcome = run(QA / "xquad.zh.json.gz", passages + unrelated)
    assert outcome.kept["text"].to_pylist() == unrelated


@pytest.mark.parametrize("parameters", [{"n": 5}, {"n": 1, "min_words": 1}, {"benchmarks": {}}, {"action": "mask"}])
def test_parameters_that_make_no_sense_are_refused(benchmark_file, parameters):
    with pytest.raises(ValidationError):
        Decontaminate.model_validate({"benchmarks": {"stairs": str(benchmark_file)}, **parameters})
