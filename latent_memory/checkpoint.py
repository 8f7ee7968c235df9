"""Checkpoints of a training run, which go on only with the recipe that they were made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from tiers.errors import RecipeError

FILE = "checkpoint.pt"


def write_checkpoint(
    folder: Path, recipe: BaseModel, model: dict[str, Any], optimizer: Any, scheduler: Any, **more: Any
) -> None:
    """Replaces a folder's checkpoint as a whole.

    Args:
        folder: Where it goes.
        recipe: What it belongs to.
        model: Trained weights.
        optimizer: With `state_dict`.
        scheduler: Likewise.
        more: Plain values to keep beside.
    """
    state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    partial = folder / f"{FILE}.tmp"
    torch.save({**more, **state, "model": model, "recipe": recipe.model_dump_json()}, partial)
    partial.replace(folder / FILE)


def read_checkpoint(folder: Path, recipe: BaseModel, optimizer: Any, scheduler: Any) -> dict[str, Any]:
    """Puts optimiser and scheduler where they were; returns the rest.

    Raises:
        RecipeError: it belongs to another recipe.
    """
    state: dict[str, Any] = torch.load(folder / FILE, map_location="cpu", weights_only=True)
    before, now = json.loads(state["recipe"]), json.loads(recipe.model_dump_json())
    if changed := sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key)):
        raise RecipeError(
            "the checkpoint belongs to another recipe",
            where=str(folder),
            got={key: now.get(key) for key in changed},
            expected={key: before.get(key) for key in changed},
            hint="Give another --out",
        )
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    return state
