"""The zoo: which models there are, and how a name becomes a model.

An entry is a folder of `cards/`, or of a plugin's package that the entry-point group `emozoo.models` names, with
recipe.toml and, once it has been trained, the record of the run. Listing reads metadata, TOML and JSON only; no
plugin is imported.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo import registry
from emozoo.errors import (
    AmbiguousComponentError,
    EmozooWarning,
    RecipeError,
    UnknownModelError,
    WeightsUnavailableError,
    suggest,
)
from emozoo.hub import fetch, parse, read_pin
from emozoo.hub_client import HubModel
from emozoo.layout import RECIPE, RUN, WEIGHTS
from emozoo.records import find_record
from emozoo.trees import read_as, read_tree

if TYPE_CHECKING:
    from emozoo.device import Dtype
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
        return self.folder / RECIPE

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe as written, unchecked."""
        return read_tree(self.recipe_file)

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """The record of the run that the card's figures come from, if there has been one."""
        return find_record(self.folder)

    @property
    def weights(self) -> Path | None:
        """The folder with the weights, where they are part of the installation."""
        return self.folder if (self.folder / WEIGHTS).is_file() else None

    @cached_property
    def pin(self) -> HubModel | None:
        """Where on the Hub the weights are, if they have been published."""
        return read_pin(self.folder)

    def summary(self) -> dict[str, Any]:
        """Return what `emozoo list` shows, as JSON values."""
        with read_as("a recipe (emozoo recipe show says more)", self.recipe_file, RecipeError):
            model, data, card = self.recipe["model"], self.recipe["data"], self.recipe.get("card", {})
            texts = {
                "title": card.get("title", ""),
                "task": card.get("task", "image"),
                "dataset": card.get("dataset") or data["name"],
                "backbone": model["backbone"]["name"],
                "licence": card.get("licence", ""),
            }
            heads = [part["name"] for part in model["heads"].values()]
            if not all(isinstance(text, str) for text in (*texts.values(), *heads)):
                raise TypeError("a name or a word of the card is no text")
        return {
            "name": self.name,
            **texts,
            "heads": heads,
            "provider": self.provider,
            "weights": "bundled" if self.weights else str(self.pin or "not published"),
            "result": self._result(),
        }

    def _result(self) -> dict[str, Any] | None:
        if self.record is None:
            return None
        with read_as("the record of a run", self.folder / RUN):
            final = self.record["result"]
            name, measure = next(iter(final["heads"].items()))
            metric = measure["primary"]
            value = measure["metrics"][metric]["value"]
            return {
                "metric": f"{name}.{metric}",
                "value": None if value is None else float(value),
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
    """Yield the zoo's entries: emozoo's own by name, then those of plugins, by distribution.

    Emozoo's own are never shadowed: an entry of a plugin whose name is not unique is called "distribution:name".
    """
    found = [*_own_entries(), *_plugin_entries()]
    count = Counter(item.name for item in found)
    for item in found:
        unique = count[item.name] == 1 or item.provider == registry.HOME
        yield item if unique else replace(item, name=f"{item.provider}:{item.name}")


def _own_entries() -> Iterator[Entry]:
    for path in sorted(cards_folder().glob(f"*/{RECIPE}")):
        yield Entry(path.parent.name, path.parent, registry.HOME)


def _plugin_entries() -> Iterator[Entry]:
    for distribution, packages in sorted(registry.model_packages().items()):
        folders = {folder for package in packages for folder in _folders(package)}
        for path in sorted(path for folder in folders for path in folder.glob(f"*/{RECIPE}")):
            yield Entry(path.parent.name, path.parent, distribution)


def _folders(package: str) -> Iterator[Path]:
    """Yield where a package keeps zoo entries, its folder `cards` or else itself, without importing any of it."""
    from importlib.util import find_spec

    top, *inner = package.split(".")
    try:
        spec = find_spec(top)  # of "a.b" it would import a
    except (ImportError, ValueError):
        return
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place, *inner)
        yield folder / "cards" if (folder / "cards").is_dir() else folder


def entry(name: str) -> Entry:
    """Return the zoo entry of a name, or of "distribution:name".

    Raises:
        UnknownModelError: names the nearest ones.
        AmbiguousComponentError: several plugins provide the name.
    """
    provider, _, short = name.rpartition(":")
    provider = registry.normalise(provider)
    found = [item for item in _own_entries() if item.name == short and provider in ("", item.provider)]
    found = found or [i for i in _plugin_entries() if i.name == short and provider in ("", i.provider)]
    if not found:
        known = [item.name for item in entries()]
        raise UnknownModelError(
            f"the zoo has no model {name!r}.{suggest(name, known)} It has: {', '.join(known) or 'none'}. "
            "A folder is dir:PATH; `emozoo list` shows all."
        )
    if len({item.provider for item in found}) > 1:
        providers = " and ".join(item.provider for item in found)
        choices = " or ".join(f"{item.provider}:{short}" for item in found)
        raise AmbiguousComponentError(f"model {short!r} is provided by {providers}; write {choices}")
    return found[0]


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
    rows = [row for item in entries() if (row := _summary(item)) is not None]
    rows = [row for row in rows if all(value in (None, row[key]) for key, value in wanted.items())]
    return [row for row in rows if head is None or head in row["heads"]]


def _summary(item: Entry) -> dict[str, Any] | None:
    """Return an entry's summary; of a plugin's broken one, nothing but a warning."""
    try:
        return item.summary()
    except Exception as error:  # whatever the files of others may hold
        if item.provider == registry.HOME:
            raise
        warnings.warn(
            f"model {item.name!r} of {item.provider} is left out: {type(error).__name__}: {error}",
            EmozooWarning,
            stacklevel=3,
        )
        return None


