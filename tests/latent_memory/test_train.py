import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from latent_memory.compressor import together
from latent_memory.corpus import choose_contexts, draw, read_corpus, search_for
from latent_memory.data import Question
from latent_memory.frozen import Frozen
from latent_memory.generator import Generator, Reading
from latent_memory.pretrained import load_compressor, read_manifest
from latent_memory.train import Trainer, train
from latent_memory.training_recipe import MemoryTraining, Weights, load_recipe
from tests.latent_memory.conftest import make_compressor
from tiers.errors import ModelError, RecipeError


@pytest.fixture
def recipe(tiny_model: Path, tmp_path: Path) -> MemoryTraining:
    names = ["Ada", "Bob", "Cyd", "Dan", "Eve", "Fay"]
    articles = []
    for number, name in enumerate(names):
        context = f"The tower of {name} was built in {1800 + number} beside the river."
        answer = {"text": str(1800 + number), "answer_start": context.index("18")}
        qas = [{"question": f"When was the tower of {name} built?", "answers": [answer]}]
        articles.append({"paragraphs": [{"context": context, "qas": qas}]})
    (tmp_path / "qa.json").write_text(json.dumps({"data": articles}))
    settings: dict[str, Any] = {
        "compressor_model": str(tiny_model),
        "generator_model": str(tiny_model),
        "data": tmp_path,
        "sources": [{"path": "qa.json", "form": "squad"}],
        "python_documentation": False,
        "held_out": 2,
        "compressor": {
            "depth": 2,
            "lora_from": 1,
            "lora_rank": 2,
            "slots": 60,
            "key": 8,
            "retrieval_dim": 16,
            "reader": {"size": 16, "dropout": 0.0},
        },
        "weights": {"answer": 1.0},
        "natural": 2,
        "cloze": 2,
        "reconstructed": 2,
        "reconstructed_tokens": 8,
        "evidence_tokens": 100,
        "steps": 6,
        "warmup": 2,
        "checkpoint_every": 3,
        "dtype": "float32",
    }
    return MemoryTraining.model_validate(settings)


def _losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_has_the_losses_and_the_weights_of_an_unbroken_one(
    recipe: MemoryTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe, tmp_path / "whole")
    step = Trainer.train_step

    def dies_at_the_fifth(trainer: Trainer) -> dict[str, float]:
        if trainer.step == 4:
            raise KeyboardInterrupt
        return step(trainer)

    monkeypatch.setattr(Trainer, "train_step", dies_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "broken")
    monkeypatch.undo()
    broken = train(recipe, tmp_path / "broken")  # from the checkpoint at step 3
    losses = _losses(tmp_path / "broken")
    assert losses[:3] + losses[-3:] == _losses(tmp_path / "whole")
    assert (broken / "adapter.safetensors").read_bytes() == (whole / "adapter.safetensors").read_bytes()


@pytest.mark.parametrize("term", ["answer", "read", "pointing", "reconstruction", "distillation", "contrastive"])
def test_training_on_a_term_lowers_it(recipe: MemoryTraining, tmp_path: Path, term: str) -> None:
    weights = Weights.model_validate({name: float(name == term) for name in Weights.model_fields})
    rate = 1e-3 if term == "answer" else 1e-2  # so little of a random generator depends on one embedding
    same = {
        "natural": 4,
        "cloze": 0,
        "reconstructed": 4,
        "distracted": 0.0,
        "rounded": False,
    }  # every batch holds all there is
    alone = recipe.model_copy(
        update={**same, "weights": weights, "steps": 40, "head_rate": rate, "checkpoint_every": 40}
    )
    folder = train(alone, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert sum(row[term] for row in rows[-4:]) < sum(row[term] for row in rows[:4])
    assert rows[-1].keys() >= {"held_out", "held_out_shuffled", "held_out_recall_at_1"}
    assert read_manifest(folder).compressor == recipe.compressor
    assert load_compressor(folder).trained_state()["memory_token"].dtype == torch.float32


def test_early_steps_train_keys_and_reader_alone_and_lower_their_loss(recipe: MemoryTraining, tmp_path: Path) -> None:
    early = {"early": 20, "early_questions": 4, "steps": 22, "early_rate": 3e-3, "warmup": 0}
    changed = recipe.model_copy(update=early)
    train(changed.model_copy(update={"stop": 1}), tmp_path / "one")
    train(changed.model_copy(update={"stop": 20}), tmp_path / "out")
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["model"] for name in ("one", "out")]
    moved = {name.split(".")[0] for name, value in states[0].items() if not torch.equal(value, states[1][name])}
    assert moved == {"key", "reader"}
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert all(row.keys() >= {"read", "pointing"} and "answer" not in row for row in rows)
    assert sum(row["loss"] for row in rows[16:20]) < sum(row["loss"] for row in rows[:4])


