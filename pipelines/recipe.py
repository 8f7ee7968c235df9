"""What a YAML recipe may say. Unknown keys and wrong types are refused, with the key's path and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

import tiers.l0_raw
import tiers.l1_filtered
import tiers.l2_scored
import tiers.l3_edited
import tiers.l4_verified
from pipelines.build_memory import BuildMemory
from tiers.errors import RecipeError
from tiers.l1_filtered.near_duplicates import NearDuplicates
from tiers.l1_filtered.url_filter import UrlFilter
from tiers.llm.prices import Price, currency_of, find_price, without_address
from tiers.llm.spending import Budget
from tiers.stage import Stage

TIERS = ("L0", "L1", "L2", "L3", "L4", "memory")
STAGES: dict[str, tuple[type[Stage], ...]] = {
    # By their URLs pages can be dropped before they are extracted, which is what costs.
    "L0": (*tiers.l0_raw.STAGES, UrlFilter),
    "L1": tiers.l1_filtered.STAGES,
    "L2": tiers.l2_scored.STAGES,
    # What models write of different documents may be alike.
    "L3": (*tiers.l3_edited.STAGES, NearDuplicates),
    "L4": tiers.l4_verified.STAGES,
}


def _stage_of(tier: str) -> Any:
    """A validator that turns `name` or `{name: parameters}` into a stage of `tier`."""

    def build(item: Any) -> Stage:
        if isinstance(item, Stage):
            return item
        known = {stage.name: stage for stage in STAGES[tier]}
        if isinstance(item, str):
            item = {item: {}}
        if not isinstance(item, dict) or len(item) != 1:
            raise ValueError(f"a stage is a name, or one name with its parameters; allowed: {sorted(known)}")
        ((name, parameters),) = item.items()
        if name not in known:
            raise ValueError(f"no stage of {tier} is called {name!r}; allowed: {sorted(known)}")
        try:
            return known[name].model_validate(parameters or {})
        except ValidationError as error:
            allowed = sorted(known[name].model_fields)
            raise ValueError(f"{'; '.join(_faults(error, name))}; parameters of {name}: {allowed}") from None

    return BeforeValidator(build)


class Input(tiers.l0_raw.ReadOptions):
    """What to read, files or a Hugging Face data set, and what of it; see `ReadOptions` for `mime`, `text_field` ….

    Attributes:
        path: A path, glob or fsspec URL; a relative one starts from the working folder.
        dataset: Instead: a folder that `datasets` has saved, or a folder or hub name that it can load.
        split: The part of the data set.
        subset: The configuration of the data set, where it has several.
        revision: The branch, tag or commit of a data set on the hub.
        format: The name of a format of `tiers.l0_raw.FORMATS`; by default what each file's name says.
        license: The licence of every document from here that doesn't tell its own, as an SPDX identifier.
    """

    path: str | None = None
    dataset: str | None = None
    split: str = "train"
    subset: str | None = None
    revision: str | None = None
    format: str | None = None
    license: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("an input has either a path or a dataset")
        of_dataset = {"split", "subset", "revision"} & self.model_fields_set
        if of_dataset and self.dataset is None:
            raise ValueError(f"{', '.join(sorted(of_dataset))} means something only beside a dataset")
        if self.format is not None and self.format not in tiers.l0_raw.FORMATS:
            raise ValueError(f"no format is called {self.format!r}; allowed: {sorted(tiers.l0_raw.FORMATS)}")
        return self


class Recipe(BaseModel):
    """One curation job: inputs, the stages of each tier, and the memory to build.

    Attributes:
        name: What releases and reports call the result.
        inputs: Where documents come from.
        l0, l1, l2, l3, l4: The stages of each tier, in order. Without any a tier isn't made; the next one that has some
            goes on from the one before it.
        memory: How to build a latent memory from L4; absent for none.
        max_failed: The share of rows that a step may quarantine before it fails.
        prices: What models cost a million tokens, by their names with or without `@URL`, where they aren't free and the
            table that comes with Tierline doesn't know it.
        budget: What the run may spend on language models, resumed runs included. Neither changes what is computed.
        shard_bytes: Files above this are read as several shards, where their format lets them be cut between records.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    inputs: Annotated[tuple[Input, ...], Field(min_length=1)]
    l0: tuple[Annotated[Stage, _stage_of("L0")], ...] = ()
    l1: tuple[Annotated[Stage, _stage_of("L1")], ...] = ()
    l2: tuple[Annotated[Stage, _stage_of("L2")], ...] = ()
    l3: tuple[Annotated[Stage, _stage_of("L3")], ...] = ()
    l4: tuple[Annotated[Stage, _stage_of("L4")], ...] = ()
    memory: BuildMemory | None = None
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.05
    prices: dict[str, Price] = Field(default_factory=dict)
    budget: Budget = Budget()
    shard_bytes: Annotated[int, Field(ge=1 << 10)] = 256 << 20

    @model_validator(mode="after")
    def _has_evidence(self) -> Self:
        if self.memory and not self.l4:
            raise ValueError("a memory is built of L4: give `l4` its stages, or leave `memory` out")
        return self

    @model_validator(mode="after")
    def _payable(self) -> Self:
        llms = self.llms()
        if unknown := [llm for llm in llms if find_price(llm, self.prices) is None]:
            if self.budget.max_cost is not None:
                raise ValueError(
                    f"budget.max_cost: there is no price for {', '.join(unknown)}; give it under `prices`, as "
                    f"{without_address(unknown[0])}: {{prompt: 0.4, completion: 1.6}}, per million tokens"
                )
        currency_of(llms, self.prices)
        return self

    def llms(self) -> list[str]:
        """The language models that the stages name, each once."""
        return list(dict.fromkeys(llm for tier in TIERS for stage in self.stages(tier) for llm in stage.asked_llms()))

    def stages(self, tier: str) -> tuple[Stage, ...]:
        """The stages of `tier`, named as in `TIERS`."""
        if tier == "memory":
            return (self.memory,) if self.memory else ()
        stages: tuple[Stage, ...] = getattr(self, tier.lower())
        return stages


def load_recipe(path: Path) -> Recipe:
    """Reads and checks a recipe.

    Raises:
        RecipeError: the file is missing, is not YAML, or says something that it may not; every fault is listed.
        SourceError: a file that a stage reads cannot be found or read.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError("there is no such recipe", where=str(path)) from None
    except OSError as error:
        raise RecipeError("the recipe can't be read", where=str(path), got=str(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError("the recipe is not YAML", where=str(path), got=str(error)) from None
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        faults = "\n  ".join(_faults(error))
        raise RecipeError(f"the recipe says what it may not:\n  {faults}", where=str(path)) from None


def _faults(error: ValidationError, *within: str) -> list[str]:
    """One line for each fault: the path of the key, what is wrong, and the value."""
    return [f"{_key((*within, *f['loc']))}: {f['msg']} (got {f['input']!r:.80})" for f in error.errors()]


def _key(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or "recipe"
