"""One latent per evidence, one per query: a frozen causal LM with LoRA, a memory token and three heads.

Legend of shape suffixes: B batch, T tokens, H hidden size of the compressor, G hidden size of the generator,
R retrieval dimension, L latents of one piece of evidence, S slots of a latent, W size of a slot, C = L S W size of a
code.

Source of the layout: Zheng et al., "One Token per Multimodal Evidence" (Latent Memory, arXiv 2606.10572): a learned
memory token *behind* the evidence, separate LoRA adapters for evidence and queries on one base, a retrieval head
(linear, LayerNorm, L2) that both share, a projection into the generator's space. Ours differs in four points, each
for sample efficiency: what is stored of evidence is a code that keeps its words apart (`latent_memory.slots`), from
which the generator's latent is projected; the retrieval vector starts as a salience-weighted, whitened sum of the
evidence's embeddings, to which the memory token's state is added; only the first `depth` layers of the base are used;
and a reader (`latent_memory.reader`) reads the code a second time at the generator's output.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from latent_memory.data import sentences
from latent_memory.reader import Asked, Latents, Reader, ReaderConfig
from latent_memory.slots import Slots, Words, inverse, normed, rotation, turned, whitening
from tiers.errors import ModelError, StageError

if TYPE_CHECKING:
    from latent_memory.images import Images

Adapter = Literal["evidence", "query"]
WORDS_IN_A_TOKEN = 0.15
"""How much of a generator's token is its evidence's words before training; the rest is a line break. A token that is
all words disturbs a generator that was not trained on it: it costs 0.19 nats of the loss of 160 answers, so only 0.01.
"""


class CompressorConfig(BaseModel):
    """What a compressor is made of.

    Attributes:
        depth: Layers of the base that are used; the middle layers carry the content, the last ones the next token.
        lora_from: First layer with LoRA; below it nothing is trained and no gradient flows.
        lora_rank: Rank of both adapters.
        lora_alpha: LoRA scale is `lora_alpha / lora_rank`.
        latents: L, latents (tokens of the generator) for a piece of evidence.
        slots: S.
        slot_size: W.
        bits: Of a stored number.
        reader: Sizes of the reader.
        retrieval_dim: Length of a retrieval vector.
        max_tokens: Longest evidence or query in tokens; longer text is an error, never cut.
        split_tokens: What `split` cuts long evidence into: the length that a latent was trained to hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: int = Field(default=8, ge=1)
    lora_from: int = Field(default=4, ge=0)
    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    latents: int = Field(default=1, ge=1)
    slots: int = Field(default=16, ge=1)
    slot_size: int = Field(default=56, ge=8)
    bits: Literal[2, 4] = 4
    reader: ReaderConfig = ReaderConfig()
    retrieval_dim: int = Field(default=384, ge=8)
    max_tokens: int = Field(default=128, ge=8)
    split_tokens: int = Field(default=56, ge=8)

    @property
    def code_size(self) -> int:
        """C, numbers that are stored of a piece of evidence for the generator and its reader."""
        return self.latents * self.slots * self.slot_size


class Encoded(NamedTuple):
    """A batch of texts inside the compressor, in float32.

    Attributes:
        code: What is stored, (B, C).
        lexical: Embeddings summed by salience alone, with nothing learned, (B, H).
        memory: Hidden state at the memory token, (B, H).
    """

    code: Tensor
    lexical: Tensor
    memory: Tensor


class States(NamedTuple):
    """A batch of texts inside the base, padded on the left.

    Attributes:
        embedded: Input embeddings, (B, T, H).
        states: Hidden states of the last layer that is used, (B, T, H).
        memory: That of the memory token, (B, H).
        weights: Salience of each token, (B, T); 0 at padding.
        places: Place of each token in its word, (B, T).
        words: Number of its word, (B, T).
    """

    embedded: Tensor
    states: Tensor
    memory: Tensor
    weights: Tensor
    places: Tensor
    words: Tensor


