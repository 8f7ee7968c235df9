from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.recipe import load_recipe
from tiers.document import documents
from tiers.errors import RecipeError
from tiers.l1_filtered.quality_rules import QualityRules
from tiers.stage import Context

CONFIGS = Path(__file__).parents[2] / "configs"
DERIVATION = r"""Completing the square solves every quadratic equation. We start with the general form
and divide by the leading coefficient, which we assume to be different from zero:
$$x^2 + \frac{b}{a} x + \frac{c}{a} = 0$$
Half of the coefficient of $x$ is $\frac{b}{2a}$. Adding its square to both sides makes the left
side a square:
$$\left(x + \frac{b}{2a}\right)^2 = \frac{b^2 - 4ac}{4a^2}$$
Taking roots of both sides, and moving the constant to the right, we have the two solutions that were to be found:
$$x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}$$
They are real if $b^2 \geq 4ac$, and equal to each other if $b^2 = 4ac$."""


def test_a_recipe_holds_frozen_stages(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe())
    assert [stage.name for stage in recipe.l1] == ["language", "quality_rules", "exact_duplicates", "near_duplicates"]
    assert recipe.stages("L1") == recipe.l1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"l9": []}, r"l9: .*not permitted"),
        ({"name": "two words"}, r"name: .*pattern.*two words"),
        ({"max_failed": "half"}, r"max_failed: .*number.*half"),
        ({"inputs": []}, r"inputs: .*at least 1"),
        ({"inputs": [{"path": "x", "colour": 1}]}, r"inputs\[0\]\.colour"),
        ({"l1": ["langage"]}, r"l1\[0\]: .*langage.*allowed: .*language"),
        (
            {"l1": ["language", {"near_duplicates": {"treshold": 1}}]},
            r"l1\[1\]: .*near_duplicates\.treshold.*threshold",
        ),
        ({"l1": [{"near_duplicates": {"threshold": "high"}}]}, r"l1\[0\]: .*near_duplicates\.threshold.*'high'"),
        ({"l1": [{"language": {}, "quality_rules": {}}]}, r"l1\[0\]: .*one name with its parameters"),
        ({"l4": [], "memory": {}}, r"a memory is built of L4"),
    ],
)
def test_what_a_recipe_may_not_say_is_told_with_its_key(
    write_recipe: Callable[..., Path], changes: dict[str, object], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        load_recipe(write_recipe(**changes))


def test_a_recipe_that_is_not_there_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(tmp_path / "bad.yaml")


def test_the_recipe_for_web_pages_drops_by_url_before_it_extracts() -> None:
    recipe = load_recipe(Path(__file__).resolve().parents[2] / "configs" / "web.yaml")
    assert [stage.name for stage in recipe.l0] == ["url_filter", "extract_html"]
    names = [stage.name for stage in recipe.l1]
    assert names.index("quality_rules") < names.index("near_duplicates") < names.index("personal_data")


@pytest.mark.parametrize("name", ["quickstart", "cluster", "web", "math"])
def test_the_recipes_that_come_with_it_are_valid(name: str) -> None:
    assert load_recipe(CONFIGS / f"{name}.yaml").l1


def test_the_recipe_for_formulas_keeps_what_the_published_rules_drop() -> None:
    recipe = load_recipe(CONFIGS / "math.yaml")
    (rules,) = (stage for stage in recipe.l1 if isinstance(stage, QualityRules))
    table = documents([{"text": DERIVATION, "source": "a"}])
    context = Context(models=Path())
    assert QualityRules().prepare(context)(table).kept.num_rows == 0
    assert rules.prepare(context)(table).kept["text"].to_pylist() == [DERIVATION]
