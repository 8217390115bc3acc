"""What a model is, as facts: for `emozoo info`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from emozoo import registry
from emozoo.layout import CARD, RUN
from emozoo.provenance import Source
from emozoo.recipe import Card, ModelConfig, load_recipe
from emozoo.records import find_record
from emozoo.trees import read_as
from emozoo.zoo import Entry, load, locate


def describe(name: str) -> dict[str, Any]:
    """Return the facts of a zoo entry or of a model folder, as JSON values.

    `parameters` counts values, `macs` the multiply-accumulates of one image; `weights` says where they are, `source`
    which.
    """
    found = locate(name)
    return _of_entry(found) if isinstance(found, Entry) else _of_model(name)


def _of_entry(found: Entry) -> dict[str, Any]:
    recipe = load_recipe(found.recipe_file)
    return {
        "name": found.name,
        **_card(recipe.card.model_dump()),
        **_facts(recipe.model),
        "weights": str(found.weights or found.pin or f"not published; {_way_to_weights(found)}"),
        "recipe": str(found.recipe_file),
        **_result(found.record, found.folder),
    }


def _way_to_weights(found: Entry) -> str:
    """Say how weights are made: of an entry that has been trained, as its card tells; else by its recipe."""
    if found.record is None:
        return f"emozoo train {found.name} makes them"
    return f"{found.folder / CARD} tells how they were made"


def _of_model(name: str) -> dict[str, Any]:
    model = load(name, "cpu")
    source = cast("Source", model.source)
    record = find_record(source.folder)
    result, card = _result(record, source.folder), {}
    if record is not None:
        with read_as("the record of a run", source.folder / RUN):
            card = Card.model_validate(record["recipe"]["card"]).model_dump()
    where = {"weights": str(source.folder), "source": source.record()}
    return {"name": name, **_card(card), **_facts(model.config), **where, **result}


def _card(card: dict[str, Any]) -> dict[str, Any]:
    keys = ("title", "summary", "task", "dataset", "licence", "data_licence", "literature")
    return {key: card[key] for key in keys if card.get(key)}


def _facts(config: ModelConfig) -> dict[str, Any]:
    import torch

    from emozoo.cost import count_macs, count_parameters
    from emozoo.model import EmotionModel

    with torch.device("meta"):
        model = EmotionModel(config)
    full = model.config
    return {
        "backbone": full.backbone.model_dump(mode="json"),
        "aggregator": full.aggregator and full.aggregator.model_dump(mode="json"),
        "heads": {key: part.model_dump(mode="json") for key, part in full.heads.items()},
        "labels": ", ".join(config.labels),
        "input": f"{config.preprocess.crop} px {config.preprocess.colour}",
        "parameters": count_parameters(model),
        "macs": count_macs(config),
        "provider": _providers(full),
        "requires": model.requires,
    }


def _providers(config: ModelConfig) -> dict[str, str]:
    """Return the distribution and entry point behind each part of a model."""
    parts = {"backbone": ("backbone", config.backbone)}
    if config.aggregator is not None:
        parts["aggregator"] = ("aggregator", config.aggregator)
    parts |= {f"heads.{name}": ("head", part) for name, part in config.heads.items()}
    found = {role: registry.find(kind, part.name) for role, (kind, part) in parts.items()}
    return {role: f"{c.distribution} {c.version} ({c.target})" for role, c in found.items()}


def _result(record: dict[str, Any] | None, folder: Path) -> dict[str, Any]:
    if record is None:
        return {"result": "not trained yet"}
    with read_as("the record of a run", folder / RUN):
        result = record["result"]
        values = {
            f"{head}.{part['primary']}": part["metrics"][part["primary"]]["value"]
            for head, part in result["heads"].items()
        }
        return {"result": {**values, "split": result["split"], "n": result["n"], "tta": result["tta"]}}