def test_early_steps_train_adapters_and_retrieval_heads_too_where_asked_for(
    recipe: MemoryTraining, tmp_path: Path
) -> None:
    changed = {"early": 6, "steps": 6, "early_adapters": True, "retrieval_rate": 1e-3}
    adapted = recipe.model_copy(update=changed)
    before = load_compressor(train(adapted.model_copy(update={"stop": 1}), tmp_path / "before")).trained_state()
    after = load_compressor(train(adapted, tmp_path / "after")).trained_state()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {name for name in after if "lora_B" in name} <= moved
    assert {"key.weight", "reader.query.weight", "retrieval_residual.weight"} <= moved
    assert "contrastive" in json.loads((tmp_path / "after" / "metrics.jsonl").read_text().splitlines()[0])


def test_questions_by_which_nothing_can_be_sought_train_no_vectors(recipe: MemoryTraining, tmp_path: Path) -> None:
    sources = tuple(source.model_copy(update={"sought": False}) for source in recipe.sources)
    changed = {"early": 2, "steps": 2, "early_adapters": True, "sources": sources, "held_out": 0}
    train(recipe.model_copy(update=changed), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all("contrastive" not in row and "read" in row for row in rows)


def test_a_step_without_a_finite_gradient_changes_nothing(
    recipe: MemoryTraining, tiny_model: Path, generator: Generator
) -> None:
    compressor = make_compressor(tiny_model)
    trainer = Trainer(recipe, compressor, generator, read_corpus(recipe, compressor, generator, []))
    before = {name: value.clone() for name, value in compressor.trained_state().items()}
    hook = compressor.key.weight.register_hook(lambda gradient: gradient * float("nan"))
    assert trainer.train_step()["step"] == 1
    assert all(torch.equal(value, before[name]) for name, value in compressor.trained_state().items())
    hook.remove()
    trainer.train_step()
    assert not torch.equal(compressor.key.weight, before["key.weight"])


def test_all_evidence_of_a_question_is_read_and_pointed_at_where_its_answer_stands(
    recipe: MemoryTraining, tiny_model: Path, generator: Generator
) -> None:
    question = Question("Who?", ("Ada",), ("Bob owns a hill.", "It is Ada who does."))
    texts, contexts = choose_contexts([question], {question: ["A sea.", "Bob owns a hill."]}, 1.0, random.Random(0))
    assert {texts[number] for number in contexts[0]} >= set(question.evidence)
    spoken = Frozen(make_compressor(tiny_model), generator, generator.embedding, 8).spoken(question)
    assert spoken.text == question.evidence[1]
    assert spoken.begins
    assert not Question("Is it?", ("no",), ("It is not.",)).answered_in("nobody knows")


def test_the_learning_rate_has_a_schedule_for_each_part(recipe: MemoryTraining, tmp_path: Path) -> None:
    """Up to the early rate and down, then up to the other one and down."""
    parts = {"early": 6, "early_rate": 4e-3, "head_rate": 1e-3, "lora_rate": 2e-3, "warmup": 2, "steps": 12}
    made: list[Trainer] = []
    changed = recipe.model_copy(update={**parts, "early_questions": 2, "held_out": 0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latent_memory.train.run", lambda trainer, out: made.append(trainer))
        train(changed, tmp_path / "out")
    rates = [made[0]._rate(step) * changed.head_rate for step in range(12)]
    assert rates[1] == max(rates[:6]) == pytest.approx(4e-3)
    assert rates[7] == max(rates[6:]) == pytest.approx(1e-3)
    assert rates[1:6] == sorted(rates[1:6], reverse=True)
    assert rates[7:] == sorted(rates[7:], reverse=True)
    assert rates[6] < rates[7] / 1.5


def test_an_early_step_is_what_a_step_without_evidence_in_the_prompt_would_be(
    recipe: MemoryTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of frozen models gives the loss that running them gives."""
    made: list[Trainer] = []
    monkeypatch.setattr("latent_memory.train.run", lambda trainer, out: made.append(trainer))
    monkeypatch.setattr("latent_memory.train.vocabulary", lambda _, generator: torch.arange(len(generator.embedding)))
    train(
        recipe.model_copy(update={"early": 1, "early_questions": 3, "distracted": 1.0, "held_out": 0}), tmp_path / "out"
    )
    trainer = made[0]
    trainer.compressor.eval()
    batch = draw(trainer.corpus, trainer.recipe, 0)
    compressor, generator = trainer.compressor, trainer.generator
    latents = compressor.latents(compressor(compressor.tokenize(batch.texts), "evidence").code, recipe.rounded)
    readings = []
    for question, context in zip(batch.questions, batch.contexts, strict=True):
        whole = together([latents[i] for i in context])
        answer = trainer.frozen.answer(question)
        readings.append(Reading(question.text, replace(whole, tokens=whole.tokens[:0]), answer))
    logprobs = generator.score(readings, compressor.reader)
    targets = torch.tensor([token for reading in readings for token in reading.answer])
    expected = torch.nn.functional.nll_loss(logprobs, targets)
    for _ in range(2):  # made, and kept
        assert trainer.early_losses(batch)["read"].item() == pytest.approx(expected.item(), rel=0.02)


def test_a_run_that_gets_no_better_ends_and_keeps_its_best_weights(recipe: MemoryTraining, tmp_path: Path) -> None:
    slow = {"head_rate": 1e-9, "lora_rate": 1e-9, "weight_decay": 0.0}  # no F1 can be better than the first
    changed = recipe.model_copy(update={**slow, "patience": 2, "checkpoint_every": 1})
    folder = train(changed, tmp_path / "out")
    assert len(_losses(tmp_path / "out")) == 3
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["best"][1] == 1
    best = torch.load(tmp_path / "out" / "best.pt", weights_only=True)
    first = train(changed.model_copy(update={"stop": 1}), tmp_path / "first")
    for name, value in load_compressor(first).trained_state().items():
        assert torch.equal(value, load_compressor(folder).trained_state()[name]), name
        assert torch.equal(value, best[name].half().float()), name


def test_two_processes_train_as_one_does_on_both_parts(recipe: MemoryTraining, tmp_path: Path) -> None:
    both = recipe.model_copy(update={"parts": 2, "steps": 3, "checkpoint_every": 3, "drafted": 4})
    alone = train(both, tmp_path / "alone")
    path = tmp_path / "recipe.yaml"
    path.write_text(both.model_dump_json())  # JSON is YAML
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "--no-python"]
    program = "from pipelines.cli import app; app()"
    arguments = ["train-memory", str(path), "--out", str(tmp_path / "together")]
    subprocess.run([*command, sys.executable, "-c", program, *arguments], check=True, capture_output=True)
    states = [load_compressor(folder).trained_state() for folder in (alone, tmp_path / "together" / "memory")]
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=2e-3), name
    assert len(_losses(tmp_path / "together")) == 3
    drafts = [(folder / "drafted.jsonl").read_text() for folder in (tmp_path / "alone", tmp_path / "together")]
    assert drafts[0] == drafts[1]  # written once, not by each process
    assert drafts[0].count("\n") == 4


def _about(*evidence: str) -> list[Question]:
    return [Question(f"Question {number}?", ("that",), (text,)) for number, text in enumerate(evidence)]


def test_contexts_hold_their_own_evidence_and_sometimes_what_a_search_finds() -> None:
    questions = _about(*(f"evidence {number}" for number in range(60)))
    found = {q: [f"{n}th of {q.text}" for n in range(9)] for q in questions}
    for question in questions[:30]:
        found[question].insert(1, question.evidence[0])  # the search finds what it should, second
    texts, contexts = choose_contexts(questions, found, 0.5, random.Random(0))
    assert texts[:60] == [q.evidence[0] for q in questions]
    assert all(row in context and len(set(context)) == len(context) <= 10 for row, context in enumerate(contexts))
    assert 15 < sum(len(context) > 1 for context in contexts) < 45
    assert {len(context) for context in contexts} == {1, 2, 3, 5, 10}
    searched = [row for row, context in enumerate(contexts) if any(number >= 60 for number in context)]
    assert 10 < len(searched) < sum(len(context) > 1 for context in contexts)
    for row in searched:
        others = [texts[i] for i in contexts[row] if i != row]
        assert others == [text for text in found[questions[row]] if text in others]  # in the order of the search
        assert row >= 30 or contexts[row].index(row) == 1
    assert len({contexts[row].index(row) for row in searched if row >= 30}) > 3
    assert choose_contexts(questions[:3], found, 0.0, random.Random(0)) == (texts[:3], [[0], [1], [2]])


def test_a_question_that_does_not_say_what_it_is_about_reads_its_own_evidence_alone() -> None:
    questions = _about("one", "two", "three")
    found: dict[Question, list[str]] = {questions[1]: []}
    _, contexts = choose_contexts(questions, found, 1.0, random.Random(0))
    assert contexts[1] == [1]
    assert len(contexts[0]) > 1


def test_questions_that_nothing_was_searched_for_read_other_evidence() -> None:
    questions = _about("same", "same", "other")
    texts, contexts = choose_contexts(questions, {}, 1.0, random.Random(1))
    assert texts == ["same", "same", "other"]
    assert all([texts[i] for i in context].count("same") == 1 for context in contexts)
    assert [row in context for row, context in enumerate(contexts)] == [True] * 3


def test_a_search_finds_the_evidence_and_what_is_near_but_for_what_holds_the_answer() -> None:
    texts = ["The old mill burned in 1740.", "The old mill stands.", "The old mill was of 1740 too.", "A cat slept."]
    question = Question("When did the old mill burn?", ("1740",), (texts[0],))
    found = search_for([question], texts[1:])[question]
    assert found == [texts[1], texts[0], texts[3]]


def test_vectors_search_beside_full_text() -> None:
    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([["cat" in text or "mill" in text, "bird" in text] for text in texts], np.float32)

    texts = ["The old mill burned.", "A cat slept.", "A bird sang to the old man.", "A hill."]
    question = Question("Who owned the old mill?", ("Bob",), (texts[0],))
    assert search_for([question], texts[1:])[question][:2] == [texts[0], texts[2]]
    assert search_for([question], texts[1:], encode)[question][:2] == [texts[0], texts[1]]


def test_what_is_held_out_shares_no_passage_with_what_is_trained_on(
    recipe: MemoryTraining, tiny_model: Path, generator: Generator
) -> None:
    articles = json.loads((recipe.data / "qa.json").read_text())
    for number, article in enumerate(articles["data"]):
        (paragraph,) = article["paragraphs"]
        paragraph["context"] += f" It has {number} red stairs."
        answer = {"text": "red", "answer_start": paragraph["context"].index("red")}
        paragraph["qas"].append({"question": f"What colour? {paragraph['qas'][0]['question']}", "answers": [answer]})
    (recipe.data / "qa.json").write_text(json.dumps(articles))
    corpus = read_corpus(recipe, make_compressor(tiny_model), generator, [])
    passages = {q.pool for q in corpus.held_out}
    assert len(corpus.held_out) == 2
    assert len(corpus.natural) == 2 * (6 - len(passages))
    assert passages.isdisjoint(q.pool for q in corpus.natural)


def test_what_the_sets_to_report_on_hold_is_left_out_and_sources_count_as_the_recipe_says(
    recipe: MemoryTraining, tiny_model: Path, tmp_path: Path, generator: Generator
) -> None:
    report = {
        "data": [{"paragraphs": [{"context": "Yes: the tower of Ada was built in 1800 beside a sea.", "qas": []}]}]
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    lines = [("s 1", "What is it ?", "3"), ("s 1", "Whose ?", "1")]
    rows = [f"{key}\t3\t1\t0\t3\t{text}\t{answer}\t1:{answer}\t2:{answer}\n" for key, text, answer in lines]
    (tmp_path / "qamr.tsv").write_text("".join(rows))
    (tmp_path / "wiki-sentences.tsv").write_text("s 1\tAll Bob owns is hills .\n")
    sources = [{"path": "qa.json", "form": "squad", "times": 2}, {"path": "qamr.tsv", "form": "qamr", "sought": False}]
    changed = MemoryTraining.model_validate(
        recipe.model_dump() | {"sources": sources, "unlike": [{"path": "report.json", "form": "squad"}]}
    )
    corpus = read_corpus(changed, make_compressor(tiny_model), generator, [])
    assert not [text for text in corpus.sentences if "Ada" in text]  # eight words in a row are those of the report
    assert len([text for text in corpus.sentences if "tower" in text]) == 5
    assert len(corpus.held_out) == 2
    assert len(corpus.sought) == 3
    assert Counter(q.evidence[0].split()[0] for q in corpus.natural) == {"The": 2 * 3, "All": 2}
    assert all("tower" in q.evidence[0] for q in [*corpus.held_out, *corpus.sought])


def test_a_second_run_starts_from_the_weights_of_the_first(recipe: MemoryTraining, tmp_path: Path) -> None:
    first = train(recipe.model_copy(update={"stop": 2}), tmp_path / "first")
    assert len(_losses(tmp_path / "first")) == 2
    second = recipe.model_copy(
        update={"start": first, "stop": 1, "head_rate": 1e-12, "lora_rate": 1e-12, "retrieval_rate": 1e-12}
    )
    then = load_compressor(train(second, tmp_path / "second")).trained_state()
    for name, value in load_compressor(first).trained_state().items():
        assert torch.allclose(value, then[name], atol=1e-5), name


def test_a_checkpoint_of_another_recipe_is_refused(recipe: MemoryTraining, tmp_path: Path) -> None:
    short = recipe.model_copy(update={"steps": 3})
    train(short, tmp_path / "out")
    with pytest.raises(RecipeError, match="another recipe"):
        train(short.model_copy(update={"seed": 1}), tmp_path / "out")


def test_an_unknown_key_and_a_wrong_value_are_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("compressor_model: a\ngenerator_model: b\ndata: .\nsources: []\nstepz: 3\n")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert "stepz" in str(error.value)
    assert "sources" in str(error.value)
    path.write_text("a: [")
    with pytest.raises(RecipeError, match="can't be read"):
        load_recipe(path)


def test_the_recipe_of_the_packaged_memory_is_valid() -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "configs" / "memory_text.yaml")
    spans = {source.path: (source.first, source.last) for source in recipe.sources}
    assert spans["xquad.en.json.gz"] == (0, 24)  # what is reported on stays out
    assert spans["qed-dev.jsonlines.gz"] == (0, 1000)
    assert not {"hotpotqa", "musique"} & {source.form for source in recipe.sources}


def test_a_missing_model_is_an_error_before_anything_is_written(recipe: MemoryTraining, tmp_path: Path) -> None:
    lacking = recipe.model_copy(update={"generator_model": "no-such-model"})
    with pytest.raises(ModelError, match="no-such-model"):
        train(lacking, tmp_path / "out", models=tmp_path)
    assert not (tmp_path / "out").exists()
