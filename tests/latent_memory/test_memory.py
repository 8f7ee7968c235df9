from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from latent_memory.compression import compress
from latent_memory.memory import LatentMemory
from latent_memory.pretrained import read_manifest
from tiers.document import document_id, documents
from tiers.errors import ModelError, SchemaError, SourceError, StageError

STATUS = pa.field("claim.status", pa.string(), nullable=False)
HEADING = pa.field("evidence.context", pa.string())
DOCUMENT, OTHER = document_id("doc-1"), document_id("doc-2")
SECRET = "Zebedee Quuxley owns the hidden valley."


def evidence(*texts: str, parent: str = DOCUMENT, status: str = "verified", heading: str | None = None) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "text": text,
            "source": f"test:{parent}#{number}",
            "parents": [parent],
            "claim.status": status,
            "evidence.context": heading,
        }
        for number, text in enumerate(texts)
    ]
    return documents(rows, [STATUS, HEADING])


TEXTS = ("The tower was built in 1889.", "It stands in Paris.", "Many people climb it each year.")


def test_a_document_gives_the_same_latents_whatever_it_is_compressed_with(trained: Path) -> None:
    table = evidence(*TEXTS)
    latents = compress(table, "L4", trained)
    assert latents.equals(compress(table, "L4", trained), check_metadata=True)
    assert [key.hex() for key in latents["evidence_id"].to_pylist()] == table["id"].to_pylist()
    assert latents["text"].to_pylist() == list(TEXTS)
    assert latents["documents"].to_pylist() == [[bytes.fromhex(DOCUMENT)]] * 3
    assert set(latents["status"].to_pylist()) == {"verified"}
    assert set(latents["tier"].to_pylist()) == {"L4"}
    alone = compress(table.slice(1, 1), "L4", trained)
    assert latents.slice(1, 1).equals(alone)


def test_long_evidence_becomes_several_latents_that_hold_every_word(trained: Path) -> None:
    text = " ".join(f"Sentence number {n} is here." for n in range(12))
    latents = compress(evidence(text, heading="Counting"), "L4", trained)
    assert latents.num_rows > 3
    assert " ".join(piece.removeprefix("Counting: ") for piece in latents["text"].to_pylist()) == text
    assert all(piece.startswith("Counting: ") for piece in latents["text"].to_pylist())
    assert len(set(latents["evidence_id"].to_pylist())) == latents.num_rows


@pytest.mark.parametrize("heading", [None, "An endless heading. " * 30])
def test_what_no_sentence_holds_is_compressed_too(trained: Path, heading: str | None) -> None:
    blob = "A" * 500 + "é😀" * 50
    latents = compress(evidence(blob, "  ", "Fine.", heading=heading), "L4", trained)
    whole = "".join(latents["text"].to_pylist()).replace(" ", "")
    assert blob in whole
    assert whole.endswith("Fine.")


