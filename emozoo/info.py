"""What a model is, as facts: for `emozoo info`."""

from __future__ import annotations

from typing import Any

from emozoo import registry
from emozoo.recipe import ModelConfig, load_recipe


def describe(name: str) -> dict[str, Any]:
    """Return the facts of a zoo entry, or of a model folder (dir:PATH)."""
    from emozoo.zoo import entry, model_folder

    if ":" in name and not name.startswith("zoo:"):
        from emozoo.folder import RUN, load_model
        from emozoo.training.run import read_record

        folder = model_folder(name)
        model = load_model(folder, "cpu")
        record = read_record(folder) if (folder / RUN).exists() else None
        card = record["recipe"]["card"] if record else {}
        return {"name": name, **_card(card), **_facts(model.config), "weights": str(folder), **_result(record)}
    found = entry(name.removeprefix("zoo:"))
    recipe = load_recipe(found.recipe_file)
    return {
        "name": found.name,
        **_card(recipe.card.model_dump()),
        **_facts(recipe.model),
        "weights": found.summary()["weights"],
        "recipe": str(found.recipe_file),
        **_result(found.record),
    }


def _card(card: dict[str, Any]) -> dict[str, Any]:
    keys = ("title", "summary", "task", "dataset", "licence", "data_licence")
    return {key: card[key] for key in keys if card.get(key)}


def _facts(config: ModelConfig) -> dict[str, Any]:
    import torch

    from emozoo.cost import count_macs, count_parameters
    from emozoo.model import EmotionModel

    with torch.device("meta"):
        model = EmotionModel(config)
    provider = registry.find("backbone", config.backbone.name)
    return {
        "backbone": model.config.backbone.model_dump(mode="json"),
        "aggregator": model.config.aggregator and model.config.aggregator.model_dump(mode="json"),
        "heads": {key: part.model_dump(mode="json") for key, part in model.config.heads.items()},
        "labels": ", ".join(config.labels),
        "input": f"{config.preprocess.crop} px {config.preprocess.colour}",
        "parameters": count_parameters(model),
        "macs": count_macs(config),
        "provider": f"{provider.distribution} {provider.version} ({provider.target})",
        "requires": model.requires,
    }


def _result(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        return {"result": "not trained yet"}
    result = record["result"]
    values = {
        f"{head}.{part['primary']}": part["metrics"][part["primary"]]["value"] for head, part in result["heads"].items()
    }
    return {"result": {**values, "split": result["split"], "n": result["n"], "tta": result["tta"]}}
