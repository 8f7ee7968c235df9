from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from latent_memory.memory import LatentMemory
from pipelines.cli import app
from pipelines.plots import Point, scatter, standalone
from tests.latent_memory.conftest import save_tiny
from tiers.document import documents

PARAGRAPH = "Ada lives in Rome. Bob lives in Oslo."
HOTPOT = [
    {
        "question": f"Where is {name}?",
        "answer": place,
        "supporting_facts": [[name, 0]],
        "context": [[name, [f"{name} lives in {place}."]], ["Moon", ["Nobody lives here."]]],
    }
    for name, place in (("Ada", "Rome"), ("Bob", "Oslo"))
]
SETS: dict[str, Any] = {
    "hotpotqa": HOTPOT,
    "2wiki": HOTPOT,
    "musique": [
        {
            "question": f"Where is {name}?",
            "answer": place,
            "answer_aliases": [],
            "question_decomposition": [{"paragraph_support_idx": 0, "answer": place}],
            "paragraphs": [{"title": name, "paragraph_text": f"{name} lives in {place}. It is warm."}],
        }
        for name, place in (("Ada", "Rome"), ("Bob", "Oslo"))
    ],
    "squad": {
        "data": [
            {
                "paragraphs": [
                    {
                        "context": PARAGRAPH,
                        "qas": [
                            {
                                "question": f"Where is {name}?",
                                "answers": [{"text": place, "answer_start": PARAGRAPH.index(place)}],
                            }
                            for name, place in (("Ada", "Rome"), ("Bob", "Oslo"))
                        ],
                    }
                ]
            }
        ]
    },
    "qed": [
        {
            "question_text": f"where is {name}",
            "title_text": "People",
            "paragraph_text": PARAGRAPH,
            "sentence_starts": [0, 19],
            "original_nq_answers": [
                [{"start": PARAGRAPH.index(place), "end": PARAGRAPH.index(place) + 4, "string": place}]
            ],
        }
        for name, place in (("ada", "Rome"), ("bob", "Oslo"))
    ],
    "nq-open": [{"question": "where is ada", "answer": ["Rome"]}, {"question": "where is bob", "answer": ["Oslo"]}],
}


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tiny_model, tmp_path_factory.mktemp("trained"), seed=0)


@pytest.fixture
def evaluate(trained: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TIERLINE_MODELS", str(tiny_encoder))

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["eval", *map(str, arguments), "--pretrained", str(trained)])

    return call


