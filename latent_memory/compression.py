"""Evidence in, latents out: the half of a memory that needs no store and runs on any worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import xxhash

from tiers.document import check_schema, child_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latent_memory.compressor import Compressor, CompressorConfig

Standing = Callable[[Sequence[int]], pa.Table]
"""Gives the rows of a memory that have one of these content hashes."""

TOPICS = "organise.topics"
"""The column of documents that holds their topics: text, or a list of them."""
ROWS, STEP = 8, 16
"""Evidence goes through the compressor in tensors of `ROWS` rows and a multiple of `STEP` tokens."""


def compress(
    evidence: pa.Table,
    tier: str = "",
    pretrained: Path | None = None,
    models: Path | None = None,
    standing: Standing | None = None,
    vision: Path | None = None,
    root: Path = Path(),
) -> pa.Table:
    """Compresses a table of documents into a table of latents.

    A document gives the same latents, bit for bit on one kind of machine, whatever it is compressed with: tensors have
    one of few shapes, on one thread, in float32. Text that is too long for one latent becomes several, each under its
    heading; the first has the document's id and the others ids of their own. Nothing is cut, and only a row without
    any text gives none. With a vision tower each image of a document becomes one latent more, with its caption as its
    text.

    Args:
        evidence: Documents; `parents` name the documents that a row comes from (the row itself where it has none),
            `claim.status` its verification, `organise.topics` its topics, `evidence.context` the heading that it
            stands under.
        tier: Name or version of the tier, kept with each latent.
        pretrained: Folder of the trained compressor; the packaged one by default.
        models: Folder of model weights.
        standing: Where latents that this compressor made before can be had; what stands there is not made again.
        vision: Folder of a vision tower that was trained for this compressor; images are left out by default.
        root: Where the relative addresses of images are looked for.

    Raises:
        SourceError: when an image isn't a file here, isn't the recorded one or can't be read.
        SchemaError: when the table holds no documents, or an id is not 32 hex digits.
        ModelError: when the compressor's base isn't there or isn't the right one.
    """
    from latent_memory.pretrained import PACKAGED, read_manifest
    from latent_memory.store import latent_schema, pack_id

    check_schema(evidence.schema, "evidence")
    folder = pretrained or PACKAGED
    manifest = read_manifest(folder)
    schema = latent_schema(manifest.compressor.retrieval_dim, manifest.latent_dim, manifest.stamp())
    rows = [
        {**item, "content": content_hash(item)} for row in evidence.to_pylist() for item in _items(row, vision, root)
    ]
    for row in rows:
        for text in (row["id"], *row["parents"]):
            pack_id(text)
    made = _Standing(standing([row["content"] for row in rows]) if standing and rows else schema.empty_table())
    if any(not made.pieces(row) for row in rows):
        new = [row for row in rows if not made.pieces(row)]
        for kind, fresh in (("text", _fresh_texts), ("image", partial(_fresh_images, vision=vision))):
            if some := [row for row in new if row["kind"] == kind and _has_content(row)]:
                made.add(_numbered(*fresh(some, folder, models), manifest.compressor, schema))
    return _table([_described(row, piece, tier) for row in rows for piece in made.pieces(row)], schema)


def _has_content(row: dict[str, Any]) -> bool:
    return bool(row["text"].strip() or row.get("evidence.context") or "image" in row)


def content_hash(row: dict[str, Any]) -> int:
    """Of all that a document's latents are made of, and of its id: xxh3-64 as a signed number."""
    parts = (row["id"], row.get("evidence.context") or "", row["text"])
    whole = "\x00".join(parts).encode("utf-8", "surrogatepass") + row.get("image", b"")
    digest = xxhash.xxh3_64_intdigest(whole)
    return digest - (1 << 64) if digest >= 1 << 63 else digest


