"""A frozen causal LM that reads latents in place of text.

The chat prompt is the same for text, latents and nothing; only what stands behind `Context:` differs. The question
comes *before* the context: the keys and values of everything in front of a latent then don't depend on it, so that no
gradient has to pass through them, and a latent is read with the question already known (on SmolLM2-135M a
superposition of embeddings read this way lowers the answers' loss by 0.21 nats against another question's, against
0.16 with the question behind it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from latent_memory.reader import REMEMBERED, Latents, Read, Thought, mixed
from latent_memory.words import NO_WORD
from tiers.errors import ModelError
from tiers.llm.invariant import BatchInvariant

if TYPE_CHECKING:
    from latent_memory.reader import Look, Reader


PROMPT_ROWS, STEP_ROWS = 64, 16
"""Rows of the products that read prompts and that say one more token, where batches may not matter. On an AVX-512 core
with AMX a product of 16 rows takes 1.1 times as long as one of a single row, one of 64 rows 1.5 times."""


@dataclass(frozen=True)
class Prompt:
    """What a generator is told in front of every row.

    Attributes:
        instruction: The system message.
        examples: (context, question, answer) triples, shown as turns of the conversation.
        user: A user's turn, with places for `question` and, behind it, `context`.
    """

    instruction: str
    examples: tuple[tuple[str, str, str], ...]
    user: str = "Question: {question}\nContext: {context}"


ANSWERING = Prompt(
    "Answer with a few words from the context.",
    (
        (
            "Mary Shelley wrote the novel Frankenstein while staying near Lake Geneva.",
            "who is the author of frankenstein",
            "Mary Shelley",
        ),
        (
            "The Eiffel Tower was completed in 1889 and is 330 metres tall.",
            "When was the Eiffel Tower finished?",
            "1889",
        ),
        (
            "Insulin is produced by beta cells of the pancreas.",
            "Which organ makes insulin?",
            "the pancreas",
        ),
        (
            "In 1911 a team led by Roald Amundsen was the first to reach the South Pole.",
            "where did amundsen get first",
            "the South Pole",
        ),
    ),
)
"""The examples make a small model answer in words instead of sentences: with one of them Qwen2.5-Coder-0.5B reaches a
token F1 of 47 on gold text, with four 57 (150 questions to choose by; SmolLM2-135M 23 and 25)."""


ASKING = 0.625
"""How deep in the generator the layer is in which it looks for answers: of Qwen2.5-Coder-0.5B's 24 layers the 15th. One
head of the next one, of 336 in all, points at an answer's words for 43 % of 240 questions of XQuAD, though evidence and
question have not seen each other; none of the first 14 layers' for more than 21 %."""


@dataclass(frozen=True)
class Reading:
    """One row for the generator.

    Attributes:
        question: The question.
        context: What stands for the evidence: embeddings of text (n, G), or latents; None for no context at all.
        answer: Token ids that are scored; empty when the row is to be answered.
    """

    question: str
    context: Tensor | Latents | None
    answer: tuple[int, ...] = ()


@dataclass(frozen=True)
class Generated:
    """What a generator has said of one reading so far.

    Attributes:
        text: Its words. While it goes on, a character that isn't whole yet is held back: what follows only adds.
        tokens: Tokens that were chosen, the end of the answer among them.
        log_probability: Mean log-probability of these tokens, in nats.
        ended: Whether the generator ended it.
    """

    text: str
    tokens: int
    log_probability: float
    ended: bool


