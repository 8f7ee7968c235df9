"""What all tests share: a scrubbed environment, and the smallest real language model, loaded once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from latent_memory.pretrained import PACKAGED, read_manifest
from tiers.errors import ModelError
from tiers.llm.models import default_models, pull
from tiers.llm.transformers_llm import TransformersLLM

# before anything that reads them is imported; worker processes inherit them
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)
for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
    os.environ.pop(name, None)

# what a busy machine is slow at has not failed
settings.register_profile("without time limits", deadline=None)
settings.load_profile("without time limits")

SMALLEST = "smollm2-135m"


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder of model weights, with the smallest model in it; skips where that can't be had."""
    folder = default_models()
    try:
        pull(SMALLEST, folder)
    except ModelError as error:
        pytest.skip(f"{SMALLEST} can't be had: {error}")
    return folder


@pytest.fixture(scope="session")
def memory_models(models_dir: Path) -> Path:
    """That folder with the models that the packaged memory was trained with; skips where they can't be had."""
    manifest = read_manifest(PACKAGED)
    try:
        for name in {manifest.base.name, manifest.generator.name}:
            pull(name, models_dir)
    except ModelError as error:
        pytest.skip(f"a model of the packaged memory can't be had: {error}")
    return models_dir


@pytest.fixture(scope="session")
def smollm(models_dir: Path) -> TransformersLLM:
    """SmolLM2-135M-Instruct in this process; treat it as read-only."""
    return TransformersLLM(SMALLEST, models_dir)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model of 60,000 random weights and a byte tokenizer; it talks nonsense, repeatably."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: at for at, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", additional_special_tokens=["<|im_start|>"]
    )
    fast.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with a random BERT of a few weights under the name of the sentence encoder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {token: at for at, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])}
    for letter in "abcdefghijklmnopqrstuvwxyz0123456789.,?:'":
        vocabulary.setdefault(letter, len(vocabulary))
        vocabulary.setdefault(f"##{letter}", len(vocabulary))
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $0 [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(config)
    folder = tmp_path_factory.mktemp("encoders") / "all-minilm-l6-v2"
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder.parent
