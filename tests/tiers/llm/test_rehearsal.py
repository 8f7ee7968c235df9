from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiers.errors import ModelError
from tiers.l3_edited.edit_program import Rejection, parse_program, program_schema
from tiers.l4_verified.claims import Claim, Claims, parse_claim
from tiers.llm import Finish, Message, Request, open_llm
from tiers.llm.prices import Price
from tiers.llm.rehearsal import Rehearsal
from tiers.llm.token_guess import BYTES_PER_TOKEN
from tiers.llm.transformers_llm import TransformersLLM

REMOTE = "openai:m@http://nowhere/v1"
PASSAGE = "The bridge was opened in 1932 after eight years of work. It carries rail and road traffic."


def rehearsal() -> Rehearsal:
    return Rehearsal("", "", {"openai:m": Price(prompt=2, completion=8)}, stage="s")


def test_it_counts_what_would_be_asked_and_the_longest_reply(tmp_path: Path) -> None:
    cache = rehearsal()
    requests = [
        Request((Message("user", "x" * 400),), max_tokens=50),
        Request((Message("user", "y"),), choices=("1", "2")),
    ]
    llm = open_llm(REMOTE, tmp_path, cache)
    results = llm.complete(requests)
    assert all(result.cached for result in llm.complete(requests))
    asked = cache.asked["s", REMOTE]
    assert [one.request for one in asked] == requests
    assert [one.completion_tokens for one in asked] == [50, 1]
    assert 400 / BYTES_PER_TOKEN <= asked[0].prompt_tokens < 400 / BYTES_PER_TOKEN + 20
    assert asked[0].cost == pytest.approx((asked[0].prompt_tokens * 2 + 50 * 8) / 1e6)
    assert len(results[1].logprobs) == 2
    assert all(result.finish is Finish.STOP for result in results)


def test_a_model_that_is_here_counts_by_its_own_tokenizer(tiny_model: Path) -> None:
    cache = rehearsal()
    requests = [Request((Message("system", "a"), Message("user", "bc")), prefill="d", choices=("1",))]
    requests += [Request((Message("user", "bc"),), reply="some words"), Request((Message("user", "e"),), max_tokens=3)]
    open_llm(str(tiny_model), tiny_model.parent, cache).complete(requests)
    real = TransformersLLM(str(tiny_model), tiny_model.parent).complete(requests)
    asked = cache.asked["s", str(tiny_model)]
    assert [one.prompt_tokens for one in asked] == [result.prompt_tokens for result in real]
    assert [one.completion_tokens for one in asked] == [0, 0, 3]


def test_a_model_that_is_not_here_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tierline models pull smollm2-135m"):
        open_llm("smollm2-135m", tmp_path, rehearsal())


def test_replies_have_the_form_that_stages_ask_for(tmp_path: Path) -> None:
    llm = open_llm(REMOTE, tmp_path, rehearsal())
    (drafted,) = llm.complete([Claims(llm=REMOTE).request(PASSAGE, "Old bridge")])
    claim = parse_claim(drafted)
    assert isinstance(claim, Claim)
    assert claim.quote in PASSAGE
    assert claim.answer in PASSAGE
    assert claim.answer not in claim.question
    (written,) = llm.complete([Request((Message("user", PASSAGE),), schema=program_schema())])
    assert not isinstance(parse_program(written.text), Rejection)
    (free,) = llm.complete([Request((Message("user", PASSAGE),), max_tokens=8)])
    assert PASSAGE.startswith(free.text)


def test_references_and_alternatives_of_a_schema_are_followed(tmp_path: Path) -> None:
    schema = {
        "$defs": {"part": {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "on": {"type": "boolean"}}}},
        "type": "object",
        "properties": {
            "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "minItems": 2},
            "grade": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
        },
    }
    (result,) = open_llm(REMOTE, tmp_path, rehearsal()).complete([Request((Message("user", "x"),), schema=schema)])
    assert json.loads(result.text) == {"parts": [{"kind": "a", "on": False}] * 2, "grade": 1}