class Generator:
    """Wraps a causal LM; its weights never change.

    Args:
        model: A causal LM with `inputs_embeds`.
        tokenizer: Its tokenizer; the chat template is used where there is one.
        prompt: What stands in front of every row.
    """

    def __init__(self, model: Any, tokenizer: Any, prompt: Prompt = ANSWERING) -> None:
        self.model, self.tokenizer, self.prompt = model.eval().requires_grad_(False), tokenizer, prompt
        self.embedding: Tensor = model.get_input_embeddings().weight
        text = self._template("\x00", "\x01")
        parts = text.replace("\x01", "\x00").split("\x00")
        if len(parts) != 3 or text.index("\x00") > text.index("\x01"):
            raise ModelError("the chat template reorders the prompt", where="generator", got=text)
        self.head, self.middle, self.tail = (self.token_ids(part) for part in parts)
        self.asking = round(ASKING * model.config.num_hidden_layers)
        self._prefix = self._run_prefix()

    def to(self, device: torch.device) -> None:
        """Moves all of it to a device."""
        self.model.to(device)
        self.embedding = self.model.get_input_embeddings().weight
        self._prefix = [(keys.to(device), values.to(device)) for keys, values in self._prefix]

    @property
    def hidden(self) -> int:
        """Size of an embedding, G."""
        return int(self.embedding.shape[1])

    @property
    def embedding_norm(self) -> float:
        """Mean norm of the input embeddings: the scale that latents start with."""
        return float(self.embedding.float().norm(dim=1).mean())

    def token_ids(self, text: str) -> list[int]:
        """Token ids without special tokens being added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def answer_ids(self, answer: str, blank: bool = False) -> tuple[int, ...]:
        """Token ids of an answer and of its end; with a blank in front, as a reader speaks it, if asked for."""
        return (*self.token_ids(f" {answer}" if blank else answer), self.tokenizer.eos_token_id)

    def embed(self, text: str) -> Tensor:
        """Embeddings of raw text, (n, G)."""
        return self.embedding[torch.tensor(self.token_ids(text))]

    def _template(self, question: str, context: str) -> str:
        def user(q: str, c: str) -> dict[str, str]:
            return {"role": "user", "content": self.prompt.user.format(question=q, context=c)}

        messages = [{"role": "system", "content": self.prompt.instruction}]
        for shown, asked, answer in self.prompt.examples:
            messages += [user(asked, shown), {"role": "assistant", "content": answer}]
        messages.append(user(question, context))
        if self.tokenizer.chat_template:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        return "\n".join(message["content"] for message in messages) + "\nAnswer:"

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _run_prefix(self) -> list[tuple[Tensor, Tensor]]:
        from transformers import DynamicCache

        cache = DynamicCache()
        self.model.model(input_ids=torch.tensor([self.head]), cache=cache)
        return [(layer.keys, layer.values) for layer in cache.layers]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _run_questions(self, questions: Sequence[str]) -> tuple[Any, Tensor]:
        """Keys and values up to the context, with the questions padded on the left; and their mask, (B, P)."""
        from transformers import DynamicCache

        rows = [self.token_ids(question) + self.middle for question in questions]
        length = max(len(row) for row in rows)
        ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
        real = torch.tensor([[False] * (length - len(row)) + [True] * len(row) for row in rows])
        mask = F.pad(real, (len(self.head), 0), value=True)
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self._prefix):
            cache.update(keys.expand(len(rows), -1, -1, -1), values.expand(len(rows), -1, -1, -1), layer)
        self.model.model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=(mask.long().cumsum(1) - 1)[:, len(self.head) :],
            cache=cache,
        )
        return cache, mask

    def _continue(self, cache: Any, mask: Tensor, rows: Sequence[Tensor], left: bool) -> tuple[Thought, Tensor]:
        """Runs embeddings (n_b, G) behind the questions; returns states (B, n, G) and the longer mask."""
        length = max(len(row) for row in rows)
        pads = [length - len(row) for row in rows]
        stacked = torch.stack(
            [F.pad(r, (0, 0, p, 0) if left else (0, 0, 0, p)) for r, p in zip(rows, pads, strict=True)]
        )
        real = torch.ones(len(rows), length, dtype=torch.bool)
        for row, pad in enumerate(pads):
            real[row, slice(0, pad) if left else slice(length - pad, length)] = False
        mask = torch.cat([mask, real], 1)
        run = self.model.model(
            inputs_embeds=stacked,
            attention_mask=mask.long(),
            position_ids=(mask.long().cumsum(1) - 1).clamp(min=0)[:, -length:],
            cache=cache,
            output_hidden_states=True,
        )
        return Thought(run.last_hidden_state, run.hidden_states[self.asking]), mask

    def _behind(self, reading: Reading) -> Tensor:
        ids = self.embedding[torch.tensor([*self.tail, *reading.answer[:-1]])]
        if reading.context is None:
            return ids
        context = reading.context if isinstance(reading.context, Tensor) else reading.context.tokens
        return torch.cat([context.to(ids.dtype), ids])

    def prompt_tokens(self, reading: Reading) -> int:
        """Length of the whole prompt, template and example included."""
        behind = len(self._behind(reading)) - len(reading.answer[:-1])
        return len(self.head) + len(self.token_ids(reading.question)) + len(self.middle) + behind

    def states(self, readings: Sequence[Reading]) -> Thought:
        """Hidden states from which the answers' tokens are predicted, in order: (sum of answer lengths, G) each."""
        cache, mask = self._run_questions([r.question for r in readings])
        rows = [self._behind(r) for r in readings]
        thought, _ = self._continue(cache, mask, rows, left=False)
        at = [slice(len(row) - len(r.answer), len(row)) for r, row in zip(readings, rows, strict=True)]
        return Thought(*(torch.cat([part[b, where] for b, where in enumerate(at)]) for part in thought))

    def logits(self, states: Tensor, head: Tensor | None = None) -> Tensor:
        """The output head on states (N, G): logits (N, vocabulary) in float32; `head` has some of its rows instead."""
        weight = self.model.lm_head.weight if head is None else head
        return F.linear(states.to(weight.dtype), weight).float()

    def score(self, readings: Sequence[Reading], reader: Reader | None = None) -> Tensor:
        """Log-probabilities of the answers' tokens, one row per token, in order: (sum of answer lengths, vocabulary).

        The output head runs on the scored positions only.

        Args:
            readings: With answers.
            reader: Reads the contexts a second time where they are latents.
        """
        thought = self.states(readings)
        helped, read = self.read(reader, thought, readings) if reader is not None else (None, None)
        if helped is None or read is None:
            return self.logits(thought.last).log_softmax(-1)
        at = helped.nonzero()[:, 0]
        logits = self.logits(thought.last.float().index_add(0, at, read.change))
        return logits.log_softmax(-1).index_put((at,), mixed(read, logits[at], self.tokenizer.eos_token_id))

    def read(self, reader: Reader, thought: Thought, readings: Sequence[Reading]) -> tuple[Tensor | None, Read | None]:
        """Which of the answers' tokens a reader helps with, (sum of answer lengths,), and what it makes of these.

        It helps where a reading has latents; nothing is returned where none has.
        """
        second = [number for number, reading in enumerate(readings) if isinstance(reading.context, Latents)]
        if not second:
            return None, None
        rows = torch.tensor([number for number, reading in enumerate(readings) for _ in reading.answer])
        helped = torch.isin(rows, torch.tensor(second))
        parts = [readings[number].answer[:end] for number in second for end in range(len(readings[number].answer))]
        contexts = [c for reading in readings if isinstance(c := reading.context, Latents)]
        look = reader.look(contexts, [self.token_ids(readings[number].question) for number in second], self.embedding)
        among = torch.searchsorted(torch.tensor(second), rows[helped])
        own = Thought(thought.last[helped], thought.asking[helped])
        return helped, reader(own, look, among, said_last(parts), self.embedding)

    def answer(self, readings: Sequence[Reading], reader: Reader | None = None, max_tokens: int = 12) -> list[str]:
        """Greedy answers; `reader` as for `score`."""
        return [generated.text for generated in self.generate(readings, reader, max_tokens)]

    def generate(
        self, readings: Sequence[Reading], reader: Reader | None = None, max_tokens: int = 12, invariant: bool = False
    ) -> list[Generated]:
        """Greedy answers, with how many tokens they are and how sure of them the generator was."""
        steps: list[list[Generated]] = list(self.stream(readings, reader, max_tokens, invariant))
        return steps[-1]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def stream(
        self, readings: Sequence[Reading], reader: Reader | None = None, max_tokens: int = 12, invariant: bool = False
    ) -> Iterator[list[Generated]]:
        """As `generate`, but gives what has been said so far after every token; each text begins with the one before.

        A reading that has ended stays as it is while the others go on.

        Args:
            readings: Without answers.
            reader: As for `score`.
            max_tokens: The longest answer.
            invariant: Whether what is said of a reading may not depend on the others, to the last bit. Large batches
                take longer then.
        """
        with BatchInvariant(PROMPT_ROWS) if invariant else nullcontext():
            cache, mask = self._run_questions([r.question for r in readings])
            thought, mask = self._continue(cache, mask, [self._behind(r) for r in readings], left=True)
            looks = [self._look(reader, reading) for reading in readings]
        end = self.tokenizer.eos_token_id
        chosen: list[list[int]] = [[] for _ in readings]
        total = [0.0] * len(readings)
        for step in range(max_tokens):
            with BatchInvariant(STEP_ROWS) if invariant else nullcontext():
                best = self._best(thought, reader, looks, chosen)
            done = [end in tokens for tokens in chosen]
            found = zip(chosen, best.indices.tolist(), best.values.tolist(), strict=True)
            for row, (tokens, token, value) in enumerate(found):
                if not done[row]:
                    tokens.append(token)
                    total[row] += value
            last = step == max_tokens - 1 or all(end in tokens for tokens in chosen)
            yield [
                Generated(self._said(tokens, last or end in tokens), len(tokens), logs / len(tokens), end in tokens)
                for tokens, logs in zip(chosen, total, strict=True)
            ]
            if last:
                return
            follow = self.embedding[best.indices.masked_fill(torch.tensor(done), end)]
            with BatchInvariant(STEP_ROWS) if invariant else nullcontext():
                thought, mask = self._continue(cache, mask, list(follow[:, None]), left=True)

    def _look(self, reader: Reader | None, reading: Reading) -> Look | None:
        """What a reader sees of one reading; nothing where there is no reader, or no latents for it."""
        if reader is None or not isinstance(reading.context, Latents):
            return None
        return reader.look([reading.context], [self.token_ids(reading.question)], self.embedding)

    def _best(
        self, thought: Thought, reader: Reader | None, looks: Sequence[Look | None], chosen: Sequence[list[int]]
    ) -> Any:
        """The likeliest token behind each reading, with its log-probability; a reader reads each by itself."""
        last, asking = thought.last[:, -1], thought.asking[:, -1]
        alone = torch.zeros(1, dtype=torch.long)
        reads: dict[int, Read] = {}
        for row, look in enumerate(looks):
            if reader is not None and look is not None:
                own = Thought(last[row : row + 1], asking[row : row + 1])
                reads[row] = reader(own, look, alone, said_last([chosen[row]]), self.embedding)
        changed = last.float().clone()
        for row, read in reads.items():
            changed[row] += read.change[0]
        logits = self.logits(changed)
        logprobs = logits.log_softmax(-1)
        for row, read in reads.items():
            logprobs[row] = mixed(read, logits[row : row + 1], self.tokenizer.eos_token_id)[0]
        return logprobs.max(-1)

    def _said(self, tokens: Sequence[int], whole: bool) -> str:
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()
        return text if whole else text.rstrip("\N{REPLACEMENT CHARACTER}").rstrip()


def said_last(parts: Sequence[Sequence[int]]) -> Tensor:
    """The last `REMEMBERED` tokens of what stands in front of each position, the latest first, as a reader wants it."""
    padded = [[*reversed(part[-REMEMBERED:]), *[NO_WORD] * (REMEMBERED - len(part))] for part in parts]
    return torch.tensor(padded, dtype=torch.long).reshape(len(parts), REMEMBERED)
