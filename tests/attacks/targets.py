"""What is given bytes from anywhere: each target takes them, and whatever is wrong with them ends in an EmozooError.

`fuzz.py` looks for bytes that break this, `corpus/` keeps those that reach the most of the code, and a test replays
them.
"""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from small import RECIPE, tiny_config

from emozoo import __version__, folder, weights, zoo
from emozoo.card_check import card_problems
from emozoo.card_text import merge_cards
from emozoo.data.preprocess import Preprocessor
from emozoo.data.video import count_frames, read_frames, stream_frames
from emozoo.errors import EmozooError
from emozoo.evaluation.compare import compare_folders
from emozoo.folder import config_text
from emozoo.hub import read_pin
from emozoo.model import EmotionModel
from emozoo.printable import printable
from emozoo.recipe import Preprocess, load_recipe, parse_recipe
from emozoo.training.sweep import load_sweep
from emozoo.trees import override
from emozoo_datasets.fer2013 import Fer2013
from emozoo_datasets.videos import Videos

CARD = "---\nlibrary_name: emozoo\ntags: [emozoo]\n---\n# A\n"


@functools.cache
def place() -> Path:
    """A folder for this process; a name per target keeps them apart."""
    folder = tempfile.mkdtemp(prefix="emozoo-attacks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def written(name: str, data: bytes) -> Path:
    path = place() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def recipe(data: bytes) -> None:
    """A recipe file; one that is read says the same once its defaults are written down."""
    read = load_recipe(written("recipe.toml", data))
    assert parse_recipe(read.resolved()).resolved() == read.resolved()
    override(read.resolved(), ["train.epochs=3"])


def sweep(data: bytes) -> None:
    """A sweep file; its variants lie in its folder."""
    for variant in islice(load_sweep(written("sweep.toml", data)).variants(), 100):
        assert (place() / variant.name).parent == place()


def assignment(data: bytes) -> None:
    """A value of --set."""
    override({"train": {"consistency": [{}]}, "name": "a"}, [data.decode("utf-8", "replace")])


def config(data: bytes) -> None:
    """A config.json; a model that can be built of it has the config that it was built of."""
    path = written("config/config.json", data)
    tree = folder.read_config(path.parent)
    folder.check_requirements(tree.pop("requires"), path.parent)
    model = weights.build(folder._config(tree, path.parent), "meta")
    again = written("config/config.json", config_text(model.config, model.requires, __version__).encode())
    whole = folder.read_config(again.parent)
    del whole["requires"]
    assert folder._config(whole, again.parent) == model.config


def manifest(data: bytes) -> None:
    """A manifest.json; it names nothing outside its folder."""
    for name in folder.read_manifest(written("manifest/manifest.json", data).parent):
        assert name in (*folder.REQUIRED, folder.RUN)
    folder.check_manifest(place() / "manifest")


@functools.cache
def state() -> dict:
    small = {"backbone": {"name": "resnet18", "width": 1}, "heads": {"vad": {"name": "vad"}}}
    model = EmotionModel(tiny_config(**small))
    return {name: value for name, value in model.state_dict().items() if name.startswith("heads")}


def header(data: bytes) -> None:
    """A safetensors file; one that is read has the tensors of the model and no other."""
    path = written("model.safetensors", data)
    weights._check_header(state(), path)
    stored = load_file(path)
    assert {name: value.shape for name, value in stored.items()} == {n: v.shape for n, v in state().items()}
    weights._check_numbers(stored, path)


SQUARES = [
    Preprocessor(Preprocess(size=8, crop=8)),
    Preprocessor(Preprocess(size=8, crop=8, fit="pad", colour="rgb", mean=(0.5,) * 3, std=(0.5,) * 3)),
    Preprocessor(Preprocess(size=8, crop=8, fit="stretch")),
]


def image(data: bytes) -> None:
    """An image file."""
    for preprocessor in SQUARES:
        assert preprocessor.decode(data).shape[1:] == (8, 8)


def video(data: bytes) -> None:
    """A video file, looked at in every way."""
    path = written("video", data)
    for read in (
        count_frames,
        lambda p: read_frames(p, np.array([0, 5])),
        lambda p: list(islice(stream_frames(p), 20)),
    ):
        with suppress(EmozooError):
            read(path)


def card(data: bytes) -> None:
    """A card, alone and in the place where another is to be published."""
    text = data.decode("utf-8", "replace")
    for problem in card_problems(text):
        assert isinstance(problem, str)
    merged = merge_cards(text, CARD)
    assert merge_cards(merged, CARD) == merged


def record(data: bytes) -> None:
    """A run.json, in comparisons and in the zoo's list."""
    path = written("entry/run.json", data)
    written("entry/recipe.toml", RECIPE.encode())
    entry = zoo.Entry("entry", path.parent, "emozoo-fuzz")
    for read in (entry.summary, lambda: compare_folders([path, path])):
        with suppress(EmozooError):
            read()


def pin(data: bytes) -> None:
    """A pin.json."""
    read_pin(written("pin/pin.json", data).parent)


def table(data: bytes) -> None:
    """A CSV, as FER2013 and as a list of videos."""
    path = written("table/fer2013.csv", data)
    for read in (lambda: Fer2013(path).read(), lambda: Fer2013(path).check(), lambda: Videos(path).read()):
        with suppress(EmozooError):
            read()


def text(data: bytes) -> None:
    """Text for the terminal."""
    whole = data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace")
    safe = printable(whole)
    assert printable(safe) == safe
    assert json.loads(printable(json.dumps(whole, ensure_ascii=False))) == whole


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (
        recipe, sweep, assignment, config, manifest, header, image, video, card, record, pin, table, text
    )
}  # fmt: skip


def take(name: str, data: bytes) -> type[EmozooError] | None:
    """Give bytes to a target; return the error that refused them, or None. Anything else is a bug."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            TARGETS[name](data)
        except EmozooError as error:
            return type(error)
        except UnicodeDecodeError:
            if name != "text":
                raise
    return None