class Compressor(nn.Module):  # type: ignore[misc]
    """Text in, one latent for the generator and one retrieval vector out.

    Args:
        base: A causal LM; its first `config.depth` layers are kept and frozen.
        tokenizer: The base's tokenizer.
        config: Sizes.
        generator_hidden: G.
        latent_norm: Norm that a latent starts with: the mean norm of the generator's input embeddings.
    """

    salience: Tensor
    checkpointed = False
    """Whether the base's activations are computed again for the gradient instead of kept."""

    def __init__(
        self, base: Any, tokenizer: Any, config: CompressorConfig, generator_hidden: int, latent_norm: float
    ) -> None:
        super().__init__()
        from peft import LoraConfig, inject_adapter_in_model

        layers = base.model.layers
        if config.lora_from >= config.depth or config.depth > len(layers):
            raise ModelError("layers out of range", where="compressor", got=config.depth, expected=f"≤ {len(layers)}")
        self.config, self.tokenizer = config, tokenizer
        self.base = base.model
        self.base.layers = layers[: config.depth]
        self.base.requires_grad_(False)
        lora = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            layers_to_transform=list(range(config.lora_from, config.depth)),
            layers_pattern="layers",
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # two adapters are meant
            for adapter in ("evidence", "query"):
                inject_adapter_in_model(lora, self.base, adapter)
        for name, parameter in self.base.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.float()
        hidden = self.base.config.hidden_size
        embeddings = self.base.get_input_embeddings().weight
        self.register_buffer("salience", torch.zeros(len(embeddings)))
        self.words = Words(tokenizer)
        self.memory_token = nn.Parameter(embeddings.float().mean(0).detach().clone())
        self.slots = Slots(hidden, config.latents * config.slots, config.slot_size)
        self.generator_head = nn.Linear(config.slots * config.slot_size, generator_hidden)
        self.log_norm = nn.Parameter(torch.tensor(float(latent_norm)).log())
        self.retrieval_head = nn.Linear(hidden, config.retrieval_dim)
        self.retrieval_residual = nn.Linear(hidden, config.retrieval_dim, bias=False)
        self.retrieval_norm = nn.LayerNorm(config.retrieval_dim)
        self.reader = Reader(generator_hidden, config.slot_size, hidden, config.reader)
        self._start_heads()
        self._use("evidence")

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _start_heads(self) -> None:
        """Both outputs start as sums of embeddings."""
        table = self.base.get_input_embeddings().weight
        self.slots.start(table)
        nn.init.orthogonal_(self.generator_head.weight)
        nn.init.zeros_(self.generator_head.bias)
        self.start_retrieval()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def start_for(self, embedding: Tensor, head: Tensor, tokenizer: Any) -> None:
        """Starts what speaks to a generator: latents as sums of its embeddings, and a reader that can spell.

        Args:
            embedding: The generator's input embeddings, (V, G).
            head: The weights of its output head, (V, G).
            tokenizer: The generator's.
        """
        features = self._features_of(tokenizer, len(embedding))
        self.reader.start(features, embedding, head, _opening(tokenizer, len(embedding)))
        table, centred = embedding.float() - embedding.float().mean(0), features - features.mean(0)
        back = table.T @ centred @ inverse(centred.T @ centred)  # the least squares from features to embeddings, (G, W)
        weight = back.repeat(1, self.config.slots)
        neutral = embedding[tokenizer("\n", add_special_tokens=False)["input_ids"][0]].float()
        self.generator_head.weight.copy_(weight * (WORDS_IN_A_TOKEN * neutral.norm() / weight.norm()))
        self.generator_head.bias.copy_(neutral)
        self.log_norm.copy_(neutral.norm().log())

    def _features_of(self, tokenizer: Any, size: int) -> Tensor:
        """What each of a generator's tokens is in a slot, (V, W): the sum of the compressor's tokens that spell it."""
        table = self.base.get_input_embeddings().weight
        if tokenizer.get_vocab() == self.tokenizer.get_vocab():
            return self.slots.spelled(table[:size])
        features = torch.zeros(size, self.config.slot_size)
        for token in range(size):
            ids = self.tokenizer(str(tokenizer.decode([token])), add_special_tokens=False)["input_ids"]
            if ids:
                places = torch.tensor(self.words.layout(ids)[0])
                features[token] = turned(self.slots.spelled(table[torch.tensor(ids)]), places).sum(0)
        return features

    def start_retrieval(self) -> None:
        """Sets the retrieval heads to their start.

        The head is a whitening (zero-phase, then a random rotation down to R): it makes rare and
        common directions of the embedding table count alike, without which all sums look the same. Untrained, on
        1,375 evidence sentences of XQuAD and QED, recall@1 is 0.62 with it and 0.51 without.
        """
        with torch.no_grad():
            table = self.base.get_input_embeddings().weight.float()
            weight = rotation(self.config.retrieval_dim, table.shape[1]) @ whitening(table)
            self.retrieval_head.weight.copy_(weight)
            self.retrieval_head.bias.copy_(-(weight @ table.mean(0)))
            self.retrieval_residual.weight.zero_()
            self.retrieval_norm.reset_parameters()

    def _use(self, adapter: Adapter) -> None:
        """Switches the adapter and keeps all of them trainable (switching alone would freeze the others)."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        for module in self.base.modules():
            if isinstance(module, BaseTunerLayer):
                module.set_adapter([adapter])
        for name, parameter in self.base.named_parameters():
            if "lora_" in name:
                parameter.requires_grad_(True)

    def trained_state(self) -> dict[str, Tensor]:
        """Adapters, memory token, heads and salience: everything that is not the frozen base."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("base.") or "lora_" in k}

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text.

        Raises:
            StageError: when a text is empty or longer than `max_tokens`: evidence is split upstream, never cut here.
        """
        ids: list[list[int]] = self.tokenizer([f" {t.strip()}" for t in texts], add_special_tokens=False)["input_ids"]
        for text, row in zip(texts, ids, strict=True):
            if not text.strip() or len(row) > self.config.max_tokens:
                raise StageError(
                    "a text doesn't fit into one latent",
                    where=repr(text[:40]),
                    got=len(row),
                    expected=f"1 to {self.config.max_tokens} tokens",
                    hint="Split it with `Compressor.split`",
                )
        return ids

    def split(self, text: str) -> list[str]:
        """Cuts long text into pieces of at most `split_tokens`: at sentence ends, else between words, else inside one.

        Nothing is lost: the pieces hold every character but the blanks between them.
        """
        pieces: list[str] = []
        for _, sentence in sentences(text):
            joined = f"{pieces[-1]} {sentence}" if pieces else sentence
            if pieces and self._length(joined) <= self.config.split_tokens:
                pieces[-1] = joined
            else:
                pieces += self._split_words(sentence)
        return pieces

    def _split_words(self, sentence: str) -> list[str]:
        pieces: list[str] = []
        longest = self.config.split_tokens // 4  # characters; even one of four bytes is at most four tokens
        for word in (piece for whole in sentence.split() for piece in self._split_characters(whole, longest)):
            joined = f"{pieces[-1]} {word}" if pieces else word
            if pieces and self._length(joined) <= self.config.split_tokens:
                pieces[-1] = joined
            else:
                pieces.append(word)
        return pieces

    def _split_characters(self, word: str, longest: int) -> list[str]:
        if self._length(word) <= self.config.split_tokens:
            return [word]
        return [word[at : at + longest] for at in range(0, len(word), longest)]

    def _length(self, text: str) -> int:
        return len(self.tokenizer(f" {text.strip()}", add_special_tokens=False)["input_ids"])

    def forward(self, ids: Sequence[Sequence[int]], adapter: Adapter, images: Images | None = None) -> Encoded:
        """What both outputs are made of, for each text; `images` stand where it has an image's places."""
        return self.encoded(self.states(ids, adapter, images))

    def states(self, ids: Sequence[Sequence[int]], adapter: Adapter, images: Images | None = None) -> States:
        """Runs the base.

        Rows are padded on the left and positions count real tokens only, so that a latent doesn't depend on its batch.
        """
        length = max(len(row) for row in ids)
        pad = self.base.config.pad_token_id or 0
        ids_BT = torch.tensor([[pad] * (length - len(row)) + list(row) for row in ids])
        mask_BT = torch.tensor([[False] * (length - len(row)) + [True] * len(row) for row in ids])
        embedded_BTH = self.base.get_input_embeddings()(ids_BT)
        run = self.base
        if images is not None:
            embedded_BTH, run = images.place(ids_BT, mask_BT, embedded_BTH), partial(images.run, ids_BT)
        memory_BTH = self.memory_token.to(embedded_BTH.dtype).expand(len(ids), 1, -1)
        whole_BT = F.pad(mask_BT, (0, 1), value=True)
        position_ids = (whole_BT.long().cumsum(1) - 1).clamp(min=0)

        def ran(inputs_embeds: Tensor) -> Tensor:
            self._use(adapter)  # computed again for the gradient, another one may be in use
            mask = whole_BT.long()
            out = run(inputs_embeds=inputs_embeds, attention_mask=mask, position_ids=position_ids, use_cache=False)
            return out.last_hidden_state

        inputs = torch.cat([embedded_BTH, memory_BTH], 1)
        again = self.checkpointed and torch.is_grad_enabled()
        states_BTH = (checkpoint(ran, inputs, use_reentrant=False) if again else ran(inputs)).float()
        return self.laid_out(ids, embedded_BTH, states_BTH)

    def laid_out(self, ids: Sequence[Sequence[int]], embedded_BTH: Tensor, states_BMH: Tensor) -> States:
        """The base's states with where each token stands; the last of the M = T + 1 states is the memory token's."""
        length = embedded_BTH.shape[1]
        pads = [length - len(row) for row in ids]
        layouts = [self.words.layout(row) for row in ids]
        rows = list(zip(pads, layouts, strict=True))
        weights_BT = torch.stack(
            [F.pad((self.salience[torch.tensor(row)] / 2).exp(), (n, 0)) for n, row in zip(pads, ids, strict=True)]
        )
        return States(
            embedded_BTH.float(),
            states_BMH[:, :-1],
            states_BMH[:, -1],
            weights_BT,
            torch.tensor([[0] * pad + places for pad, (places, _) in rows]),
            torch.tensor([[0] * pad + words for pad, (_, words) in rows]),
        )

    def slot_of_words(self, ids: Sequence[int]) -> list[int]:
        """The slot that each word of a text goes to, among all slots of its latents."""
        row = torch.tensor(ids)
        words = self.words.layout(ids)[1]
        slots = self.slots.slot_of((self.salience[row] / 2).exp()[None], torch.tensor(words)[None])[0].tolist()
        return list(dict(zip(words, slots, strict=True)).values())

    def encoded(self, states: States) -> Encoded:
        """What both outputs are made of, from the base's states."""
        slots_BSW = self.slots(states.embedded, states.states, states.weights, states.places, states.words)
        shares_BT = states.weights.square()
        shares_BT = shares_BT / shares_BT.sum(1, keepdim=True).clamp(min=1e-12)
        lexical_BH = torch.einsum("bt,bth->bh", shares_BT, states.embedded)
        return Encoded(slots_BSW.flatten(1), lexical_BH, states.memory)

    def asked(self, states: States) -> list[Asked]:
        """Questions as the reader knows them, from the base's states with the query's adapter."""
        features_BTW = self.slots.features(states.embedded, states.states)
        weights_BT = states.weights / states.weights.sum(1, keepdim=True)
        normed_BTH = normed(states.states)
        rows = zip(features_BTW, normed_BTH, weights_BT, states.weights > 0, strict=True)
        return [Asked(words[real], meant[real], weights[real]) for words, meant, weights, real in rows]

    def latents(self, codes: Tensor) -> list[Latents]:
        """What the generator and its reader read of codes (B, C), one for each; `together` joins several.

        The generator's tokens all have one norm.
        """
        slots_BLX = codes.float().unflatten(1, (self.config.latents, -1))
        tokens_BLG = F.normalize(self.generator_head(slots_BLX), dim=-1) * self.log_norm.exp()
        slots_BSW = codes.float().unflatten(1, (-1, self.config.slot_size))
        return [Latents(tokens, slots, slots_BSW.shape[1]) for tokens, slots in zip(tokens_BLG, slots_BSW, strict=True)]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def lexical_vectors(self, texts: Sequence[str]) -> Tensor:
        """Retrieval vectors by words alone, (N, R): what `vectors` gives before anything is trained."""
        embedding = self.base.get_input_embeddings().weight
        sums = []
        for row in self.tokenizer([f" {text.strip()}" for text in texts], add_special_tokens=False)["input_ids"]:
            ids = torch.tensor(row)
            sums.append((self.salience[ids].softmax(0)[:, None] * embedding[ids].float()).sum(0))
        return F.normalize(self.retrieval_norm(self.retrieval_head(torch.stack(sums))), dim=-1)

    def vectors(self, encoded: Encoded) -> Tensor:
        """What the index searches: (B, R), unit norm."""
        memory_BH = F.layer_norm(encoded.memory, encoded.memory.shape[1:])
        vectors_BR = self.retrieval_head(encoded.lexical) + self.retrieval_residual(memory_BH)
        return F.normalize(self.retrieval_norm(vectors_BR), dim=-1)


