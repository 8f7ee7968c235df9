"""Images of documents as evidence: each becomes one row of latents, of kind `image`, with its caption as its text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from latent_memory.compressor import Compressor, encode
from latent_memory.image_data import decode
from latent_memory.images import Vision, encode_images
from tiers.document import child_id
from tiers.errors import SourceError


def image_items(row: Mapping[str, Any], root: Path = Path()) -> list[dict[str, Any]]:
    """A document's images, each as a document with a `kind` and the `image`'s bytes; its text is its caption.

    Each of its `media` of kind `image` is one. Its id follows from the document's and the image's place among the
    media, so that the same document gives the same ids.

    Args:
        row: A document.
        root: Where relative addresses are looked for.

    Raises:
        SourceError: an image isn't a file here, or isn't the one that was recorded.
    """
    return [
        {
            **row,
            "id": child_id(row["id"], "image", number),
            "parents": row["parents"] or [row["id"]],
            "kind": "image",
            "text": medium["caption"].strip(),
            "source": medium["uri"],
            "image": _read(medium, root),
        }
        for number, medium in enumerate(row["media"])
        if medium["kind"] == "image"
    ]


def encode_items(
    items: Sequence[Mapping[str, Any]], vision: Vision, compressor: Compressor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Codes (N, C) and retrieval vectors (N, R) of what `image_items` gives, each the same whatever the others are.

    An image with a caption is found by the caption alone: a small tower's embeddings drown its words (of 49 figures of
    the Debian handbook the right one is first for 92 % by their captions, for 2 % by image and caption together).

    Raises:
        SourceError: an image can't be read.
        StageError: a caption doesn't fit into one latent.
    """
    made = []
    for item in items:
        picture = vision.prepare(decode(item["image"], item["source"]), item["text"])
        codes, vectors = encode_images(compressor, vision, [picture])
        made.append((codes, encode(compressor, [item["text"]], "evidence")[1] if item["text"] else vectors))
    return np.concatenate([codes for codes, _ in made]), np.concatenate([vectors for _, vectors in made])


def _read(medium: Mapping[str, Any], root: Path) -> bytes:
    """The bytes of a medium, which must be those that were recorded."""
    parts = urlsplit(medium["uri"])
    path = root / (unquote(parts.path) if parts.scheme == "file" else medium["uri"])
    if parts.scheme not in ("", "file") or not path.is_file():
        raise SourceError("the image isn't a file here", where=medium["uri"], hint="Fetch it, and give its path")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if medium["sha256"] not in ("", digest):
        raise SourceError("it isn't the recorded image", where=medium["uri"], got=digest, expected=medium["sha256"])
    return data
