"""A chat server whose replies are written in the test, and people who write and answer through it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tiers.l3_edited.synthesis.authors import Author, serving
from tiers.l3_edited.synthesis.synthesise import People


@pytest.fixture
def author() -> Iterator[Author]:
    with serving() as author:
        yield author


@pytest.fixture
def people(author: Author) -> People:
    return People(author.llm(), author.llm("solver"))
