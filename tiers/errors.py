"""Every error that Tierline raises on purpose.

    TierlineError
    ├── RecipeError      a recipe says something that it may not
    ├── SourceError      an input cannot be found or read
    ├── SchemaError      a table lacks columns, or was written by another schema version
    ├── StageError       a stage gave an outcome that breaks its contract, or failed too many rows
    ├── ArtifactError    what lies on disk is not what its records say
    ├── EngineError      a shard task could not be run to its end
    ├── ModelError       a model cannot be had, or is not the one that was recorded
    ├── BudgetError      what may be spent on language models is spent
    └── LLMError         a request to a language model failed (`retryable` says whether to repeat it)

Each message says what is wrong, where, both values, and what to do. All of them survive pickling, since they
cross process borders.
"""

from __future__ import annotations

from typing import Any


class TierlineError(Exception):
    """Root of Tierline's errors.

    Args:
        what: What is wrong, one clause.
        where: The file, step, shard, row or key that it happened in.
        got: The value that was found.
        expected: The value, or values, that would have been right.
        hint: What to do about it.
        retryable: Whether repeating the same call may succeed.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        got: Any = None,
        expected: Any = None,
        hint: str = "",
        retryable: bool = False,
    ) -> None:
        self.what = what
        self.where = where
        self.got = got
        self.expected = expected
        self.hint = hint
        self.retryable = retryable
        super().__init__(self._message())

    def _message(self) -> str:
        message = f"{self.where}: {self.what}" if self.where else self.what
        if self.got is not None:
            message += f"; got {self.got!r}"
        if self.expected is not None:
            message += f"; expected {self.expected!r}"
        if self.hint:
            message += f". {self.hint}"
        return message

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        return (_rebuild, (type(self), state))


def _rebuild(kind: type[TierlineError], state: dict[str, Any]) -> TierlineError:
    return kind(
        state.pop("what"),
        **{key: state[key] for key in ("where", "got", "expected", "hint", "retryable")},
    )


class RecipeError(TierlineError):
    """A recipe says something that it may not."""


class SourceError(TierlineError):
    """An input cannot be found or read."""


class SchemaError(TierlineError):
    """A table lacks columns, has wrong types, or was written by another schema version."""


class StageError(TierlineError):
    """A stage's outcome breaks its contract, or more rows failed than its budget allows."""


class ArtifactError(TierlineError):
    """What lies on disk is not what its records say."""


class EngineError(TierlineError):
    """A shard task could not be run to its end."""


class ModelError(TierlineError):
    """A model cannot be had, or is not the one that was recorded."""


class BudgetError(TierlineError):
    """What a run may spend on language models is spent; what it has is kept, and a higher limit goes on from there."""


class LLMError(TierlineError):
    """A request to a language model failed."""
