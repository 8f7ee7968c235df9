"""One latent per evidence, one per query: a frozen causal LM with LoRA, a memory token and three heads.

Legend of shape suffixes: B batch, T tokens, H hidden size of the compressor, G hidden size of the generator,
R retrieval dimension, L latents of one piece of evidence, S slots of all of them, K size of a key, C = S (1 + K) size
of a code.

Source of the layout: Zheng et al., "One Token per Multimodal Evidence" (Latent Memory, arXiv 2606.10572): a learned
memory token *behind* the evidence, separate LoRA adapters for evidence and queries on one base, a retrieval head
(linear, LayerNorm, L2) that both share, a projection into the generator's space. Ours differs in four points, each
for sample efficiency: what is stored of evidence is a code that keeps its words apart (`latent_memory.words`), each
with a key, from which the generator's latent is projected; the retrieval vector is made of salience-weighted sums of
the evidence's embeddings and of its words' states beside the memory token's; only the first `depth` layers of the base
are used; and a reader (`latent_memory.reader`) reads the code a second time at the generator's output.
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

from latent_memory.quantisation import dequantise, rounded
from latent_memory.reader import WORD_BYTES, Latents, Reader, ReaderConfig, normed
from latent_memory.splitting import split
from latent_memory.words import NO_WORD, Slot, Spelling, most_salient
from tiers.errors import ModelError, StageError

if TYPE_CHECKING:
    from latent_memory.images import Images

Adapter = Literal["evidence", "query"]

START = 2.0
"""Root mean square of what a reader asks for, where it starts with a generator's heads."""


