"""A model folder: what is in it, how it is written, and how it is read back exactly or not at all.

    config.json          registry names and plain options, labels, preprocessing
    model.safetensors    the weights
    golden.safetensors   an input and what the model made of it
    run.json             the record of the run that made it, where there was one
    manifest.json        size and sha256 of each of these
    README.md            the card, for people; not covered by the manifest, so that it may be edited

A folder holds names and numbers, never code.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo import registry
from emozoo.device import Dtype, resolve_device, resolve_dtype
from emozoo.errors import (
    ContractError,
    CorruptModelError,
    EmozooError,
    MissingPluginError,
    RecipeError,
    UnknownComponentError,
)
from emozoo.hashing import matches, sha256
from emozoo.layout import CARD, CONFIG, GOLDEN, MANIFEST, MODEL, REQUIRED, RUN, WEIGHTS
from emozoo.provenance import Source
from emozoo.recipe import ModelConfig
from emozoo.trees import explain, read_tree, write_tree

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from emozoo.model import EmotionModel
    from emozoo.weights import Store

CONFIG_FORMAT = 1
"""Format number of config.json; a later format comes with a migration from each earlier one."""

_WAY_OUT = "Fetch or save the model again."


def save_model(
    model: EmotionModel,
    folder: Path,
    run: Mapping[str, Any] | None = None,
    card: str = "",
    *,
    store: Store = "fp32",
) -> Path:
    """Write a model folder. It appears complete or not at all; an older one in its place is replaced.

    What was written is read back and run before it is put in place, so that there is no folder that cannot be
    loaded.

    Args:
        model: the model, in single precision.
        folder: where to.
        run: the run record, if there is one.
        card: the text of README.md, if there is any.
        store: "fp32" stores the weights as they are, "fp16" rounded to half precision, in half the bytes. Whatever
            is loaded again computes in single precision, and the golden outputs are those of the rounded weights.

    Raises:
        CorruptModelError: the place holds something that is no model folder, and is left as it is.
        ContractError: the model, read back, is not the model: config and weights do not describe it.
        RecipeError: weights cannot be stored so.
    """
    if store not in ("fp32", "fp16"):
        raise RecipeError(f"store is {store!r}: weights are stored in fp32 or fp16")
    target = folder.resolve()
    check_place(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    outer = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        staging = outer / target.name
        staging.mkdir()
        _write(model, staging, run, card, store)
        _replace(staging, target, outer / "old")
    finally:
        shutil.rmtree(outer, ignore_errors=True)
    return folder


def check_place(target: Path) -> None:
    """Check that a model may be written to a place: there is nothing, or a model.

    Raises:
        CorruptModelError: the place holds something else.
    """
    if not target.exists():
        return
    held = {path.name for path in target.iterdir()} - {".DS_Store"} if target.is_dir() else {""}
    if held and (MANIFEST not in held or not held <= {*REQUIRED, RUN, MANIFEST, CARD}):
        raise CorruptModelError(
            f"{target} exists and is not a model folder, or holds more than one; it is left as it is. "
            "Give another place."
        )


def _write(
    model: EmotionModel, staging: Path, run: Mapping[str, Any] | None, card: str, store: Store
) -> None:
    from safetensors.torch import save_file

    from emozoo import __version__
    from emozoo.golden import difference, golden
    from emozoo.weights import rounded, stored_weights

    (staging / CONFIG).write_text(config_text(model.config, model.requires, __version__), encoding="utf-8")
    try:
        _check_types(model)
        save_file(stored_weights(model, store), staging / WEIGHTS, metadata={"format": "pt"})
        copy, _ = _read(staging)
        outputs = golden(copy)
        difference(golden(rounded(model, store)), outputs)
    except (EmozooError, RuntimeError, ValueError) as error:
        raise ContractError(f"this model cannot be saved as its config and weights: {error}") from error
    save_file(outputs, staging / GOLDEN, metadata={"format": "pt"})
    if run is not None:
        write_tree(staging / RUN, run)
    if card:
        (staging / CARD).write_text(card, encoding="utf-8")
    write_manifest(staging)
    for name in (WEIGHTS, GOLDEN):  # safetensors makes files that their owner alone can read
        shutil.copymode(staging / CONFIG, staging / name)


def config_text(config: ModelConfig, requires: Mapping[str, str], version: str) -> str:
    """Return config.json of a model: the same bytes for the same model, whatever made it."""
    tree = {
        "format": CONFIG_FORMAT,
        "emozoo_version": version,
        "requires": dict(sorted(requires.items())),
        **config.model_dump(mode="json"),
    }
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _replace(staging: Path, target: Path, old: Path) -> None:
    """Put a finished folder in the place of an old one; the old one survives a failure."""
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(staging, target)
    except BaseException:
        if old.exists():
            os.replace(old, target)
        raise


def _check_types(model: EmotionModel) -> None:
    """Check that a model runs in the precision that it is built in: else its weights are not all there."""
    from emozoo.weights import build

    built = build(model.config, "meta").state_dict()
    for name, value in model.state_dict().items():
        if name in built and value.dtype != built[name].dtype:
            raise ContractError(
                f"{name} is {value.dtype}, the model that is loaded has {built[name].dtype}; save a model that was "
                'loaded with dtype="fp32"'
            )


def write_manifest(folder: Path) -> None:
    """Write size and sha256 of the folder's files."""
    paths = [folder / name for name in (*REQUIRED, RUN) if (folder / name).exists()]
    files = {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in paths}
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path, device: str = "auto", dtype: Dtype = "fp32") -> EmotionModel:
    """Read a model folder: verified, built without weights, then given those of the file, memory-mapped.

    Args:
        folder: the model folder.
        device: "auto" (a GPU where there is one), "cpu", "cuda:0", ...
        dtype: the precision it computes in, "fp32", "bf16" or "fp16", whatever its weights are stored as.

    Raises:
        CorruptModelError: a file is missing, damaged, or does not belong to the others; says which.
        MissingPluginError: a component's plugin is not installed, with the pip line, or has no such component.
        RecipeError: there is no such device or precision.
    """
    place, precision = resolve_device(device), resolve_dtype(dtype)
    if not folder.is_dir():
        raise CorruptModelError(f"there is no model folder {folder}")
    read_config(folder)  # a newer format says so, rather than that its files are not those of this one
    check_manifest(folder)
    model, exact = _read(folder)
    if not exact:
        verify_golden(model, folder)
    model.source = Source(folder.resolve().name, read_manifest(folder)[WEIGHTS]["sha256"], folder)
    return model.to(place, precision).eval()


