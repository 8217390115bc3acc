"""Checkpoints of the CEFLNet and FAN authors' code, as model folders.

A checkpoint is a pickle, which can hold any code: it is read by torch's reader for weights, which knows tensors and
plain containers alone. What the model is comes from a recipe; the file must hold exactly that recipe's tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo.card import BEGIN, END, HERE, json_yaml
from emozoo.errors import ConversionError
from emozoo.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from torch import Tensor

    from emozoo.model import EmotionModel


@dataclass(frozen=True)
class Layout:
    """How the authors' code names what a model of emozoo holds.

    Attributes:
        names: patterns of emozoo's names and what replaces them, the first that matches.
        last: the layer with one output a category.
        unused: layers that the file may hold and the model has no use for.
    """

    names: Mapping[str, str]
    last: str
    unused: tuple[str, ...]

    def theirs(self, name: str) -> str:
        """Return the authors' name of one of emozoo's tensors."""
        for pattern, replacement in self.names.items():
            if re.match(pattern, name):
                return re.sub(pattern, replacement, name, count=1)
        return name


_BODY = {r"(backbone|aggregator)\.": ""}
_LINEAR = r"heads\.\w+\.layers\.\d+\."
CEFLNET = Layout(
    {**_BODY, r"heads\.\w+\.layers\.5\.": "classifier.5.0.", r"heads\.\w+\.layers\.": "classifier."},
    last="classifier.5.0",
    unused=("fc2",),
)
FAN = Layout({**_BODY, _LINEAR: "pred_fc2."}, last="pred_fc2", unused=("pred_fc1",))
FAN_SELF = Layout({**_BODY, _LINEAR: "pred_fc1."}, last="pred_fc1", unused=("pred_fc2", "beta.0"))

FAMILIES = {"ceflnet": ("ceflnet-dfew", "ceflnet-mmi"), "fan": ("fan-afew",)}
"""The zoo entries behind a short name: the first with as many labels as the file has outputs is taken."""


@dataclass(frozen=True)
class Converted:
    """A checkpoint that has become a model folder.

    Attributes:
        folder: the model folder.
        recipe: the recipe that says what the model is, with the labels as they were given.
        dropped: the file's tensors that no output depends on, left out.
    """

    folder: Path
    recipe: Recipe
    dropped: tuple[str, ...]


def convert(
    file: str | Path,
    to: str,
    *,
    labels: Sequence[str] | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Converted:
    """Read a checkpoint of the authors' code and save it as a model folder.

    Args:
        file: what their `torch.save` wrote: a state dict, or a table with one under `state_dict`.
        to: "ceflnet" or "fan", a zoo entry of that architecture, or a recipe file.
        labels: the category names in the order of the file's outputs; the recipe's where not given.
        name: what the model is called; the recipe's name where not given.
        out: the model folder; models/NAME where not given.
        overrides: "model.aggregator.relation=false" and the like, for the recipe.

    Raises:
        ConversionError: the file holds more than weights, or not exactly the weights of this architecture.
        RecipeError: the recipe is wrong.
    """
    from emozoo.folder import save_model
    from emozoo.model import create

    file = Path(file)
    stored = read_checkpoint(file)
    if labels is not None:
        overrides = [*overrides, f"model.labels={json.dumps(list(labels), ensure_ascii=False)}"]
    recipe = _recipe(file, to, stored, overrides)
    model = create(recipe)
    dropped = _fill(model, layout_of(recipe), stored, file)
    name = name or recipe.name
    folder = Path("models") / name if out is None else Path(out)
    save_model(model.eval(), folder, card=_card(name, recipe, file, dropped))
    return Converted(folder, recipe, dropped)


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by the authors' names, without running anything that the file asks for.

    Raises:
        ConversionError: there is no such file, it is not torch's, it asks for code, or holds no state dict.
    """
    import torch

    if not file.is_file():
        raise ConversionError(f"there is no file {file}")
    try:
        tree = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes of others do to the reader
        raise ConversionError(_unread(file, error)) from None
    state = tree.get("state_dict", tree) if isinstance(tree, dict) else tree
    if not isinstance(state, dict) or not state:
        raise ConversionError(f"{file} holds no state dict, neither itself nor under `state_dict`")
    wrong = [
        f"{key!r} ({type(value).__name__})" for key, value in state.items() if not _is_weight(key, value)
    ]
    if wrong:
        raise ConversionError(
            f"{file}: a state dict holds dense tensors by name, this one {', '.join(wrong)}"
        )
    wrapped = all(key.startswith("module.") for key in state)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in state.items()}


def _unread(file: Path, error: Exception) -> str:
    code = re.search(r"GLOBAL ([\w.]+)", str(error))
    if code is None:
        return (
            f"{file} is nothing that torch reads as weights ({type(error).__name__}): it is damaged, or was not "
            "written by torch.save. Fetch it again, whole."
        )
    return (
        f"{file} holds more than weights: to read it, {code[1]} would have to be called, and a file can call anything "
        "that way. It was not read and nothing of it was run. Ask its author for the state dict alone, as written by "
        "torch.save(model.state_dict(), FILE)."
    )


