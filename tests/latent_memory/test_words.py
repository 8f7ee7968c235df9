from pathlib import Path
from typing import Any

import pytest

from latent_memory.compressor import Compressor
from latent_memory.words import Slot, Spelling, most_salient, standing
from tiers.llm.models import load_causal_lm

TEXT = " Ada met Bób in Rome, and in Rome she stayed."


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_causal_lm(str(tiny_model), tiny_model)[1]


def _characters() -> Any:
    """A tokenizer that knows whole words and blanks."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", *(piece for word in TEXT.split() for piece in (word, f" {word}"))]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(dict.fromkeys(words))}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\S+"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


def test_words_are_the_compressors_own_where_the_generator_has_the_same(tokenizer: Any) -> None:
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    mark = tokenizer.eos_token_id
    found = Spelling(tokenizer, tokenizer).slots([mark, *ids])
    assert found == [Slot(token, at) for at, token in enumerate(ids, 1)]  # the mark is no word


def test_another_tokenizers_words_stand_where_the_compressor_ends_them(tokenizer: Any) -> None:
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]  # a byte is a token here
    other = _characters()
    found = Spelling(tokenizer, other).slots(ids)
    assert [other.convert_ids_to_tokens(slot.word).strip() for slot in found] == TEXT.split()
    for slot in found:
        read = tokenizer.decode(ids[: slot.at + 1])
        assert TEXT.startswith(read)
        assert read.endswith(other.convert_ids_to_tokens(slot.word))


def test_what_says_least_is_left_out_first_and_the_order_stays() -> None:
    slots = [Slot(word, at) for at, word in enumerate([50, 51, 52, 53, 54])]
    assert most_salient(slots, [1.0, 5.0, 1.0, 4.0, 1.0], 3) == [slots[0], slots[1], slots[3]]
    assert most_salient(slots, [1.0] * 5, 9) == slots


def test_an_answer_stands_wherever_its_words_do(tokenizer: Any) -> None:
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    found = standing(ids, "in Rome", tokenizer)
    assert [tokenizer.decode([ids[n] for n in run]) for run in found] == ["in Rome", "in Rome"]
    assert found[0][0] < found[1][0]
    assert standing(ids, "Bób", tokenizer)
    assert standing(ids, "Paris", tokenizer) == standing(ids, "", tokenizer) == []


def test_a_latent_keeps_the_words_that_are_rare(compressor: Compressor) -> None:
    ids = compressor.tokenize(["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"])[0]
    compressor.salience[ids[-1]] = 3.0
    kept = compressor.slots([ids])[0]
    assert len(kept) == compressor.config.words < len(ids)
    assert kept[-1] == Slot(ids[-1], len(ids) - 1)