class _Standing:
    """Latents by id, with the content that they were made of."""

    def __init__(self, table: pa.Table) -> None:
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}
        self.add(table)

    def add(self, table: pa.Table) -> None:
        columns = [table[name].to_pylist() for name in ("evidence_id", "content", "text")]
        arrays = [_matrix(table[name]) for name in ("latent", "vector")]
        for key, content, text, latent, vector in zip(*columns, *arrays, strict=True):
            self._rows[key.hex(), content] = {"evidence_id": key, "text": text, "latent": latent, "vector": vector}

    def pieces(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The latents of a document, in order; none where it has not been compressed."""
        found: list[dict[str, Any]] = []
        while piece := self._rows.get((piece_id(row["id"], len(found)), row["content"])):
            found.append(piece)
        return found


def piece_id(document: str, number: int) -> str:
    """The id of the `number`-th latent of a document; the first one's is the document's."""
    return child_id(document, "latent", number) if number else document


def _matrix(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of fixed-size lists as an array (N, width)."""
    import numpy as np

    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    values = np.concatenate(flat) if flat else np.zeros(0)
    return values.reshape(-1, column.type.list_size)


def _described(row: dict[str, Any], piece: dict[str, Any], tier: str) -> dict[str, Any]:
    topics = row.get(TOPICS) or []
    return {
        **piece,
        "content": row["content"],
        "documents": [bytes.fromhex(document) for document in row["parents"] or [row["id"]]],
        "kind": row["kind"],
        "source": row["source"],
        "status": row.get("claim.status") or "unverified",
        "tier": tier,
        "topics": [topics] if isinstance(topics, str) else topics,
    }


def _items(row: dict[str, Any], vision: Path | None, root: Path) -> list[dict[str, Any]]:
    """What latents are made of, of a document: itself, and where there is something to see with, its images."""
    own = {**row, "kind": "text"}
    if vision is None:
        return [own]
    from latent_memory.image_evidence import image_items

    return [own, *image_items(row, root)]


Fresh = tuple[list[dict[str, Any]], "NDArray[np.float32]", "NDArray[np.float32]"]
"""Ids, contents and texts of new latents, with their codes and vectors."""


def _fresh_texts(rows: Sequence[dict[str, Any]], folder: Path, models: Path | None) -> Fresh:
    import numpy as np

    from latent_memory.pretrained import load_compressor

    compressor = load_compressor(folder, models)
    pieces = [
        {"evidence_id": bytes.fromhex(piece_id(row["id"], number)), "content": row["content"], "text": text}
        for row in rows
        for number, text in enumerate(_texts(row, compressor))
    ]
    if not pieces:
        config = compressor.config
        return pieces, np.zeros((0, config.code_size), np.float32), np.zeros((0, config.retrieval_dim), np.float32)
    return pieces, *_encode(compressor, [piece["text"] for piece in pieces])


def _fresh_images(rows: Sequence[dict[str, Any]], folder: Path, models: Path | None, vision: Path | None) -> Fresh:
    from latent_memory.image_evidence import encode_items
    from latent_memory.image_model import load_vision
    from latent_memory.pretrained import load_compressor

    assert vision is not None, "without a tower there are no images"
    codes, vectors = encode_items(rows, load_vision(vision, folder, models), load_compressor(folder, models))
    told = [{"evidence_id": bytes.fromhex(row["id"]), "content": row["content"], "text": row["text"]} for row in rows]
    return told, codes, vectors


def _numbered(
    pieces: list[dict[str, Any]],
    codes: NDArray[np.float32],
    vectors: NDArray[np.float32],
    config: CompressorConfig,
    schema: pa.Schema,
) -> pa.Table:
    """Latents as they are stored, without what describes them."""
    import numpy as np

    from latent_memory.quantisation import quantise

    told = [schema.field(name) for name in ("evidence_id", "content", "text")]
    table = pa.Table.from_pylist(pieces, pa.schema(told))
    for name, column in (
        ("latent", _lists(quantise(codes, config))),
        ("vector", _lists(vectors.astype(np.float16))),
    ):
        table = table.append_column(name, column)
    return table


def _texts(row: dict[str, Any], compressor: Compressor) -> list[str]:
    """What each latent of a document is made of."""
    heading = row.get("evidence.context")
    if heading and len(compressor.split(heading)) == 1:
        return [f"{heading}: {piece}" for piece in compressor.split(row["text"])]
    return compressor.split(f"{heading or ''} {row['text']}")


def _encode(compressor: Compressor, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Latents and vectors of texts, each the same whatever the others are.

    A matrix product rounds differently for another shape, so that every tensor is filled up to one of few shapes.
    """
    import numpy as np

    from latent_memory.compressor import encode

    longest = compressor.config.max_tokens
    lengths = [min(longest, -(-len(ids) // STEP) * STEP) for ids in compressor.tokenize(texts)]
    order: list[int] = []
    made: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for length in sorted(set(lengths)):
        filler = _filler(compressor, length)
        for part in _parts([index for index, own in enumerate(lengths) if own == length], ROWS - 1):
            filled = [texts[index] for index in part] + [filler] * (ROWS - len(part))
            latents, vectors = encode(compressor, filled, "evidence", ROWS)
            made.append((latents[: len(part)], vectors[: len(part)]))
            order += part
    back = np.argsort(order)
    latents, vectors = (np.concatenate(arrays)[back] for arrays in zip(*made, strict=True))
    return latents, vectors


def _parts(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for begin in range(0, len(indices), size):
        yield list(indices[begin : begin + size])


def _filler(compressor: Compressor, length: int) -> str:
    """Words that take `length` tokens, or nearly so, where a tokenizer has no such words."""
    words = ["a"] * length
    while len(compressor.tokenizer(f" {' '.join(words)}", add_special_tokens=False)["input_ids"]) > length:
        words.pop()
    return " ".join(words)


def _lists(array: NDArray[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


def _table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    import numpy as np

    if not rows:
        return schema.empty_table()
    arrays = [
        _lists(np.stack([row[field.name] for row in rows]))
        if field.name in ("latent", "vector")
        else pa.array([row[field.name] for row in rows], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
