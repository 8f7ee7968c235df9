"""Answers from latents of images: against nothing, a true caption as text, and the latents of other images.

    python benchmarks/image_answers.py [--limit N] [--images FILE] [--vision FOLDER]

On questions of easy-VQA's test part, drawn with a fixed seed; nothing was trained or chosen on its images.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

import torch
from record import SHARED, hash_files, print_table, write_result

from latent_memory.evaluate_images import CONDITIONS, evaluate_images
from latent_memory.image_data import read_easy_vqa
from latent_memory.image_model import PACKAGED_VISION, load_vision
from latent_memory.pretrained import load_compressor, load_generator, read_manifest
from latent_memory.repeated_questions import RepeatedQuestions

IMAGES = SHARED / "images" / "easy_vqa-1.0-py3-none-any.whl"
QUESTIONS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=QUESTIONS, help="questions")
    parser.add_argument("--images", type=Path, default=IMAGES, help="pip download easy-vqa==1.0 --no-deps")
    parser.add_argument("--vision", type=Path, default=PACKAGED_VISION, help="folder of the trained tower")
    options = parser.parse_args()
    if not options.images.exists():
        raise SystemExit(f"the images aren't at {options.images}: pip download easy-vqa==1.0 --no-deps")
    if not options.vision.is_dir():
        raise SystemExit(f"there is no trained tower at {options.vision}: tierline train-memory")
    torch.set_num_threads(1)
    images = read_easy_vqa(options.images, "test")
    known = [question for question in images.questions if images.captions[question.image]]
    generator = load_generator()
    started = time.process_time()
    result = evaluate_images(
        images,
        random.Random(0).sample(known, min(options.limit, len(known))),
        load_compressor(),
        load_vision(options.vision),
        RepeatedQuestions(generator),
    )
    result["cpu_seconds"] = round(time.process_time() - started, 1)
    show(result)
    if options.limit == QUESTIONS and options.vision == PACKAGED_VISION:
        corpus = {"set": "easy-VQA 1.0, test", "images": result["images"], "sha256": hash_files([options.images])}
        result["memory"] = read_manifest().stamp()
        print(write_result("image_answers", result, ("peft", "pillow", "torch", "transformers"), corpus))


def show(result: dict[str, Any]) -> None:
    kinds = result["kinds"]
    rows: list[tuple[str, ...]] = [
        (name, *(_cell(got["exact"][name]) for got in kinds.values()), f"{result['context_tokens'][name]:.1f}")
        for name in CONDITIONS
    ]
    rows += [
        (name, *(_cell(got["differences"][name]) for got in kinds.values()), "") for name in kinds["all"]["differences"]
    ]
    headings = ("", *(f"{kind} ({got['questions']})" for kind, got in kinds.items()), "context tokens")
    title = f"easy-VQA, test: exact match of {result['questions']} questions about {result['images']} images"
    print_table(title, headings, rows)
    found, features = result["caption_at_1"], result["context_tokens"]["image features"]
    print(f"an image's own caption is the first of {found['captions']:.0f} in {_cell(found)} %")
    print(f"the tower gives {features:.0f} embeddings of an image, a latent is one token")


def _cell(interval: dict[str, float]) -> str:
    mean, low, high = (f"{100 * interval[key]:.1f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


if __name__ == "__main__":
    main()