def test_a_memory_finds_and_answers_in_order_of_similarity(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    assert memory.add(evidence(*TEXTS), "L4") == 3
    found = memory.search("When was the tower built?", k=2, hybrid=False)
    assert len(found) == 2
    assert found[0].score >= found[1].score
    assert found[0].documents == (DOCUMENT,)
    answer = memory.ask("When was the tower built?", k=2, hybrid=False)
    raw = memory.ask("When was the tower built?", k=2, raw=True, hybrid=False)
    assert answer.evidence == raw.evidence == tuple(found)
    assert answer.context_tokens == 2
    assert raw.context_tokens == len(" ".join(e.text for e in found).encode())  # a byte tokenizer
    assert raw.prompt_tokens - answer.prompt_tokens == raw.context_tokens - 2


def test_an_empty_memory_answers_from_nothing(trained: Path, tmp_path: Path) -> None:
    answer = LatentMemory.create(tmp_path / "memory", trained).ask("Who?")
    assert answer.evidence == ()
    assert answer.context_tokens == 0


def test_committing_again_changes_nothing(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    shards = [compress(evidence(*TEXTS), "L4", trained), compress(evidence(SECRET, parent=OTHER), "L4", trained)]
    assert memory.commit(shards) == 4
    assert memory.commit(shards) == 4
    assert memory.commit([*shards, shards[0]]) == 4  # one shard twice in a commit
    assert len(memory) == len(LatentMemory.open(tmp_path / "memory", trained)) == 4
    assert memory.commit([]) == 0


def test_a_row_that_is_committed_again_takes_its_new_status(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(evidence(*TEXTS, status="unverified"))
    memory.add(evidence(TEXTS[0], status="verified"))
    assert [found.text for found in memory.search("tower", k=3, status="verified")] == [TEXTS[0]]
    assert len(memory) == 3


def test_shards_survive_arrow_files(trained: Path, tmp_path: Path) -> None:
    with pa.OSFile(str(tmp_path / "shard.arrow"), "wb") as sink:
        latents = compress(evidence(*TEXTS), "L4", trained)
        with pa.ipc.new_file(sink, latents.schema) as writer:
            writer.write_table(latents)
    with pa.memory_map(str(tmp_path / "shard.arrow")) as source:
        shard = pa.ipc.open_file(source).read_all()
    assert LatentMemory.create(tmp_path / "memory", trained).commit([shard]) == 3


def test_forgetting_a_document_erases_it_from_the_disk(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    memory = LatentMemory.create(folder, trained)
    memory.add(evidence(*TEXTS))
    memory.add(evidence(SECRET, parent=OTHER))
    reader = LatentMemory.open(folder, trained)
    assert any(holds(path) for path in folder.rglob("*"))
    assert memory.forget(OTHER) == 1
    assert len(reader) == 3  # a second handle sees it at once
    assert all("Quuxley" not in found.text for found in reader.search("Who owns the hidden valley?", k=4))
    assert not any(holds(path) for path in folder.rglob("*"))
    assert memory.forget(OTHER) == 0


def test_another_compressor_is_refused(trained: Path, other_trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    for opening in (LatentMemory.open, LatentMemory.create):
        with pytest.raises(ModelError, match="another compressor"):
            opening(tmp_path / "memory", other_trained)
    with pytest.raises(ModelError, match="another compressor"):
        memory.commit([compress(evidence(*TEXTS), "L4", other_trained)])


def test_what_is_no_memory_and_no_evidence_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no memory"):
        LatentMemory.open(tmp_path / "nowhere", trained)
    with pytest.raises(SchemaError):
        compress(pa.table({"text": ["a"]}), "L4", trained)
    with pytest.raises(ModelError):
        LatentMemory.create(tmp_path / "memory", tmp_path)


def test_no_evidence_gives_an_empty_table_of_latents(trained: Path, tmp_path: Path) -> None:
    empty = compress(evidence(), "L4", trained)
    assert empty.num_rows == 0
    assert LatentMemory.create(tmp_path / "memory", trained).commit([empty]) == 0


QUESTIONS = ["When was the tower built?", "Where does it stand?", "Who climbs it?"]


def test_many_questions_are_answered_as_each_alone(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(evidence(*TEXTS))
    for raw in (False, True):
        together = memory.ask_all(QUESTIONS, k=2, raw=raw)
        assert [a.answer for a in together] == [memory.ask(q, k=2, raw=raw).answer for q in QUESTIONS]
        assert [a.evidence[0].text for a in together] == [memory.search(q, 1)[0].text for q in QUESTIONS]
        assert {a.mode for a in together} == {"raw" if raw else "latents"}
        assert all(0 <= a.confidence <= 1 and 1 <= a.generated_tokens <= 12 for a in together)
    assert memory.ask_all([]) == []


def test_an_unsure_answer_is_withheld_or_read_again_from_text(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(evidence(*TEXTS))
    plain, raw = memory.ask(QUESTIONS[0]), memory.ask(QUESTIONS[0], raw=True)
    withheld = memory.ask(QUESTIONS[0], min_confidence=1.0)
    assert withheld.abstained
    assert withheld.answer == ""
    assert withheld.evidence == plain.evidence
    assert not plain.abstained
    assert memory.ask(QUESTIONS[0], min_confidence=plain.confidence) == plain
    again = memory.ask(QUESTIONS[0], fallback="raw", min_confidence=min(1.0, plain.confidence + 1e-6))
    assert (again.mode, again.fell_back) == ("raw", True)
    assert again.answer == ("" if again.abstained else raw.answer)
    assert again.confidence == raw.confidence
    assert again.context_tokens == plain.context_tokens + raw.context_tokens
    assert again.prompt_tokens == plain.prompt_tokens + raw.prompt_tokens
    both = memory.ask(QUESTIONS[0], fallback="raw", min_confidence=1.0)
    assert both.fell_back
    assert both.abstained


def test_pieces_of_text_are_heard_while_they_are_said(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(evidence(*TEXTS))
    for how in ({}, {"fallback": "raw"}, {"min_confidence": 0.9}):
        heard: dict[int, list[str]] = {number: [] for number in range(3)}
        answers = memory.ask_all(QUESTIONS, on_text=lambda number, text, heard=heard: heard[number].append(text), **how)
        assert ["".join(pieces) for pieces in heard.values()] == [answer.answer for answer in answers]
        assert how or max(map(len, heard.values())) > 1


@pytest.mark.parametrize("wrong", [{"k": 0}, {"max_tokens": 0}, {"min_confidence": 1.5}, {"fallback": "web"}])
def test_a_memory_cannot_be_asked_nonsense(trained: Path, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(StageError, match=next(iter(wrong))):
        LatentMemory.create(tmp_path / "memory", trained).ask("Who?", **wrong)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that go through the compressor from now on."""
    import latent_memory.compression as module

    seen: list[str] = []
    encode = module._encode
    monkeypatch.setattr(module, "_encode", lambda c, texts: (seen.extend(texts), encode(c, texts))[1])
    return seen


def test_only_what_changed_is_compressed_again(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = " ".join(f"Sentence number {n} is here." for n in range(9))
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(evidence(*TEXTS, long))
    seen = counted(monkeypatch)
    memory.add(evidence(*TEXTS, long))
    assert seen == []
    memory.add(evidence(*TEXTS, long, status="refuted"))
    assert seen == []
    assert {found.status for found in memory.search("tower", k=9)} == {"refuted"}
    memory.add(evidence("The tower was built in 1890.", *TEXTS[1:], "Short now."))
    assert seen == ["The tower was built in 1890.", "Short now."]
    fresh = LatentMemory.create(tmp_path / "fresh", trained)
    fresh.add(evidence("The tower was built in 1890.", *TEXTS[1:], "Short now."))
    assert everything(memory) == everything(fresh)  # no piece of the long text is left


def everything(memory: LatentMemory) -> list[dict[str, Any]]:
    return memory.read().sort_by("evidence_id").to_pylist()


def test_a_whole_commit_leaves_what_it_holds_and_nothing_else(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(evidence(*TEXTS, SECRET))
    version = memory._store._table.version
    memory.commit([compress(evidence(*TEXTS, SECRET), "", trained)], whole=True)
    assert memory._store._table.version == version  # nothing differed
    some = [compress(evidence(TEXTS[0], "It stands in Rome."), "", trained)]
    fresh = LatentMemory.create(tmp_path / "fresh", trained)
    fresh.commit(some, whole=True)
    memory.commit(some, whole=True)
    assert everything(memory) == everything(fresh)
    assert len(memory) == 2
    memory.commit([], whole=True)
    assert len(memory) == 0


def test_a_latent_is_smaller_than_its_passage(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(evidence(*TEXTS))
    sizes = memory.bytes_per_evidence()
    assert sizes["latent"] == read_manifest(trained).latent_dim == 40 * (3 + 2)
    assert sizes["vector"] == 2 * read_manifest(trained).compressor.retrieval_dim == 32
    assert sizes["evidence_id"] + sizes["content"] + sizes["documents"] == 16 + 8 + 16
    named = 16 + 8 + 16
    assert sizes["packed"] == 40 * (3 + 2) + 32 + named
    packaged = read_manifest()
    passage = 752  # mean UTF-8 bytes of 120 words of XQuAD's paragraphs
    assert packaged.latent_dim + 2 * packaged.compressor.retrieval_dim + named <= passage
    assert sizes["text"] == sum(len(text) for text in TEXTS) / 3
    assert sizes["all"] == sum(sizes[name] for name in memory.schema.names)


def test_an_id_that_is_no_hash_is_refused(trained: Path) -> None:
    for wrong in ("doc-1", "", DOCUMENT.upper(), DOCUMENT + "00"):
        with pytest.raises(SchemaError, match="32 small hex digits"):
            compress(evidence(*TEXTS, parent=wrong), "", trained)


def test_search_is_for_a_status_and_a_topic(trained: Path, tmp_path: Path) -> None:
    topics = pa.field("organise.topics", pa.list_(pa.string()))
    table = evidence(*TEXTS)
    table = table.append_column(topics, pa.array([["history", "it's Paris"], [], None], topics.type))
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(table)
    for hybrid in (False, True):
        assert [e.text for e in memory.search("tower", topic="it's Paris", hybrid=hybrid)] == [TEXTS[0]]
        assert memory.search("tower", topic="it's Paris", status="refuted", hybrid=hybrid) == []
        assert len(memory.search("tower", status="verified", hybrid=hybrid)) == 3
    assert memory.ask("tower", topic="history").evidence[0].topics == ("history", "it's Paris")


def test_words_are_found_that_vectors_miss(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(evidence(*(f"Nothing happened in {year}, or so they say." for year in range(1500, 1590)), SECRET))
    assert SECRET in [found.text for found in memory.search("Who owns Quuxley's valleys?", k=2, hybrid=True)]
    assert SECRET not in [found.text for found in memory.search("Who owns Quuxley's valleys?", k=2, hybrid=False)]
    for strange in ('"', "AND (", "the of", "\x00", "什么"):
        assert len(memory.search(strange, k=2, hybrid=True)) == 2


def test_a_tag_opens_a_memory_as_it_was(trained: Path, tmp_path: Path) -> None:
    memory = LatentMemory.create(tmp_path / "memory", trained)
    memory.add(evidence(*TEXTS))
    memory.tag("first")
    memory.add(evidence(SECRET, parent=OTHER))
    memory.tag("second")
    assert memory.tags() == ["first", "second"]
    first = LatentMemory.open(tmp_path / "memory", trained, tag="first")
    assert len(first) == 3
    assert len(first.search("Who owns the hidden valley?", k=4)) == 3
    assert len(LatentMemory.open(tmp_path / "memory", trained, tag="second")) == len(memory) == 4
    memory.tag("first")
    assert len(LatentMemory.open(tmp_path / "memory", trained, tag="first")) == 4
    memory.untag("first")
    with pytest.raises(SourceError, match="no such tag"):
        LatentMemory.open(tmp_path / "memory", trained, tag="first")


def test_forgetting_reaches_tags_and_what_was_replaced_before(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    memory = LatentMemory.create(folder, trained)
    memory.add(evidence(SECRET, parent=OTHER))
    memory.tag("old")
    memory.commit([compress(evidence(*TEXTS), "", trained)], whole=True)
    memory.tag("new")
    assert any(holds(path) for path in folder.rglob("*"))
    assert memory.forget(OTHER) == 0  # no row of it is here any more, but in the past
    assert not any(holds(path) for path in folder.rglob("*"))
    assert memory.tags() == ["new"]
    assert len(LatentMemory.open(folder, trained, tag="new").search("tower", k=4)) == 3
    assert memory.search("tower", k=1)[0].text == TEXTS[0]


def holds(path: Path) -> bool:
    """Whether a file holds the secret's rarest word, as text or in an index."""
    return path.is_file() and b"quuxley" in path.read_bytes().lower()
