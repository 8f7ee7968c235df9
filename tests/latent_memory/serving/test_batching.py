from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from latent_memory.answers import Answer, OnText
from latent_memory.serving.batching import Asking, Batcher, BusyError
from tiers.errors import EngineError


class Speaker:
    """Says a question's letters one by one, when it is let go; fails at the second letter over poison."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        self.batches: list[tuple[str, list[str]]] = []

    def __call__(self, questions: Sequence[str], way: str, on_text: OnText) -> list[Answer]:
        self.asked.set()
        self.go.wait()
        self.batches.append((way, list(questions)))
        for at in range(max(map(len, questions))):
            for number, question in enumerate(questions):
                if question == "poison" and at == 1:
                    raise RuntimeError(question)
                if at < len(question):
                    on_text(number, question[at])
        return [Answer(question, (), "nothing", 0.5, False, False, 0, 0, len(question), True) for question in questions]


def asking(question: str, way: str = "plainly") -> tuple[Asking[str], list[Any]]:
    heard: list[Any] = []
    return Asking(question, way, heard.append), heard


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


def start(speaker: Speaker, *askings: Asking[str], together: int = 8, waiting: int = 8) -> Batcher[str]:
    """The first of them is under way, the others wait."""
    batcher = Batcher(speaker, together, waiting)
    batcher.submit(askings[0])
    speaker.asked.wait()
    for one in askings[1:]:
        batcher.submit(one)
    return batcher


def end(speaker: Speaker, batcher: Batcher[str]) -> None:
    speaker.go.set()
    batcher.close()


def test_those_that_wait_are_answered_together_in_order_and_by_their_way(speaker: Speaker) -> None:
    ways = ["plainly", "plainly", "loudly", "plainly", "loudly", "plainly", "plainly"]
    askings = [asking(str(number), way)[0] for number, way in enumerate(ways)]
    end(speaker, start(speaker, *askings, together=3))
    assert speaker.batches == [
        ("plainly", ["0"]),
        ("plainly", ["1", "3", "5"]),
        ("loudly", ["2", "4"]),
        ("plainly", ["6"]),
    ]


def test_each_hears_its_own_answer_while_it_is_said(speaker: Speaker) -> None:
    askings = [asking(question) for question in ("one", "three", "eleven")]
    end(speaker, start(speaker, *(one for one, _ in askings)))
    for one, heard in askings:
        assert heard[:-1] == list(one.question)
        assert heard[-1].answer == one.question


def test_where_a_batch_fails_the_others_hear_nothing_twice(speaker: Speaker) -> None:
    askings = [asking(question) for question in ("first", "word", "poison", "another")]
    end(speaker, start(speaker, *(one for one, _ in askings)))
    for one, heard in askings:
        assert "".join(heard[:-1]) == ("p" if one.question == "poison" else one.question)
    assert [type(heard[-1]) for _, heard in askings] == [Answer, Answer, RuntimeError, Answer]


def test_a_full_queue_and_a_closed_one_take_no_more(speaker: Speaker) -> None:
    batcher = start(speaker, *(asking(question)[0] for question in ("a", "b", "c")), waiting=2)
    with pytest.raises(BusyError, match="too many"):
        batcher.submit(asking("d")[0])
    assert len(batcher) == 2
    assert batcher.alive
    end(speaker, batcher)
    assert not batcher.alive
    assert sum(len(questions) for _, questions in speaker.batches) == 3  # closing answers those that wait
    with pytest.raises(EngineError, match="closing"):
        batcher.submit(asking("e")[0])


def test_what_is_dropped_makes_room_and_is_not_asked(speaker: Speaker) -> None:
    (first, _), (second, heard) = asking("a"), asking("b")
    batcher = start(speaker, first, second, waiting=1)
    assert batcher.drop(second)
    assert not batcher.drop(second)
    assert not batcher.drop(first)
    batcher.submit(asking("c")[0])
    end(speaker, batcher)
    assert [questions for _, questions in speaker.batches] == [["a"], ["c"]]
    assert heard == []