def _opening(tokenizer: Any, size: int) -> Tensor:
    """For each token the first one of the same text without a blank in front, (V,)."""
    texts = [str(text) for text in tokenizer.batch_decode([[token] for token in range(size)])]
    blank = [token for token, text in enumerate(texts) if text.startswith(" ") and text.strip()]
    found = torch.arange(size)
    for token, ids in zip(
        blank,
        tokenizer([texts[i].strip() for i in blank], add_special_tokens=False)["input_ids"] if blank else [],
        strict=True,
    ):
        found[token] = ids[0]
    return found


def encode(
    compressor: Compressor, texts: Sequence[str], adapter: Adapter, batch: int = 16
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Codes (N, C) and retrieval vectors (N, R) of texts, in their order.

    Batches are of similar length, in an order that follows from the texts alone, on one thread.
    """
    ids = compressor.tokenize(texts)
    order = sorted(range(len(ids)), key=lambda i: (len(ids[i]), texts[i]))
    codes = np.zeros((len(ids), compressor.config.code_size), np.float32)
    vectors = np.zeros((len(ids), compressor.config.retrieval_dim), np.float32)
    with torch.inference_mode(), _single_thread():
        for begin in range(0, len(order), batch):
            part = order[begin : begin + batch]
            encoded = compressor([ids[i] for i in part], adapter)
            codes[part] = encoded.code.numpy()
            vectors[part] = compressor.vectors(encoded).numpy()
    return codes, vectors


def encode_questions(
    compressor: Compressor, texts: Sequence[str], batch: int = 16
) -> tuple[list[Asked], NDArray[np.float32]]:
    """Questions as the reader knows them, and their retrieval vectors (N, R), in their order; as for `encode`."""
    ids = compressor.tokenize(texts)
    order = sorted(range(len(ids)), key=lambda i: (len(ids[i]), texts[i]))
    asked: dict[int, Asked] = {}
    vectors = np.zeros((len(ids), compressor.config.retrieval_dim), np.float32)
    with torch.no_grad(), _single_thread():
        for begin in range(0, len(order), batch):
            part = order[begin : begin + batch]
            states = compressor.states([ids[i] for i in part], "query")
            asked.update(zip(part, compressor.asked(states), strict=True))
            vectors[part] = compressor.vectors(compressor.encoded(states)).numpy()
    return [asked[i] for i in range(len(ids))], vectors


def together(latents: Sequence[Latents]) -> Latents:
    """The latents of several pieces of evidence, one after the other."""
    return Latents(
        torch.cat([one.tokens for one in latents]), torch.cat([one.slots for one in latents]), latents[0].piece
    )


@contextmanager
def _single_thread() -> Iterator[None]:
    """Runs torch on one thread, so that sums are taken in one order whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