class CompressorConfig(BaseModel):
    """What a compressor is made of.

    Attributes:
        depth: Layers of the base that are used; the middle layers carry the content, the last ones the next token.
        lora_from: First layer with LoRA; below it nothing is trained and no gradient flows.
        lora_rank: Rank of both adapters.
        lora_alpha: LoRA scale is `lora_alpha / lora_rank`.
        latents: L, latents (tokens of the generator) for a piece of evidence.
        slots: Words that a latent has room for.
        key: K.
        bits: Of a number of a stored key.
        reader: Sizes of the reader.
        retrieval_dim: Length of a retrieval vector.
        max_tokens: Longest evidence or query in tokens; longer text is an error, never cut.
        split_tokens: What `split` cuts long evidence into: the length that a latent was trained to hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: int = Field(default=15, ge=1)
    lora_from: int = Field(default=12, ge=0)
    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    latents: int = Field(default=1, ge=1)
    slots: int = Field(default=40, ge=1)
    key: int = Field(default=32, ge=8, multiple_of=8)
    bits: Literal[2, 3, 4] = 2
    reader: ReaderConfig = ReaderConfig()
    retrieval_dim: int = Field(default=384, ge=8)
    max_tokens: int = Field(default=128, ge=8)
    split_tokens: int = Field(default=56, ge=8)

    @property
    def words(self) -> int:
        """S, slots of all latents of a text."""
        return self.latents * self.slots

    @property
    def code_size(self) -> int:
        """C, numbers that are kept of a piece of evidence: S words and their keys."""
        return self.words * (1 + self.key)

    @property
    def stored_bytes(self) -> int:
        """Bytes that they are packed into."""
        return self.words * (WORD_BYTES + self.key * self.bits // 8)


class Encoded(NamedTuple):
    """A batch of texts inside the compressor, in float32.

    Attributes:
        code: What is stored, (B, C): S words, as numbers, and behind them their keys.
        lexical: Embeddings summed by salience alone, with nothing learned, (B, H).
        memory: Hidden states at the memory token and, summed by salience, at the words, (B, H).
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
        slots: For each text the words that it puts into slots.
    """

    embedded: Tensor
    states: Tensor
    memory: Tensor
    weights: Tensor
    slots: list[list[Slot]]


class Compressor(nn.Module):  # type: ignore[misc]
    """Text in, one latent for the generator and one retrieval vector out.

    Args:
        base: A causal LM; its first `config.depth` layers are kept and frozen.
        tokenizer: The base's tokenizer.
        config: Sizes.
        generator_hidden: G.
        latent_norm: Norm that a latent starts with: the mean norm of the generator's input embeddings.
        speaking: The generator's tokenizer, where it is another.
    """

    salience: Tensor
    checkpointed = False
    """Whether the base's activations are computed again for the gradient instead of kept."""

    def __init__(
        self,
        base: Any,
        tokenizer: Any,
        config: CompressorConfig,
        generator_hidden: int,
        latent_norm: float,
        speaking: Any = None,
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
        self.spelling = Spelling(tokenizer, speaking or tokenizer)
        self.memory_token = nn.Parameter(embeddings.float().mean(0).detach().clone())
        self.key = nn.Linear(hidden, config.key)
        self.key_norm = nn.LayerNorm(config.key).requires_grad_(False)
        self.generator_head = nn.Linear(config.slots * config.key, generator_hidden)
        self.log_norm = nn.Parameter(torch.tensor(float(latent_norm)).log())
        self.retrieval_head = nn.Linear(hidden, config.retrieval_dim)
        self.retrieval_residual = nn.Linear(hidden, config.retrieval_dim, bias=False)
        self.retrieval_norm = nn.LayerNorm(config.retrieval_dim)
        self.reader = Reader(generator_hidden, config.key, config.reader)
        nn.init.normal_(self.generator_head.bias, std=generator_hidden**-0.5)
        self.start_retrieval()
        self._use("evidence")

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def start_heads(self, attention: Any, norm: Tensor, heads: Sequence[int]) -> None:
        """Starts keys and the reader's queries as those of some heads of the base's layer behind the last one used.

        The best approximation of rank K of what these heads compare; it takes a generator that is the base itself.

        Args:
            attention: Of that layer.
            norm: The weights in front of it, (H,).
            heads: Which of its heads.
        """
        size = attention.head_dim
        group = attention.q_proj.out_features // attention.k_proj.out_features
        compared = torch.zeros(len(norm), len(norm))
        for head in heads:
            queries = attention.q_proj.weight[head * size : (head + 1) * size].float() * norm.float()
            keys = attention.k_proj.weight[head // group * size : (head // group + 1) * size].float() * norm.float()
            compared += queries.T @ keys
        left, values, right = torch.linalg.svd(compared)
        scale = values[: self.config.key].sqrt()
        query, key = (left[:, : len(scale)] * scale).T, right[: len(scale)] * scale[:, None]
        self.key.weight.copy_(key / self.base.norm.weight.float())  # which stands in front of keys already
        self.key.bias.zero_()
        self.reader.query.weight[: len(scale)].copy_(query * (START * len(scale) ** 0.5 / query.norm()))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def spread_keys(self, texts: Sequence[str]) -> None:
        """Makes each number of a key centred and of variance one over the words of some texts, as rounding wants it.

        Half of what keys are is common to all words, and says nothing of which to point at; with it the rounding's
        error is 1.8 times as large. What the reader asks for is rescaled, so that what it points at stays as it is.
        """
        codes = torch.cat([self([row], "evidence").code for row in self.tokenize(texts)])
        words, keys = codes[:, : self.config.words], codes[:, self.config.words :].unflatten(1, (-1, self.config.key))
        held = keys[words != NO_WORD]
        mean, spread = held.mean(0), held.std(0).clamp(min=1e-3)
        self.key_norm.weight.div_(spread)
        self.key_norm.bias.sub_(mean).div_(spread)
        for parameter in (self.reader.query.weight, self.reader.query.bias):
            parameter.mul_(spread.repeat(2)[(...,) + (None,) * (parameter.dim() - 1)])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def start_for(self, embedding: Tensor, tokenizer: Any) -> None:
        """Starts latents as what disturbs a generator least: a line break.

        A latent that is the sum of its evidence's words instead costs a generator that was not trained on it 0.19 nats
        of the loss of 160 answers, a line break 0.01.

        Args:
            embedding: The generator's input embeddings, (V, G).
            tokenizer: The generator's.
        """
        neutral = embedding[tokenizer("\n", add_special_tokens=False)["input_ids"][0]].float()
        nn.init.zeros_(self.generator_head.weight)
        self.generator_head.bias.copy_(neutral)
        self.log_norm.copy_(neutral.norm().log())

    def start_retrieval(self) -> None:
        """Sets the retrieval heads to their start.

        The head is a whitening (zero-phase, then a random rotation down to R): it makes rare and
        common directions of the embedding table count alike, without which all sums look the same. Untrained, on
        1,375 evidence sentences of XQuAD and QED, recall@1 is 0.62 with it and 0.51 without.
        """
        with torch.no_grad():
            table = self.base.get_input_embeddings().weight.float()
            weight = rotation(self.config.retrieval_dim, table.shape[1]).to(table.device) @ whitening(table)
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
        """Cuts long text into pieces of at most `split_tokens`, as `latent_memory.splitting` does."""
        return split(text, self.config.split_tokens, self._length)

    def _length(self, text: str) -> int:
        return len(self.tokenizer(f" {text.strip()}", add_special_tokens=False)["input_ids"])

    def forward(self, ids: Sequence[Sequence[int]], adapter: Adapter, images: Images | None = None) -> Encoded:
        """What both outputs are made of, for each text; `images` stand where it has an image's places."""
        return self.encoded(self.states(ids, adapter, images))

    def states(
        self,
        ids: Sequence[Sequence[int]],
        adapter: Adapter,
        images: Images | None = None,
        slots: list[list[Slot]] | None = None,
    ) -> States:
        """Runs the base; `slots` are those of the texts, where they are known.

        Rows are padded on the left and positions count real tokens only, so that a latent doesn't depend on its batch.
        In front of each stands a token that takes the attention which goes nowhere (Xiao et al., arXiv:2309.17453):
        without it the first word would.
        """
        length = max(len(row) for row in ids)
        pad, first = self.base.config.pad_token_id or 0, self.tokenizer.eos_token_id or 0
        ids_BT = torch.tensor([[pad] * (length - len(row)) + [first, *row] for row in ids])
        mask_BT = torch.tensor([[False] * (length - len(row)) + [True] * (len(row) + 1) for row in ids])
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
        named = ids if images is None else images.named(ids, self.base.get_input_embeddings().weight)
        return self.laid_out(ids, embedded_BTH[:, 1:], states_BTH[:, 1:], slots or self.slots(named))

    def laid_out(
        self,
        ids: Sequence[Sequence[int]],
        embedded_BTH: Tensor,
        states_BMH: Tensor,
        slots: list[list[Slot]],
    ) -> States:
        """The base's states with the words to keep of them; the last of the M = T + 1 states is the memory token's."""
        length = embedded_BTH.shape[1]
        ids_BT = torch.tensor([[0] * (length - len(row)) + [*row] for row in ids])
        mask_BT = torch.tensor([[False] * (length - len(row)) + [True] * len(row) for row in ids])
        weights_BT = (self.salience[ids_BT] / 2).exp() * mask_BT
        return States(embedded_BTH.float(), states_BMH[:, :-1], states_BMH[:, -1], weights_BT, slots)

    def slots(self, ids: Sequence[Sequence[int]]) -> list[list[Slot]]:
        """The words that each text puts into its slots, in order."""
        lengths = [len(row) for row in ids]
        saliences = self.salience[torch.tensor([token for row in ids for token in row])].cpu().split(lengths)
        return [
            most_salient(self.spelling.slots(row), salience.tolist(), self.config.words)
            for row, salience in zip(ids, saliences, strict=True)
        ]

    def encoded(self, states: States) -> Encoded:
        """What both outputs are made of, from the base's states."""
        pads = (states.weights == 0).sum(1).tolist()
        gaps = [self.config.words - len(slots) for slots in states.slots]
        rows = list(zip(states.slots, pads, gaps, strict=True))
        words_BS = torch.tensor([[slot.word for slot in slots] + [NO_WORD] * gap for slots, _, gap in rows])
        at_BS = torch.tensor([[pad + slot.at for slot in slots] + [0] * gap for slots, pad, gap in rows])
        states_BSH = states.states.gather(1, at_BS[..., None].expand(-1, -1, states.states.shape[2]))
        keys_BSK = self.key_norm(self.key(normed(states_BSH))) * (words_BS != NO_WORD)[..., None]
        lexical_BH = torch.einsum("bt,bth->bh", _shares(states.weights.square()), states.embedded)
        pooled_BH = torch.einsum("bt,bth->bh", _shares(states.weights), normed(states.states))
        memory_BH = normed(states.memory) + pooled_BH
        return Encoded(torch.cat([words_BS.float(), keys_BSK.flatten(1)], 1), lexical_BH, memory_BH)

    def latents(self, codes: Tensor, as_stored: bool = False) -> list[Latents]:
        """What the generator and its reader read of codes (B, C), one for each; `together` joins several.

        The generator's tokens all have one norm. `as_stored` rounds codes as storing them does.
        """
        codes = rounded(codes, self.config) if as_stored else codes
        words_BS, keys_BX = codes[:, : self.config.words].round().long(), codes[:, self.config.words :].float()
        projected_BLG = self.generator_head(keys_BX.unflatten(1, (self.config.latents, -1)))
        tokens_BLG = F.normalize(projected_BLG, dim=-1) * self.log_norm.exp()
        keys_BSK, pieces_BS = keys_BX.unflatten(1, (-1, self.config.key)), torch.zeros_like(words_BS)
        return [Latents(*one) for one in zip(tokens_BLG, words_BS, keys_BSK, pieces_BS, strict=True)]

    def vectors(self, encoded: Encoded) -> Tensor:
        """What the index searches: (B, R), unit norm."""
        vectors_BR = self.retrieval_head(encoded.lexical) + self.retrieval_residual(encoded.memory)
        return F.normalize(self.retrieval_norm(vectors_BR), dim=-1)


def joined(*parts: Encoded) -> Encoded:
    """Batches as one, one behind the other."""
    return Encoded(*(torch.cat(rows) for rows in zip(*parts, strict=True)))


def in_order(groups: Sequence[Sequence[int]], parts: Sequence[Encoded]) -> Encoded:
    """Texts that were encoded in groups, in the order that their numbers in the groups say."""
    back = torch.tensor([number for group in groups for number in group]).argsort()
    return Encoded(*(part[back] for part in joined(*parts)))


def _shares(weights_BT: Tensor) -> Tensor:
    """Weights that sum to one in each row."""
    return weights_BT / weights_BT.sum(1, keepdim=True).clamp(min=1e-12)


def rotation(rows: int, columns: int) -> Tensor:
    """A fixed random matrix, (rows, columns), with orthogonal rows."""
    noise = torch.randn(rows, columns, generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    left, _, right = torch.linalg.svd(noise, full_matrices=False)
    return left @ right


def whitening(table: Tensor) -> Tensor:
    """The zero-phase whitening of an embedding table (V, H): (H, H)."""
    variances, axes = torch.linalg.eigh(torch.cov(table.T))
    return axes / variances.clamp(min=1e-8).sqrt() @ axes.T


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
            codes[part] = encoded.code.cpu().numpy()
            vectors[part] = compressor.vectors(encoded).cpu().numpy()
    return codes, vectors


def together(latents: Sequence[Latents]) -> Latents:
    """The latents of several pieces of evidence, one after the other, in the order in which a search found them."""
    return Latents(
        torch.cat([one.tokens for one in latents]),
        torch.cat([one.words for one in latents]),
        torch.cat([one.keys for one in latents]),
        torch.cat([torch.full_like(one.words, number) for number, one in enumerate(latents)]),
    )


def unpacked(compressor: Compressor, packed: NDArray[np.int8]) -> Latents:
    """The latents of stored pieces of evidence (N, bytes), one after the other."""
    with torch.inference_mode():
        return together(compressor.latents(torch.from_numpy(dequantise(packed, compressor.config))))


@contextmanager
def _single_thread() -> Iterator[None]:
    """Runs torch on one thread, so that sums are taken in one order whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
