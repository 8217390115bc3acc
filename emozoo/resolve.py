"""A recipe with every default filled in, those of its components too, and all of their options checked."""

from __future__ import annotations

from typing import Any

from emozoo import registry
from emozoo.errors import RecipeError
from emozoo.options import check_options, plain_options
from emozoo.recipe import Loss, Recipe


def resolve_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as JSON values, with the options of every component complete and its name qualified.

    Raises:
        RecipeError: components do not take options; lists those of all components.
        UnknownComponentError: a component does not exist.
    """
    tree = recipe.resolved()
    model, train = tree["model"], tree["train"]
    problems: list[str] = []

    def fill(table: dict[str, Any], kind: str, part: Any, where: str) -> None:
        try:
            table |= registry.resolve(kind, part.name, part.options, where).plain
        except RecipeError as error:
            problems.append(str(error))

    fill(model["backbone"], "backbone", recipe.model.backbone, "model.backbone")
    if recipe.model.aggregator is not None:
        fill(model["aggregator"], "aggregator", recipe.model.aggregator, "model.aggregator")
    for name, part in recipe.model.heads.items():
        fill(model["heads"][name], "head", part, f"model.heads.{name}")
        try:
            train["losses"][name] = _loss(
                part.name, recipe.train.losses.get(name, Loss()), f"train.losses.{name}"
            )
        except RecipeError as error:
            problems.append(str(error))
    fill(tree["data"], "dataset", recipe.data, "data")
    for index, term in enumerate(recipe.train.consistency):
        fill(train["consistency"][index], "consistency", term, f"train.consistency.{index}")
    if problems:
        raise RecipeError("\n".join(problems))
    return tree


def _loss(head: str, loss: Loss, where: str) -> dict[str, Any]:
    """Return a head's loss with all of its criterion's options.

    The criterion of a head that a function builds is known once the head is; its options stay as written.
    """
    criterion = getattr(registry.load(registry.find("head", head)), "criterion", None)
    if criterion is None:
        return {"weight": loss.weight, **loss.options}
    options = check_options(criterion, loss.options, where)
    return {"weight": loss.weight, **plain_options(options, where)}
