from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latent_memory.compressor import Compressor, encode
from latent_memory.image_data import decode, read_easy_vqa
from latent_memory.image_evidence import encode_items, image_items
from latent_memory.image_model import TowerConfig, make_tower, save_vision
from latent_memory.images import Vision, encode_images
from latent_memory.memory import LatentMemory
from latent_memory.pretrained import load_compressor
from tiers.document import child_id, documents
from tiers.errors import SourceError

pytest.importorskip("PIL")

TOWER = TowerConfig(size=8, patch=2, hidden=16, layers=1, heads=2, joined=2, place="<|im_start|>")


def _png(pixels: np.ndarray) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)


@pytest.fixture
def vision(compressor: Compressor) -> Vision:
    return make_tower(compressor.base, compressor.tokenizer, TOWER).eval()


def _document(tmp_path: Path, pixels: np.ndarray, **medium: str) -> dict[str, Any]:
    data = _png(pixels)
    (tmp_path / "a.png").write_bytes(data)
    image = {"kind": "image", "mime": "image/png", "uri": "a.png", "caption": " A cat. "}
    image["sha256"] = hashlib.sha256(data).hexdigest()
    sound = {"kind": "audio", "mime": "audio/ogg", "uri": "b.ogg", "sha256": "", "caption": ""}
    row = {"text": "Cats.", "source": "s", "media": [sound, image | medium], "parents": ["p"]}
    return documents([row]).to_pylist()[0]


def test_an_image_becomes_a_document_with_its_caption_as_text(tmp_path: Path, pixels: np.ndarray) -> None:
    document = _document(tmp_path, pixels)
    (item,) = image_items(document, tmp_path)
    assert item == document | {
        "id": child_id(document["id"], "image", 1), "kind": "image", "text": "A cat.", "source": "a.png",
        "image": (tmp_path / "a.png").read_bytes(),
    }  # fmt: skip
    (absolute,) = image_items(_document(tmp_path, pixels, uri=(tmp_path / "a.png").as_uri()))
    assert absolute["image"] == item["image"]


def test_a_captioned_image_is_found_by_its_caption_and_another_by_itself(
    tmp_path: Path, pixels: np.ndarray, vision: Vision, compressor: Compressor
) -> None:
    said, silent = (image_items(_document(tmp_path, pixels, caption=text), tmp_path)[0] for text in ("A cat.", ""))
    codes, vectors = encode_items([said, silent], vision, compressor)
    expected = [encode_images(compressor, vision, [vision.prepare(pixels, text)]) for text in ("A cat.", "")]
    assert np.array_equal(codes, np.concatenate([code for code, _ in expected]))
    assert np.array_equal(vectors[1], expected[1][1][0])
    assert np.array_equal(vectors[0], encode(compressor, ["A cat."], "evidence")[1][0])
    alone = encode_items([silent], vision, compressor)
    assert np.array_equal(alone[0][0], codes[1])


@pytest.mark.parametrize(
    ("medium", "message"),
    [
        ({"uri": "https://example.org/a.png"}, "isn't a file here"),
        ({"uri": "gone.png"}, "isn't a file here"),
        ({"sha256": "0" * 64}, "isn't the recorded image"),
    ],
)
def test_an_image_that_is_not_the_recorded_one_is_an_error(
    tmp_path: Path, pixels: np.ndarray, medium: dict[str, str], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        image_items(_document(tmp_path, pixels, **medium), tmp_path)


def test_what_is_no_image_is_named() -> None:
    with pytest.raises(SourceError, match="can't be read"):
        decode(b"no image", "a.png")


@pytest.mark.parametrize("packed", [True, False])
def test_easy_vqa_is_read_from_its_wheel_and_from_a_folder(tmp_path: Path, pixels: np.ndarray, packed: bool) -> None:
    questions = [["what color is the circle?", "red", 0], ["is there a circle?", "no", 1]]
    files = {"questions.json": json.dumps(questions).encode()}
    files |= {f"images/{number}.png": _png(pixels + number) for number in range(2)}
    root = tmp_path / "easy.whl"
    with zipfile.ZipFile(root, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"easy_vqa/data/test/{name}", data)
    if not packed:
        with zipfile.ZipFile(root) as archive:
            archive.extractall(tmp_path / "easy")
        root = tmp_path / "easy"
    images = read_easy_vqa(root, "test")
    assert [q.kind for q in images.questions] == ["color", "yes/no"]
    assert images.captions == ["The image shows a red circle.", ""]
    assert (images.pixels[1] == pixels + 1).all()
    with pytest.raises(SourceError, match="pip download"):
        read_easy_vqa(root, "train")


def test_a_memory_holds_a_document_and_its_image(tmp_path: Path, pixels: np.ndarray, trained: Path) -> None:
    compressor = load_compressor(trained)
    tower = make_tower(compressor.base, compressor.tokenizer, TOWER).eval()
    save_vision(tower, TOWER, trained, tmp_path / "tower")
    document = documents([_document(tmp_path, pixels, caption="A cat.") | {"parents": ["0" * 32]}])
    memory = LatentMemory.create(tmp_path / "memory", trained)
    assert memory.add(document, vision=tmp_path / "tower", root=tmp_path) == 2
    rows = {row["kind"]: row for row in memory.read().to_pylist()}
    assert (rows["image"]["text"], rows["image"]["source"]) == ("A cat.", "a.png")
    assert rows["image"]["documents"] == rows["text"]["documents"]
    first = memory.read().sort_by("kind")
    memory.add(document, vision=tmp_path / "tower", root=tmp_path)
    assert memory.read().sort_by("kind").equals(first)
    assert {evidence.text for evidence in memory.search("Is there a cat?", k=2)} == {"Cats.", "A cat."}