def load(
    source: str | Path,
    device: str = "auto",
    *,
    dtype: Dtype = "fp32",
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> EmotionModel:
    """Load a model.

    Args:
        source: a zoo name ("mini-fer2013", or "zoo:mini-fer2013"), a model of the Hub ("hub:org/name", or
            "hub:org/name@revision"), or a model folder: "dir:PATH", a path that starts with ".", "/" or "~", or a
            `Path`. Other text is never taken for a folder.
        device: "auto" (a GPU where there is one), "cpu", "cuda:0", ...
        dtype: the precision that it computes in: "fp32", "bf16" or "fp16". Predictions are single-precision numbers
            in any case; those of reduced precision differ in the third digit or so.
        revision: a branch, tag or commit of a model of the Hub; a commit that is cached loads with no request.
        cache_dir: the Hub's cache folder, if not the usual one.
        token: an access token of the Hub, if not the one logged in with; False for none.
        local_files_only: ask the Hub nothing.

    Raises:
        UnknownModelError: the name means nothing; says how names are written.
        WeightsUnavailableError: the zoo knows the model but its weights are not published; names the ways on.
        CorruptModelError: the folder is not exactly what was saved.
        MissingPluginError: a plugin is not installed, with the pip line.
        HubError: the Hub does not give the model; its subclasses say whether it is unknown, gated, or out of reach.
    """
    from emozoo.folder import load_model

    found = locate(source, revision)
    folder, repo = _fetched(found, cache_dir=cache_dir, token=token, local_files_only=local_files_only)
    model = load_model(folder, device, dtype)
    if not isinstance(found, Path) and model.source is not None:
        name = found.name if isinstance(found, Entry) else str(found)
        model.source = replace(model.source, name=name, repo=repo, commit=folder.name if repo else None)
    return model


def model_folder(source: str | Path) -> Path:
    """Return the model folder that a name or path means, downloaded if need be; see `load`."""
    return _fetched(locate(source))[0]


def _fetched(found: Entry | Path | HubModel, **access: Any) -> tuple[Path, str | None]:
    """Return a model folder, downloaded if need be, and the repository that it is a commit of, if it is.

    Args:
        found: what a name means.
        access: to the Hub, as `emozoo.hub.fetch` takes it.
    """
    if isinstance(found, Path):
        return found, None
    if isinstance(found, Entry):
        if found.weights is not None:
            return found.weights, None
        if found.pin is None:
            raise WeightsUnavailableError(_no_weights(found))
        found = found.pin
    return fetch(found, **access), found.repo


def called(source: str | Path, folder: Path) -> str:
    """Return what a model is called: by its entry of the zoo, by the recipe of its run, or else by its folder.

    Args:
        source: as `load` takes it.
        folder: the model folder that it means, which is there by now.
    """
    found = locate(source)
    if isinstance(found, Entry):
        return found.name.rpartition(":")[2]
    # a record of others may name any path
    return Path(str((find_record(folder) or {}).get("name", ""))).name or folder.resolve().name


def locate(source: str | Path, revision: str | None = None) -> Entry | Path | HubModel:
    """Return what a name means, a zoo entry, a folder or a model of the Hub, without looking whether it is there.

    Raises:
        UnknownModelError: it means none of these.
    """
    name = str(source)
    scheme, colon, rest = name.partition(":")
    if scheme == "hub" and rest and not isinstance(source, Path):
        return parse(rest, revision)
    if revision is not None:
        raise UnknownModelError(
            f"{name} has no revision {revision!r}: only a model of the Hub (hub:org/name) has"
        )
    if isinstance(source, Path) or name.startswith((".", "/", "~")) or (colon and len(scheme) == 1):
        return Path(name).expanduser()
    if "/" not in name and (not colon or _provides(scheme)):
        return entry(name)
    if scheme == "zoo" and rest:
        return entry(rest)
    if scheme == "dir" and rest:
        return Path(rest).expanduser()
    hint = f" (a model of the Hub is hub:{name})" if name.count("/") == 1 and not colon else ""
    raise UnknownModelError(
        f"{name!r} is neither a zoo name nor a path{hint}: `emozoo list` shows the names; a folder is dir:PATH"
    )


def _provides(distribution: str) -> bool:
    """Say whether a distribution provides zoo entries; the words of schemes are not distributions."""
    name = registry.normalise(distribution)
    return name == registry.HOME or (name not in ("zoo", "hub", "dir") and name in registry.model_packages())


def _no_weights(found: Entry) -> str:
    from emozoo.convert import FAMILIES

    terms = found.recipe.get("card", {}).get("data_licence", "")
    data = found.recipe["data"]["name"] + (f": {terms}" if terms else "")
    ways = [f"train it: emozoo train {found.name} --data FOLDER   ({data})"]
    if (found.recipe["model"].get("aggregator") or {}).get("name") in FAMILIES:
        ways.append(
            f"convert a checkpoint of the authors' code: emozoo convert FILE.pth.tar --to {found.name}"
        )
    known = ((found.record or {}).get("weights") or {}).get("sha256")
    ways += [
        "load what someone else has trained: emozoo.load('dir:PATH') or emozoo.load('hub:ORG/NAME')"
        + (f"   (those of its card have the sha256 {known}; see emozoo verify)" if known else ""),
        f"or build it untrained: emozoo.create({found.name!r})",
    ]
    start = f"{found.name} is in the zoo, but its weights are not published. Ways on:"
    return "\n  ".join([start, *ways])