def check_manifest(folder: Path) -> None:
    """Compare every file with the manifest; what was checked before and is untouched is not read again.

    Raises:
        CorruptModelError: a file is missing, unlisted, or not the one that was saved.
    """
    listed = read_manifest(folder)
    for name in (*REQUIRED, *([RUN] if (folder / RUN).exists() else [])):
        if name not in listed:
            raise CorruptModelError(f"{folder / MANIFEST} does not list {name}. {_WAY_OUT}")
    for name, row in listed.items():
        check_file(folder / name, row)


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the size and sha256 of each file that the manifest lists; the files themselves are not looked at.

    Raises:
        CorruptModelError: it is no manifest, or it lists what is no file of a model folder: names lead nowhere else.
    """
    listed = _read_json(folder / MANIFEST).get("files")
    if not isinstance(listed, dict) or not all(_is_row(row) for row in listed.values()):
        raise CorruptModelError(f"{folder / MANIFEST} is not a manifest. {_WAY_OUT}")
    for name in listed:
        if name not in (*REQUIRED, RUN):
            raise CorruptModelError(
                f"{folder / MANIFEST} lists {name!r}, which no model folder holds. {_WAY_OUT}"
            )
    return listed


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("size"), int) and isinstance(row.get("sha256"), str)


def check_file(path: Path, row: Mapping[str, Any]) -> None:
    """Compare a file with the manifest's row of it; see `check_manifest`."""
    if not path.is_file():
        raise CorruptModelError(f"{path} is missing. {_WAY_OUT}")
    size = path.stat().st_size
    if size != row["size"]:
        raise CorruptModelError(f"{path} has {size:,} bytes, the manifest says {row['size']:,}. {_WAY_OUT}")
    if not matches(path, row["sha256"]):
        raise CorruptModelError(f"{path} is damaged: its sha256 is not the manifest's. {_WAY_OUT}")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        model = path.parent / MODEL
        of_run = f"{path.parent} is a run; its model is dir:{model}"
        raise CorruptModelError(of_run if model.is_dir() else f"{path} is missing. {_WAY_OUT}")
    try:
        return read_tree(path)
    except RecipeError as error:
        raise CorruptModelError(f"{error}. {_WAY_OUT}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json of a format this version reads, without `format` and `emozoo_version`."""
    from emozoo import __version__

    path = folder / CONFIG
    tree = _read_json(path)
    version = tree.pop("format", None)
    if version != CONFIG_FORMAT or isinstance(version, bool):
        newer = isinstance(version, int) and version > CONFIG_FORMAT
        way_out = "pip install -U emozoo" if newer else _WAY_OUT
        raise CorruptModelError(
            f"{path} has format {version!r}, emozoo {__version__} reads {CONFIG_FORMAT}: {way_out}"
        )
    tree.pop("emozoo_version", None)
    if not isinstance(tree.get("requires"), dict):
        raise CorruptModelError(f"{path} lacks `requires`. {_WAY_OUT}")
    return tree


def _read(folder: Path) -> tuple[EmotionModel, bool]:
    """Return the model of config and weights, and whether these say it all; see `emozoo.weights`.

    They do not of a component whose distribution is not among the requirements: it may have any version.
    """
    tree = read_config(folder)
    requires = tree.pop("requires")
    check_requirements(requires, folder)
    config = _config(tree, folder)
    from emozoo.weights import assemble

    try:
        model, exact = assemble(config, folder / WEIGHTS)
    except CorruptModelError as error:
        raise CorruptModelError(f"{folder}: {error}\n{_WAY_OUT}") from error
    except UnknownComponentError as error:
        raise MissingPluginError(
            f"{folder} needs a component that is not here, its files are whole: {error} Install the version of the "
            "plugin that the model was saved with."
        ) from error
    return model, exact and model.requires.keys() <= requires.keys()


def _config(tree: Mapping[str, Any], folder: Path) -> ModelConfig:
    from pydantic import ValidationError

    try:
        config = ModelConfig.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raise CorruptModelError(f"{folder / CONFIG}:\n{explain(error, ModelConfig, '', tree)}") from None
    missing = list(_missing(tree, config.model_dump(mode="json")))
    if missing:  # nothing that a model was saved with may be filled in by a default
        raise CorruptModelError(f"{folder / CONFIG} lacks {', '.join(missing)}. {_WAY_OUT}")
    return config


def _missing(written: Mapping[str, Any], whole: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in whole.items():
        if key not in written:
            yield prefix + key
        elif isinstance(value, dict):
            yield from _missing(written[key], value, f"{prefix}{key}.")


def check_requirements(requires: Mapping[str, Any], folder: Path) -> None:
    """Check, before anything is built, that every distribution a model needs is there in a fitting version.

    Raises:
        MissingPluginError: names each that is not, with the pip line.
        CorruptModelError: a requirement is not a distribution's name and a range of its versions.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    lacking: dict[str, str] = {}
    for name, versions in requires.items():
        try:
            wanted = Requirement(f"{name}{versions}")
        except InvalidRequirement:
            wanted = None
        if wanted is None or wanted.name != name or not _is_range(wanted):
            raise CorruptModelError(
                f"{folder / CONFIG}: requires.{name} is {versions!r}, no version range. {_WAY_OUT}"
            )
        if there := registry.unmet(wanted):
            lacking[f"{name}{versions}"] = there
    if lacking:
        found = ", ".join(f"{wanted} ({there})" for wanted, there in lacking.items())
        raise MissingPluginError(f"{folder} needs {found}: pip install {shlex.join(lacking)}")


def _is_range(wanted: Requirement) -> bool:
    """Say whether a requirement is a name and a range of versions; after `===` a shell's own signs may stand."""
    exact = any(part.operator == "===" for part in wanted.specifier)
    return str(wanted) == f"{wanted.name}{wanted.specifier}" and not exact


def verify_golden(model: EmotionModel, folder: Path) -> float:
    """Recompute the golden outputs and return the largest relative difference.

    Raises:
        CorruptModelError: the file is not what this model gives, within `emozoo.golden.TOLERANCE`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from emozoo.golden import difference, golden

    path = folder / GOLDEN
    try:
        stored = load_file(path)
        if "input" not in stored:
            raise CorruptModelError("it holds no input")
        return difference(stored, golden(model, stored["input"]))
    except CorruptModelError as error:
        raise CorruptModelError(f"{path}: {error}. {_WAY_OUT}") from error
    except (SafetensorError, OSError) as error:
        raise CorruptModelError(
            f"{path} is no safetensors file that can be read ({error}). {_WAY_OUT}"
        ) from None
