"""The stage that runs a block of datatrove on each document."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field, JsonValue, model_validator

from tiers.document import DOCUMENT, add_column
from tiers.stage import Context, Outcome, Stage, fates

_COLUMNS = {"url": "url", "title": "title", "lang": "language", "license": "license", "source": "source"}
"""Our columns, and the keys by which datatrove's blocks know them in a document's metadata."""

_MAX_DETAIL = 500
_REFUSED = {
    "LambdaFilter": "a function can't be written in a recipe, nor compared with that of another run",
    "SamplerFilter": "what it does to a document depends on those before it",
    "C4BadWordsFilter": "what it does to a document can depend on those before it",
}


class DatatroveBlock(Stage):
    """Runs a filter, formatter or extractor of datatrove (Penedo et al. 2024) as it is.

    A document's URL, title, language, licence and source are in the metadata that the block sees, beside what is in
    `meta`; strings and numbers that it adds or changes there go back to `meta`. What a filter refuses is dropped with
    the reason `datatrove.CLASS.REASON`; a row on which the block raises an error fails alone; a changed text is noted.

    Blocks that read or write files or see several documents at once are refused: a run has its own way of doing that.
    A formatter is made anew for each table, since PIIFormatter's replacements go round; an extractor runs in a process
    of its own with datatrove's time limit.

    Attributes:
        block: The full name of the class.
        options: What it is called with.
    """

    name: ClassVar[str] = "datatrove"

    block: str
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_made(self) -> DatatroveBlock:
        try:
            self._make()
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"{self.block} can't be made with {self.options}: {error}") from None
        return self

    def identity(self) -> dict[str, Any]:
        """As for any stage, with datatrove's version."""
        return {**super().identity(), "datatrove": version("datatrove")}

    @property
    def _class_name(self) -> str:
        return self.block.rpartition(".")[2]

    def _make(self) -> Any:
        """The block.

        Raises:
            ValueError: there is no such class, or it isn't one that sees one document at a time.
        """
        module, _, name = self.block.rpartition(".")
        if not module.startswith("datatrove."):
            raise ValueError(f"{self.block} is no class of datatrove; of other code the version isn't known")
        try:
            version("datatrove")
            kind = getattr(importlib.import_module(module), name)
        except PackageNotFoundError:
            raise ValueError("datatrove isn't installed: pip install 'tierline[datatrove]'") from None
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{self.block} can't be imported: {error}") from None
        if name in _REFUSED:
            raise ValueError(f"{name} is refused: {_REFUSED[name]}")
        if not (isinstance(kind, type) and issubclass(kind, _single_document_classes())):
            raise ValueError(f"{self.block} is no filter, formatter or extractor: it doesn't see documents one by one")
        if "exclusion_writer" in self.options:
            raise ValueError("exclusion_writer is refused: dropped documents stand in the ledger")
        return kind(**self.options)

    def prepare(self, context: Context) -> Callable[[pa.Table], Outcome]:
        """The function that runs the block on a table."""
        from datatrove.pipeline.extractors.base import BaseExtractor
        from datatrove.pipeline.formatters.base import BaseFormatter

        block = self._make()
        if isinstance(block, BaseExtractor):
            block.extract("")  # its imports, here: datatrove would take the time that they need for that of a page
            judge: Callable[[Sequence[Any]], Iterator[_Verdict]] = _Extracting(block)
        elif isinstance(block, BaseFormatter):
            judge = self._format
        else:
            judge = _Filtering(block)

        def apply(table: pa.Table) -> Outcome:
            documents = _documents(table)
            before = [(document.text, dict(document.metadata)) for document in documents]
            return self._outcome(table, documents, before, list(judge(documents)))

        return apply

    def _format(self, documents: Sequence[Any]) -> Iterator[_Verdict]:
        block = self._make()
        for document in documents:
            try:
                document.text = block.format(document.text)
                yield _Verdict()
            except Exception as error:
                yield _Verdict(error=_described(error))

    def _outcome(
        self,
        table: pa.Table,
        documents: Sequence[Any],
        before: Sequence[tuple[str, Mapping[str, Any]]],
        verdicts: Sequence[_Verdict],
    ) -> Outcome:
        prefix = f"datatrove.{self._class_name}"
        said = f"datatrove {version('datatrove')} with {json.dumps(self.options)}"[:_MAX_DETAIL]
        kept, texts, metas, dropped, failed, noted = [], [], [], [], [], []
        rows = zip(table["id"].to_pylist(), documents, before, verdicts, table["meta"].to_pylist(), strict=True)
        for number, (row_id, document, (text, metadata), verdict, meta) in enumerate(rows):
            if verdict.error is None and not (isinstance(document.text, str) and _is_unicode(document.text)):
                verdict = _Verdict(error=f"the text it gives is {type(document.text).__name__}, not Unicode text")
            if verdict.error is not None:
                failed.append((row_id, f"{prefix}.error", verdict.error))
            elif verdict.reason is not None:
                dropped.append((row_id, f"{prefix}.{verdict.reason}", said))
            else:
                kept.append(number)
                texts.append(document.text)
                metas.append(list({**dict(meta), **_changes(metadata, document.metadata)}.items()))
                if document.text != text:
                    noted.append((row_id, f"{prefix}.changed", f"{len(text)} to {len(document.text)} characters"))
        table = table.take(pa.array(kept, pa.int64()))
        for name, values in (("text", texts), ("meta", metas)):
            table = add_column(table, DOCUMENT.field(name), values)
        return Outcome(table, fates(dropped), fates(failed), fates(noted))


@dataclass(frozen=True)
class _Verdict:
    """What a block said of a document: kept, or dropped for a reason, or not to be done."""

    reason: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class _Filtering:
    block: Any

    def __call__(self, documents: Sequence[Any]) -> Iterator[_Verdict]:
        for document in documents:
            try:
                (result,) = self.block.filter_batch([document])
            except Exception as error:
                yield _Verdict(error=_described(error))
                continue
            keeps, reason = result if isinstance(result, tuple) else (result, None)
            yield _Verdict() if keeps else _Verdict(reason=reason or "dropped")


@dataclass(frozen=True)
class _Extracting:
    block: Any

    def __call__(self, documents: Sequence[Any]) -> Iterator[_Verdict]:
        from datatrove.pipeline.extractors.base import ExtractorSandbox

        with ExtractorSandbox(timeout=self.block.timeout) as sandbox:
            for document in documents:
                try:
                    document.text = sandbox.process_document(document.text, self.block.extract) or ""
                    yield _Verdict() if document.text else _Verdict(reason="empty")
                except Exception as error:
                    yield _Verdict(error=_described(error))


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MAX_DETAIL]


def _single_document_classes() -> tuple[type, ...]:
    from datatrove.pipeline.extractors.base import BaseExtractor
    from datatrove.pipeline.filters.base_filter import BaseFilter
    from datatrove.pipeline.formatters.base import BaseFormatter

    return BaseFilter, BaseFormatter, BaseExtractor


def _documents(table: pa.Table) -> list[Any]:
    """The rows as datatrove's documents; metadata holds what isn't null."""
    from datatrove.data import Document

    documents = []
    for row in table.select(["id", "text", "meta", *_COLUMNS]).to_pylist():
        metadata = {key: row[name] for name, key in _COLUMNS.items() if row[name] is not None}
        documents.append(Document(text=row["text"], id=row["id"], metadata={**dict(row["meta"]), **metadata}))
    return documents


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """The strings and numbers of `after` that aren't those of `before`, as strings."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in after.items()
        if isinstance(value, str | int | float) and before.get(key) != value
    }


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
