"""A recipe with every default filled in, those of its components too, and all of their options checked."""

from __future__ import annotations

from typing import Any

from emozoo import registry
from emozoo.recipe import Loss, Recipe


def resolve_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as JSON values, with the options of every component complete and its name qualified.

    Raises:
        RecipeError, UnknownComponentError: a component does not exist or does not take an option.
    """
    tree = recipe.resolved()
    model = tree["model"]
    model["backbone"] = _part("backbone", recipe.model.backbone, "model.backbone")
    if recipe.model.aggregator is not None:
        model["aggregator"] = _part("aggregator", recipe.model.aggregator, "model.aggregator")
    for name, part in recipe.model.heads.items():
        model["heads"][name] = _part("head", part, f"model.heads.{name}")
        factory = registry.load(registry.find("head", part.name))
        loss = recipe.train.losses.get(name, Loss())
        where = f"train.losses.{name}"
        options = registry.check_options(factory.criterion, loss.options, where)  # ty: ignore[unresolved-attribute]
        tree["train"]["losses"][name] = {"weight": loss.weight, **options}
    tree["data"] |= _part("dataset", recipe.data, "data")
    for index, term in enumerate(recipe.train.consistency):
        tree["train"]["consistency"][index] |= _part("consistency", term, f"train.consistency.{index}")
    return tree


def _part(kind: str, part: Any, where: str) -> dict[str, Any]:
    return registry.resolve(kind, part.name, part.options, where).plain