def _is_weight(key: Any, value: Any) -> bool:
    import torch

    dense = isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_meta
    return isinstance(key, str) and dense


def layout_of(recipe: Recipe) -> Layout:
    """Return how the authors' code names the tensors of a recipe's model.

    Raises:
        ConversionError: it is no architecture whose published names are known.
    """
    part = recipe.model.aggregator
    kind = part.name.rpartition(":")[2] if part is not None else "none"
    if kind not in FAMILIES or part is None:
        raise ConversionError(
            f"{recipe.name} has the aggregator {kind}: known are checkpoints of {' and '.join(FAMILIES)}"
        )
    if kind == "ceflnet":
        return CEFLNET
    return FAN if part.options.get("relation", True) else FAN_SELF


def _recipe(file: Path, to: str, stored: Mapping[str, Tensor], overrides: Sequence[str]) -> Recipe:
    """Return the recipe that `to` means, with as many labels as the file has outputs."""
    recipes = [load_recipe(name, overrides) for name in FAMILIES.get(to, (to,))]
    last = stored.get(f"{layout_of(recipes[0]).last}.bias")
    if last is None:
        return recipes[0]  # what the file lacks is told with all else that does not fit
    outputs = last.numel()
    for recipe in recipes:
        if len(recipe.model.labels) == outputs:
            return recipe
    known = "; ".join(f"{recipe.name}: {', '.join(recipe.model.labels)}" for recipe in recipes)
    raise ConversionError(
        f"{file} has {outputs} outputs, and the labels are {len(recipes[0].model.labels)} ({known}). Name all "
        f"{outputs} in the file's order: --labels a,b,... (the CEFLNet code has seven outputs for datasets of six "
        "categories, too; call the last one unused)."
    )


def _fill(model: EmotionModel, layout: Layout, stored: Mapping[str, Tensor], file: Path) -> tuple[str, ...]:
    """Load a file's tensors into a model; return the names of those that it has no use for."""
    import torch

    state = model.state_dict()
    ours = {layout.theirs(name): name for name in state}
    unused = {f"{layer}.{part}" for layer in layout.unused for part in ("weight", "bias")}
    dropped = tuple(key for key in stored if key in unused)
    given = {ours.get(key, key): value for key, value in stored.items() if key not in dropped}
    for name, value in state.items():  # files of torch before 0.4.1 lack what nothing is computed from
        if name.endswith("num_batches_tracked"):
            given.setdefault(name, torch.zeros_like(value))
    problems = _problems(state, given, layout)
    if problems:
        raise ConversionError(f"{file} does not hold the weights of this model:\n" + "\n".join(problems))
    model.load_state_dict(given)
    return dropped


def _problems(state: Mapping[str, Tensor], given: Mapping[str, Tensor], layout: Layout) -> list[str]:
    lines = [f"  missing: {layout.theirs(name)} {_kind(state[name])}" for name in state if name not in given]
    lines += [f"  unexpected: {name} {_kind(given[name])}" for name in given if name not in state]
    return lines + [
        f"  {layout.theirs(name)}: the file has {_kind(given[name])}, the model {_kind(value)}"
        for name, value in state.items()
        if name in given and _kind(given[name]) != _kind(value)
    ]


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _card(name: str, recipe: Recipe, file: Path, dropped: Sequence[str]) -> str:
    """Return the card of a converted model, which says where it is from and that nothing of it was measured."""
    from emozoo.hashing import sha256

    header = {
        "library_name": "emozoo",
        "pipeline_tag": "video-classification",
        **({"data_license": recipe.card.data_licence} if recipe.card.data_licence else {}),
        "tags": ["emozoo", "facial-expression-recognition", "classification"],
    }
    left_out = f" Left out, since no output depends on it: {', '.join(dropped)}." if dropped else ""
    return f"""---
{json_yaml(header)}
---
{BEGIN}
# {name}

Weights from a checkpoint of the authors' code, in the architecture of the recipe `{recipe.name}`.

```python
import emozoo

model = emozoo.load("{HERE}")
```

| | |
|---|---|
| file | `{file.name}`, sha256 `{sha256(file)}` |
| labels, in the order of the outputs | {", ".join(recipe.model.labels)} |
| input | {recipe.model.preprocess.crop} px {recipe.model.preprocess.colour} crops of one face, pixels in [0, 1] |

The order of the labels is not in the file: it was taken from the recipe or from whoever converted it.{left_out}

**emozoo has measured nothing on these weights**, and no figure that is published for this architecture is claimed for
them. `emozoo eval` measures them on data that you have. Their terms are those of whoever trained them, and of the data.
{END}
"""
