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

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo.errors import CorruptModelError, MissingPluginError, RecipeError, UnknownComponentError
from emozoo.recipe import CONFIG_FORMAT, ModelConfig, config_text, explain

if TYPE_CHECKING:
    import torch

    from emozoo.model import EmotionModel

CONFIG, WEIGHTS, GOLDEN, RUN, MANIFEST, CARD = (
    "config.json",
    "model.safetensors",
    "golden.safetensors",
    "run.json",
    "manifest.json",
    "README.md",
)
REQUIRED = (CONFIG, WEIGHTS, GOLDEN)
JSON_LIMIT = 32 << 20
"""Bytes above which a JSON file of a model folder is refused unread."""
GOLDEN_TOLERANCE = 1e-4
"""Largest difference, relative to the largest golden output, between machines that `verify` accepts."""


def save_model(model: EmotionModel, folder: Path, run: Mapping[str, Any] | None = None, card: str = "") -> Path:
    """Write a model folder. It appears complete or not at all; an existing one of the same name is replaced.

    Args:
        model: the model; its weights are stored as they are.
        folder: where to.
        run: the run record, if there is one.
        card: the text of README.md, if there is any.
    """
    from safetensors.torch import save_file

    from emozoo import __version__

    if folder.exists() and not (folder / MANIFEST).exists() and any(folder.iterdir()):
        raise CorruptModelError(f"{folder} exists and is not a model folder; it is left as it is. Give another place.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        staging.chmod(0o755)
        (staging / CONFIG).write_text(config_text(model.config, model.requires, __version__), encoding="utf-8")
        save_file(_stored(model), staging / WEIGHTS, metadata={"format": "pt"})
        save_file(golden(model), staging / GOLDEN, metadata={"format": "pt"})
        if run is not None:
            (staging / RUN).write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if card:
            (staging / CARD).write_text(card, encoding="utf-8")
        write_manifest(staging)
        _replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _replace(staging: Path, folder: Path) -> None:
    """Put a finished folder in the place of an old one; the old one survives a failure."""
    old = staging.with_name(staging.name + ".old")
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(staging, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _stored(model: EmotionModel) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def golden(model: EmotionModel) -> dict[str, torch.Tensor]:
    """Return a fixed input and what the model makes of it, on the CPU in single precision."""
    import numpy as np
    import torch

    from emozoo.model import evaluating

    side = model.preprocessor.config.size
    pixels = np.random.default_rng(0).integers(0, 256, (2, model.preprocessor.config.channels, side, side), np.uint8)
    images = torch.from_numpy(pixels)
    device = next(model.parameters()).device
    with evaluating(model):
        outputs = model.cpu().predict_outputs(images)
    model.to(device)
    return {"input": images} | {f"output.{name}": value.clone() for name, value in outputs.items()}


def write_manifest(folder: Path) -> None:
    """Write size and sha256 of the folder's files."""
    names = [name for name in (*REQUIRED, RUN) if (folder / name).exists()]
    files = {name: {"size": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in names}
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Return a file's sha256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_model(folder: Path, device: str = "auto") -> EmotionModel:
    """Read a model folder: verified, built on the meta device, its weights memory-mapped and checked one by one.

    Args:
        folder: the model folder.
        device: "auto" (a GPU where there is one), "cpu", "cuda:0", ...

    Raises:
        CorruptModelError: a file is missing, damaged, or does not belong to the others; says which and what to do.
        MissingPluginError: a component's plugin is not installed, with the pip line.
    """
    import torch

    from emozoo.model import EmotionModel

    check_manifest(folder)
    tree = read_config(folder)
    check_requirements(tree.pop("requires"), folder)
    config = _config(tree, folder)
    try:
        with torch.device("meta"):
            model = EmotionModel(config)
    except (RecipeError, UnknownComponentError) as error:
        raise CorruptModelError(f"{folder / CONFIG} does not describe a model that can be built: {error}") from error
    _assign(model, folder / WEIGHTS)
    return model.to(resolve_device(device)).eval()


def resolve_device(device: str) -> torch.device:
    """Return the device that a name means; "auto" is a GPU where there is one."""
    import torch

    if device != "auto":
        try:
            return torch.device(device)
        except RuntimeError as error:
            raise RecipeError(f"device {device!r}: write auto, cpu, cuda or cuda:N ({str(error).splitlines()[0]})") from None
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_manifest(folder: Path) -> None:
    """Compare every file with the manifest; what was checked before and has not been touched is not read again.

    Raises:
        CorruptModelError: a file is missing, unlisted, or not the one that was saved.
    """
    if not folder.is_dir():
        raise CorruptModelError(f"there is no model folder {folder}")
    listed = _read_json(folder / MANIFEST).get("files")
    if not isinstance(listed, dict) or not all(_is_row(row) for row in listed.values()):
        raise CorruptModelError(f"{folder / MANIFEST} is not a manifest. {_WAY_OUT}")
    for name in REQUIRED:
        if name not in listed:
            raise CorruptModelError(f"{folder / MANIFEST} does not list {name}. {_WAY_OUT}")
    if (folder / RUN).exists() and RUN not in listed:
        raise CorruptModelError(f"{folder / MANIFEST} does not list {RUN}. {_WAY_OUT}")
    for name, row in listed.items():
        if name not in (*REQUIRED, RUN):
            raise CorruptModelError(f"{folder / MANIFEST} lists {name!r}, which no model folder holds. {_WAY_OUT}")
        _check_file(folder / name, row)


_WAY_OUT = "Fetch or save the model again."


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("size"), int) and isinstance(row.get("sha256"), str)


def _check_file(path: Path, row: Mapping[str, Any]) -> None:
    from emozoo.stamps import is_stamped, stamp

    if not path.is_file():
        raise CorruptModelError(f"{path} is missing. {_WAY_OUT}")
    size = path.stat().st_size
    if size != row["size"]:
        raise CorruptModelError(f"{path} has {size:,} bytes, the manifest says {row['size']:,}. {_WAY_OUT}")
    if is_stamped(path, row["sha256"]):
        return
    if sha256(path) != row["sha256"]:
        raise CorruptModelError(f"{path} is damaged: its sha256 is not the manifest's. {_WAY_OUT}")
    stamp(path, row["sha256"])


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CorruptModelError(f"{path} is missing. {_WAY_OUT}")
    if path.stat().st_size > JSON_LIMIT:
        raise CorruptModelError(f"{path} is larger than {JSON_LIMIT >> 20} MiB, which no model folder needs")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptModelError(f"{path} is not valid JSON ({error}). {_WAY_OUT}") from None
    if not isinstance(tree, dict):
        raise CorruptModelError(f"{path} holds no table. {_WAY_OUT}")
    return tree


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json of a format this version reads, without `format` and `emozoo_version`."""
    from emozoo import __version__

    tree = _read_json(folder / CONFIG)
    version = tree.pop("format", None)
    if version != CONFIG_FORMAT:
        newer = isinstance(version, int) and version > CONFIG_FORMAT
        way_out = "pip install -U emozoo" if newer else _WAY_OUT
        raise CorruptModelError(f"{folder / CONFIG} has format {version!r}, emozoo {__version__} reads {CONFIG_FORMAT}: {way_out}")
    tree.pop("emozoo_version", None)
    if not isinstance(tree.get("requires"), dict):
        raise CorruptModelError(f"{folder / CONFIG} lacks `requires`. {_WAY_OUT}")
    return tree


def _config(tree: Mapping[str, Any], folder: Path) -> ModelConfig:
    from pydantic import ValidationError

    missing = [key for key in ModelConfig.model_fields if key not in tree]
    if missing:  # nothing that a model was saved with may be filled in by a default
        raise CorruptModelError(f"{folder / CONFIG} lacks {', '.join(missing)}. {_WAY_OUT}")
    try:
        return ModelConfig.model_validate(tree)
    except ValidationError as error:
        raise CorruptModelError(f"{folder / CONFIG}:\n{explain(error, ModelConfig, '')}") from None


def check_requirements(requires: Mapping[str, str], folder: Path) -> None:
    """Check that every distribution a model needs is installed in a fitting version, before anything is built."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    for name, wanted in requires.items():
        try:
            installed = version(name)
            fits = SpecifierSet(wanted).contains(installed, prereleases=True)
        except PackageNotFoundError:
            installed, fits = "not installed", False
        except (InvalidSpecifier, TypeError, ValueError):
            raise CorruptModelError(f"{folder / CONFIG}: requires.{name} is {wanted!r}, no version range") from None
        if not fits:
            raise MissingPluginError(
                f'{folder} needs {name}{wanted} ({installed}): pip install "{name}{wanted}"'
            )


def _assign(model: EmotionModel, path: Path) -> None:
    """Check the file's header against the model, then map its tensors into it.

    Raises:
        CorruptModelError: names every missing, unexpected or misshapen tensor.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    expected = {name: (tuple(value.shape), value.dtype) for name, value in model.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        problems = _differences({name: shape for name, (shape, _) in expected.items()}, stored)
        if problems:
            raise CorruptModelError(f"{path} does not fit {CONFIG}:\n" + "\n".join(problems))
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CorruptModelError(f"{path} is not a readable safetensors file ({error}). {_WAY_OUT}") from None
    for name, value in tensors.items():
        if value.dtype != expected[name][1]:
            raise CorruptModelError(f"{path}: {name} is {value.dtype}, the model needs {expected[name][1]}")
    model.load_state_dict(tensors, assign=True)
    left = [name for name, value in _all_tensors(model) if value.is_meta]
    if left:
        raise CorruptModelError(f"{path} holds no values for the buffers {', '.join(left)}; make them persistent")


def _all_tensors(model: EmotionModel) -> list[tuple[str, torch.Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _differences(expected: Mapping[str, tuple[int, ...]], stored: Mapping[str, tuple[int, ...]]) -> list[str]:
    lines = [f"  missing: {name} {shape}" for name, shape in expected.items() if name not in stored]
    lines += [f"  unexpected: {name} {shape}" for name, shape in stored.items() if name not in expected]
    lines += [
        f"  {name}: stored {stored[name]}, the model has {shape}"
        for name, shape in expected.items()
        if name in stored and stored[name] != shape
    ]
    return lines


def verify_golden(model: EmotionModel, folder: Path) -> float:
    """Recompute the golden outputs and return the largest relative difference.

    Raises:
        CorruptModelError: an output is missing, or differs by more than `GOLDEN_TOLERANCE`.
    """
    from safetensors.torch import load_file

    stored, computed = load_file(folder / GOLDEN), golden(model)
    if stored.keys() != computed.keys():
        raise CorruptModelError(f"{folder / GOLDEN} holds {sorted(stored)}, the model gives {sorted(computed)}")
    worst = 0.0
    for name in computed:
        scale = float(stored[name].double().abs().max()) or 1.0
        worst = max(worst, float((stored[name].double() - computed[name].double()).abs().max()) / scale)
    if worst > GOLDEN_TOLERANCE:
        raise CorruptModelError(f"{folder}: golden outputs differ by {worst:.1e}, allowed is {GOLDEN_TOLERANCE:.0e}")
    return worst