def write(path: Path, data: Any) -> Path:
    lines = "\n".join(json.dumps(row) for row in data) if ".jsonl" in path.name else json.dumps(data)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("hotpotqa", "h.json"),
        ("2wiki", "w.jsonl"),
        ("musique", "m.jsonl.gz"),
        ("squad", "s.json.gz"),
        ("qed", "q.jsonlines.gz"),
        ("nq-open", "n.jsonl"),
    ],
)
def test_every_format_is_evaluated(form: str, name: str, tmp_path: Path, evaluate: Any) -> None:
    passages = write(tmp_path / "passages.jsonl", [{"title": "Moon", "text": "It is far. Nobody lives in Rome there."}])
    chosen = "closed-book,bm25,latents"
    result = evaluate(
        "--data", write(tmp_path / name, SETS[form]), "--format", form, "--corpus", passages, "--methods", chosen,
        "-k", 1, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["questions"] == 2
    assert list(summary["methods"]) == chosen.split(",")
    assert summary["methods"]["latents"]["context_tokens"] == 1
    assert ("recall@1" in summary["retrieval"]["bm25"]["corpus"]) == (form != "nq-open")
    assert ("own" in summary["retrieval"]["latent"]) == (form != "nq-open")


def test_all_methods_are_shown_and_every_answer_is_kept(tmp_path: Path, evaluate: Any) -> None:
    data = write(tmp_path / "h.json", HOTPOT)
    result = evaluate("--data", data, "--format", "hotpotqa", "--limit", 1, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "xrag is left out: no trained projector is given" in result.output
    summary = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    answers = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert [row["method"] for row in answers] == list(summary["methods"])
    assert len(answers) == 16
    assert all(name in result.stdout for name in summary["methods"])
    assert "F1 - closed-book" in " ".join(result.stdout.split())
    plot = ElementTree.parse(tmp_path / "out" / "f1_by_tokens.svg")
    points = plot.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(points) == 16


def test_a_memory_is_searched_in_place_of_a_corpus(tmp_path: Path, evaluate: Any, trained: Path) -> None:
    texts = ["Ada lives in Rome.", "Bob lives in Oslo.", "Nobody lives on the moon."]
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(documents([{"text": text, "source": f"test#{n}"} for n, text in enumerate(texts)]))
    data = write(tmp_path / "n.json", SETS["nq-open"])
    arguments = ("--data", data, "--format", "nq-open", "--memory", tmp_path / "memory", "--methods", "latents,dense")
    result = evaluate(*arguments, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["corpus"] == 3
    assert summary["methods"]["latents"]["seconds"]["compress_per_evidence"] is None
    assert summary["retrieval"]["dense"]["corpus"]["answer@5"] == 1.0
    both = evaluate(*arguments, "--corpus", data)
    assert both.exit_code == 1
    assert "--corpus, --memory" in both.output


@pytest.mark.parametrize(
    ("form", "methods", "told"),
    [
        ("nq-open", "bm25", "--corpus or --memory"),
        ("hotpotqa", "bm25", "row 0"),
        ("squad", "bm25", "data"),
        ("triviaqa", "bm25", "2wiki"),
    ],
)
def test_a_bad_set_is_a_clear_error(form: str, methods: str, told: str, tmp_path: Path, evaluate: Any) -> None:
    data = write(tmp_path / "n.json", SETS["nq-open"])
    result = evaluate("--data", data, "--format", form, "--methods", methods)
    assert result.exit_code == 1
    assert told in result.output
    assert isinstance(result.exception, SystemExit)


def test_a_method_without_what_it_needs_is_a_clear_error(tmp_path: Path, evaluate: Any) -> None:
    data, corpus = write(tmp_path / "n.json", SETS["nq-open"]), write(tmp_path / "c.json", [{"text": PARAGRAPH}])
    for method, told in (("gold-raw", "gold evidence"), ("full-context", "passages"), ("xrag", "projector")):
        result = evaluate("--data", data, "--format", "nq-open", "--corpus", corpus, "--methods", method)
        assert result.exit_code == 1
        assert told in result.output
    result = evaluate(
        "--data", data, "--format", "nq-open", "--corpus", corpus, "--methods", "bm25", "--against", "dense"
    )
    assert result.exit_code == 1
    assert "compare" in result.output


def test_points_stand_where_their_numbers_say() -> None:
    points = [Point("none", 0, 0.1, 0.0, 0.2), Point("some", 9, 0.3, 0.2, 0.4), Point("<most>", 99, 0.4, 0.35, 0.45)]
    plot = scatter(points, "a title", "tokens", "F1")
    across = [float(x) for x in re.findall(r'cx="([\d.]+)%"', plot)]
    up = [float(y) for y in re.findall(r'cy="([\d.]+)"', plot)]
    most, some, none = across  # the highest first
    assert (most, none) == (80.0, 5.0)
    assert some == pytest.approx((most + none) / 2, abs=0.01)  # log(1 + 9) is half of log(1 + 99)
    assert up == sorted(up)
    assert up[2] - up[1] == pytest.approx(2 * (up[1] - up[0]), abs=0.2)
    ElementTree.fromstring(standalone(plot))


def test_a_projector_that_was_trained_for_the_generator_is_a_method(
    tmp_path: Path, evaluate: Any, tiny_model: Path
) -> None:
    write(tmp_path / "squad.json", SETS["squad"])
    recipe = {
        "compressor_model": str(tiny_model),
        "generator_model": str(tiny_model),
        "data": str(tmp_path),
        "sources": [{"path": "squad.json", "form": "squad"}],
        "python_documentation": False,
    }
    file = tmp_path / "xrag.safetensors"
    arguments = [str(write(tmp_path / "recipe.json", recipe)), "--out", str(file), "--steps", "2"]
    trained = CliRunner().invoke(app, ["train-xrag", *arguments])
    assert trained.exit_code == 0, trained.output
    assert "step 2: " in trained.output
    data = write(tmp_path / "h.json", HOTPOT)
    result = evaluate(
        "--data", data, "--format", "hotpotqa", "--methods", "xrag,closed-book", "--xrag", file, "-k", 2, "--json"
    )
    assert result.exit_code == 0, result.output
    methods = json.loads(result.stdout)["methods"]
    assert methods["xrag"]["context_tokens"] == 2
    assert methods["xrag"]["answer_loss"] != methods["closed-book"]["answer_loss"]
