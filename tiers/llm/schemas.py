"""Replies that keep to a JSON schema: what would break it is never said.

llguidance (https://github.com/guidance-ai/llguidance) works out which tokens may follow; here its masks are put on a
model's logits. A reply may still be cut off by its limit of tokens, in the middle of a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tiers.errors import LLMError

_SPACES: Any = {"whitespace_pattern": " ?"}
"""Between the parts of JSON, as models write it; were any white space allowed, a small one may write nothing else."""


class Schemas:
    """Holds replies of one model to schemas.

    Args:
        tokenizer: The model's.
        size: How many logits the model gives.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        from llguidance.hf import from_tokenizer

        self._tokens = from_tokenizer(tokenizer, n_vocab=size)

    def matcher(self, schema: dict[str, Any], prefill: str) -> Any:
        """What follows a reply to `schema` that begins with `prefill`.

        Raises:
            LLMError: The schema can't be enforced, or no reply to it begins so.
        """
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokens, LLMatcher.grammar_from_json_schema(schema, overrides=_SPACES))
        if matcher.is_error():
            raise LLMError("a schema can't be enforced", where=str(schema)[:80], got=matcher.get_error())
        if prefill and not matcher.consume_tokens(self._tokens.tokenize_str(prefill)):
            raise LLMError("no reply to the schema begins so", where=str(schema)[:80], got=prefill)
        return matcher

    def processor(self, matchers: Sequence[Any | None], prompt: int) -> Any:
        """What changes the logits of a batch with prompts padded to `prompt` tokens; a row without a matcher is free.

        A reply that is whole is ended.
        """
        import torch

        def hold(ids_BT: Any, logits_BV: Any) -> Any:
            for row, matcher in enumerate(matchers):
                if matcher is None:
                    continue
                if ids_BT.shape[1] > prompt and not matcher.is_stopped():
                    matcher.consume_token(int(ids_BT[row, -1]))
                if matcher.is_stopped():
                    allowed_V = torch.arange(logits_BV.shape[1]) == self._tokens.eos_token
                else:
                    allowed_V = _allowed(matcher, logits_BV.shape[1])
                logits_BV[row, ~allowed_V] = float("-inf")
            return logits_BV

        return hold


def _allowed(matcher: Any, size: int) -> Any:
    """Which tokens may follow, (size,)."""
    import torch

    packed = np.frombuffer(matcher.compute_bitmask(), np.uint8)
    return torch.from_numpy(np.unpackbits(packed, bitorder="little")[:size].astype(bool))
