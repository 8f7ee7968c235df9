"""How many tokens a text may be, where nobody can count them."""

from __future__ import annotations

from tiers.llm.protocol import Request

BYTES_PER_TOKEN = 4
"""Of UTF-8: a rule of thumb for English; Chinese comes to 1.3 characters."""

TURN_TOKENS = 4
"""What a chat template adds to a turn."""


def guess(text: str) -> int:
    """Tokens of a text."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def guessed_tokens(request: Request) -> int:
    """Tokens of a prompt, with the reply that it gives."""
    text = "".join([*(turn.content for turn in request.messages), request.prefill, request.reply])
    return guess(text) + TURN_TOKENS * (len(request.messages) + 1)
