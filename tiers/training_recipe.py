"""Recipes of training runs: YAML files, each checked by the model of what it trains."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tiers.errors import RecipeError

_Training = TypeVar("_Training", bound=BaseModel)


def read_training_recipe(path: Path, kind: type[_Training]) -> _Training:
    """Reads and checks a recipe.

    Raises:
        RecipeError: naming every key that is wrong.
    """
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError("the training recipe can't be read", where=str(path), got=str(error)) from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RecipeError("the training recipe is not valid", where=str(path), got=wrong) from error
