"""Which figure of the Debian Administrator's Handbook a text is about, from latents' retrieval vectors.

    python benchmarks/figure_retrieval.py --handbook FOLDER [--vision FOLDER]

FOLDER is that of the package's English pages, usr/share/doc/debian-handbook/html/en-US (`apt-get download
debian-handbook`, `dpkg -x`). The tower was taught coloured shapes of 64 x 64 pixels; these are screenshots and
drawings, of which it has seen none. So the figure alone tells what such a tower sees there, the figure with its
caption what the image adds to, or takes from, the words.
"""

from __future__ import annotations

import argparse
import html
import random
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import hash_files, print_table, write_result

from latent_memory.compressor import Compressor, encode
from latent_memory.data import sentences
from latent_memory.evaluation.metrics import bootstrap
from latent_memory.image_data import decode
from latent_memory.image_model import PACKAGED_VISION, load_vision
from latent_memory.images import Pixels, Vision, encode_images
from latent_memory.pretrained import load_compressor, read_manifest

_FIGURE = re.compile(r'<div class="figure">.*?<img src="([^"]+)".*?<p class="title"><strong>(.*?)</strong>', re.DOTALL)
_PARAGRAPH = re.compile(r'<div class="para">(.*?)</div>', re.DOTALL)


@dataclass(frozen=True)
class Figure:
    """A figure: its file, its caption without its number, and the last sentence in front of it."""

    path: Path
    caption: str
    before: str


def figures(folder: Path) -> list[Figure]:
    """The figures of the pages in a folder that have a paragraph in front of them."""
    found = []
    for page in sorted(folder.glob("*.html")):
        text = page.read_text(encoding="utf-8")
        for match in _FIGURE.finditer(text):
            paragraphs = [_plain(part) for part in _PARAGRAPH.findall(text[: match.start()])]
            said = [sentence for part in paragraphs[-1:] for _, sentence in sentences(part)]
            caption = re.sub(r"^Figure\s+[\d.]+\s*", "", _plain(match[2]))
            path = folder / match[1]
            if path.is_file() and said:
                found.append(Figure(path, caption, said[-1]))
    return found


def _plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def measure(shown: list[Figure], compressor: Compressor, vision: Vision) -> dict[str, Any]:
    """Recall at 1 and 5, with intervals, for each kind of evidence and of query."""
    pixels: list[Pixels] = [decode(figure.path.read_bytes(), figure.path.name) for figure in shown]
    captions = [figure.caption for figure in shown]
    others = random.Random(0).sample(range(len(shown)), len(shown))

    def pictures(order: list[int], said: list[str]) -> np.ndarray[Any, Any]:
        made = [vision.prepare(pixels[i], caption) for i, caption in zip(order, said, strict=True)]
        return encode_images(compressor, vision, made)[1]

    own = list(range(len(shown)))
    evidence = {
        "caption": encode(compressor, captions, "evidence")[1],
        "caption and image": pictures(own, captions),
        "caption and another's image": pictures(others, captions),
        "image": pictures(own, [""] * len(shown)),
        "another's image": pictures(others, [""] * len(shown)),
    }
    queries = {
        "its caption as a question": [
            f"What does {caption[0].lower()}{caption[1:]} look like?" for caption in captions
        ],
        "the sentence in front of it": [compressor.split(figure.before)[-1] for figure in shown],
    }
    result: dict[str, Any] = {}
    for asked, texts in queries.items():
        sought = encode(compressor, texts, "query")[1]
        for name, vectors in evidence.items():
            ranks = np.argsort(-(sought @ vectors.T), axis=1, kind="stable")
            hits = {k: [float(i in ranks[i, :k]) for i in own] for k in (1, 5)}
            result[f"{asked}: {name}"] = {f"recall_at_{k}": asdict(bootstrap(hit)) for k, hit in hits.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handbook", type=Path, help="folder with the pages and images/")
    parser.add_argument("--vision", type=Path, default=PACKAGED_VISION, help="folder of the trained tower")
    options = parser.parse_args()
    if options.handbook is None or not options.handbook.is_dir():
        print("skipped: give the handbook's folder with --handbook")
        return
    if not options.vision.is_dir():
        print(f"skipped: there is no trained tower at {options.vision}")
        return
    torch.set_num_threads(1)
    shown = figures(options.handbook)
    result = measure(shown, load_compressor(), load_vision(options.vision))
    rows = [(name, *(_cell(got[f"recall_at_{k}"]) for k in (1, 5))) for name, got in result.items()]
    print_table(f"the {len(shown)} figures of the Debian handbook", ("", "recall@1", "recall@5"), rows)
    if options.vision == PACKAGED_VISION:
        corpus = {"set": "debian-handbook, en-US", "figures": len(shown), "sha256": hash_files(f.path for f in shown)}
        told = {"memory": read_manifest().stamp(), "figures": len(shown), "recall": result}
        print(write_result("figure_retrieval", told, ("peft", "pillow", "torch", "transformers"), corpus))


def _cell(interval: dict[str, float]) -> str:
    mean, low, high = (f"{100 * interval[key]:.1f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


if __name__ == "__main__":
    main()
