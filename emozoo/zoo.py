"""The zoo: which models there are, and how a name becomes a model.

An entry is a folder of `cards/` with recipe.toml, and, once it has been trained, the record of the run. Listing
reads TOML and JSON only; nothing is imported.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo.errors import UnknownModelError, WeightsUnavailableError, suggest

if TYPE_CHECKING:
    from emozoo.model import EmotionModel


@dataclass(frozen=True)
class Entry:
    """A model of the zoo, as its folder describes it."""

    name: str
    folder: Path
    provider: str

    @property
    def recipe_file(self) -> Path:
        """The entry's recipe."""
        return self.folder / "recipe.toml"

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe as written, unchecked."""
        return tomllib.loads(self.recipe_file.read_text(encoding="utf-8"))

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """The record of the run that the card's figures come from, if there has been one."""
        path = self.folder / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    @property
    def weights(self) -> Path | None:
        """The folder with the weights, where they are part of the installation."""
        return self.folder if (self.folder / "model.safetensors").is_file() else None

    def summary(self) -> dict[str, Any]:
        """Return what `emozoo list` shows, as JSON values."""
        card = self.recipe.get("card", {})
        heads = self.recipe["model"]["heads"]
        return {
            "name": self.name,
            "title": card.get("title", ""),
            "task": card.get("task", "image"),
            "dataset": card.get("dataset") or self.recipe["data"]["name"],
            "backbone": self.recipe["model"]["backbone"]["name"],
            "heads": [part["name"] for part in heads.values()],
            "licence": card.get("licence", ""),
            "provider": self.provider,
            "weights": "bundled" if self.weights else "not published",
            "result": self._result(),
        }

    def _result(self) -> dict[str, Any] | None:
        if self.record is None:
            return None
        final = self.record["result"]
        name, measure = next(iter(final["heads"].items()))
        metric = measure["primary"]
        return {
            "metric": f"{name}.{metric}",
            "value": measure["metrics"][metric]["value"],
            "split": final["split"],
            "n": measure["n"],
            "tta": final["tta"],
        }


def cards_folder() -> Path:
    """Return the folder of zoo entries, installed or in a checkout."""
    package = Path(__file__).parent
    installed = package / "cards"
    return installed if installed.is_dir() else package.parent / "cards"


def entries() -> Iterator[Entry]:
    """Yield the zoo's entries by name."""
    for path in sorted(cards_folder().glob("*/recipe.toml")):
        yield Entry(path.parent.name, path.parent, "emozoo")


def entry(name: str) -> Entry:
    """Return a zoo entry.

    Raises:
        UnknownModelError: names the nearest ones.
    """
    known = {item.name: item for item in entries()}
    if name not in known:
        raise UnknownModelError(
            f"the zoo has no model {name!r}.{suggest(name, known)} It has: {', '.join(known)}. "
            "A folder is dir:PATH; `emozoo list` shows all."
        )
    return known[name]


def list_models(
    task: str | None = None, dataset: str | None = None, backbone: str | None = None, head: str | None = None
) -> list[dict[str, Any]]:
    """Return the zoo's models as JSON values, offline.

    Args:
        task: "image" or "video".
        dataset: the dataset a model was trained on, "fer2013" and the like.
        backbone: a backbone's registry name.
        head: a head's registry name that a model must have.
    """
    wanted = {"task": task, "dataset": dataset, "backbone": backbone}
    return [
        row
        for row in (item.summary() for item in entries())
        if all(value in (None, row[key]) for key, value in wanted.items()) and (head is None or head in row["heads"])
    ]


def load(source: str | Path, device: str = "auto") -> EmotionModel:
    """Load a model.

    Args:
        source: a zoo name ("mini-fer2013", or "zoo:mini-fer2013"), or a model folder ("dir:PATH" or a `Path`).
        device: "auto" (a GPU where there is one), "cpu", "cuda:0", ...

    Raises:
        UnknownModelError: the name means nothing; says how names are written.
        WeightsUnavailableError: the zoo knows the model but its weights are not published; names the ways on.
        CorruptModelError: the folder is not exactly what was saved.
        MissingPluginError: a plugin is not installed, with the pip line.
    """
    from emozoo.folder import load_model

    return load_model(model_folder(source), device)


def model_folder(source: str | Path) -> Path:
    """Return the model folder that a name or path means."""
    scheme, _, rest = ("dir", "", str(source)) if isinstance(source, Path) else str(source).partition(":")
    if scheme == "dir" and rest:
        return Path(rest).expanduser()
    if scheme == "hub" and rest:
        raise UnknownModelError(
            f"{source}: this version does not load from the Hub yet; download the folder and load dir:PATH"
        )
    name = rest if scheme == "zoo" and rest else str(source)
    if name.startswith((".", "/", "~")) or (len(scheme) == 1 and rest):
        return Path(name).expanduser()
    if "/" in name:
        raise UnknownModelError(f"{name!r} is neither a zoo name nor a path; write dir:{name} for a folder")
    found = entry(name)
    if found.weights is None:
        raise WeightsUnavailableError(_no_weights(found))
    return found.weights


def _no_weights(found: Entry) -> str:
    recipe = found.recipe
    terms = recipe.get("card", {}).get("data_licence", "")
    return (
        f"{found.name} is in the zoo, but its weights are not published. Ways on:\n"
        f"  train it: emozoo train {found.name} --data FOLDER   ({recipe['data']['name']}{': ' + terms if terms else ''})\n"
        f"  load a folder that someone trained: emozoo.load('dir:PATH')\n"
        f"  or build it untrained: emozoo.create({found.name!r})"
    )
