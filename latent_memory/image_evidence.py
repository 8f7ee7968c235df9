"""Images of documents as evidence: each becomes one row of latents, of kind `image`, with its caption as its text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from latent_memory.image_data import decode
from latent_memory.images import Vision
from tiers.document import child_id
from tiers.errors import SourceError


def image_rows(row: Mapping[str, Any], vision: Vision, tier: str = "", root: Path = Path()) -> list[dict[str, Any]]:
    """A document's images as rows of a table of latents, still without vectors; `picture` is what `vision` reads.

    Each of its `media` of kind `image` is one. Its id follows from the document's and the image's place among the
    media, so that the same document gives the same ids.

    Args:
        row: A document.
        vision: Prepares pictures.
        tier: Name or version of the tier, kept with each latent.
        root: Where relative addresses are looked for.

    Raises:
        SourceError: an image isn't a file here, can't be read, or isn't the one that was recorded.
        StageError: a caption doesn't fit into one latent.
    """
    return [
        {
            "evidence_id": child_id(row["id"], "image", number),
            "documents": row["parents"] or [row["id"]],
            "kind": "image",
            "text": medium["caption"].strip(),
            "source": medium["uri"],
            "status": row.get("claim.status") or "unverified",
            "tier": tier,
            "picture": vision.prepare(decode(_read(medium, root), medium["uri"]), medium["caption"]),
        }
        for number, medium in enumerate(row["media"])
        if medium["kind"] == "image"
    ]


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
