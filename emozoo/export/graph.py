"""A model as one graph, from uint8 pixels to raw outputs, with cropping and normalisation in it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from emozoo.data.sampling import NOMINAL_FRAMES, Sampling
from emozoo.errors import ExportError
from emozoo.model import EmotionModel
from emozoo.recipe import ModelConfig


class Graph(nn.Module):
    """What `predict_outputs` computes without test-time augmentation, as a module that can be traced."""

    def __init__(self, model: EmotionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, media: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Map uint8 media (N, ..., C, size, size), and a video's mask, to each head's raw output (N, K)."""
        views = self.model.preprocessor.views(media)
        return tuple(self.model(views.flatten(0, 1), mask).heads.values())


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced model.

    Attributes:
        program: torch's graph of it.
        inputs: names and shapes of the inputs: sizes, or words for those that may vary.
        outputs: names and shapes of the outputs, the model's heads.
        example: an input.
    """

    program: torch.export.ExportedProgram
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    example: dict[str, Tensor]


def example(config: ModelConfig, batch: int) -> tuple[Tensor, Tensor | None]:
    """Return noise as a model takes it: uint8 images and None, or videos as its sampling makes them and a mask."""
    preprocess = config.preprocess
    shape = (preprocess.channels, preprocess.size, preprocess.size)
    noise = torch.Generator().manual_seed(0)
    if config.sampling is None:
        return torch.randint(0, 256, (batch, *shape), dtype=torch.uint8, generator=noise), None
    mask = torch.from_numpy(config.sampling.sample(NOMINAL_FRAMES).mask).expand(batch, -1, -1).contiguous()
    return torch.randint(0, 256, (*mask.shape, *shape), dtype=torch.uint8, generator=noise), mask


def trace(model: EmotionModel) -> Traced:
    """Trace a model, on the CPU, for any number of images or videos.

    Where the sampling gives every video the same number of clips and frames, all of them real, there is no mask.

    Raises:
        ExportError: torch cannot trace it, or its backbone sees clips that the sampling makes of different lengths.
    """
    media, mask = example(model.config, 2)
    words = {0: "batch", **_open_axes(model.config.sampling)}
    given = {"images" if mask is None else "videos": media}
    if mask is not None and _may_pad(model.config.sampling):
        if model.input_kind == "clips":
            raise ExportError(
                "this model's backbone sees the real frames of clips of any length, which no fixed graph picks out; "
                "export needs a model.sampling whose clips are all of one length: clips, segments or uniform"
            )
        given["mask"] = mask
    inputs = {name: _shape(value, words) for name, value in given.items()}
    dims = {word: torch.export.Dim(word) for word in words.values()}
    shapes = [{axis: dims[word] for axis, word in words.items()} for _ in given]
    try:
        with quiet():
            program = torch.export.export(
                Graph(model).eval(), (*given.values(),), dynamic_shapes=tuple(shapes), strict=False
            )
    except Exception as error:  # torch raises whatever the part of a model that it stumbles on raises
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(
            f"torch.export cannot trace this model ({type(error).__name__}: {reason})"
        ) from error
    _forget_sources(program)
    heads: Any = model.heads
    return Traced(program, inputs, {name: ("batch", heads[name].out_features) for name in heads}, given)


def _open_axes(sampling: Sampling | None) -> dict[int, str]:
    """Return the axes of a video whose size depends on its length, with their names."""
    if sampling is None:
        return {}
    short, long = (sampling.sample(frames).index.shape for frames in (1, 10_000))
    return {axis + 1: word for axis, word in enumerate(("clips", "frames")) if short[axis] != long[axis]}


def _may_pad(sampling: Sampling | None) -> bool:
    """Say whether videos of one batch may differ in length, or have frames that are not there."""
    return sampling is not None and bool(_open_axes(sampling) or not sampling.sample(1).mask.all())


def _shape(tensor: Tensor, words: dict[int, str]) -> tuple[int | str, ...]:
    return tuple(words.get(axis, size) for axis, size in enumerate(tensor.shape))


def _forget_sources(program: torch.export.ExportedProgram) -> None:
    """Remove file names and lines of code, which torch notes beside every operation, and the example input."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
                node.meta.pop(key, None)
    program.example_inputs = None


@contextmanager
def quiet() -> Generator[None]:
    """Keep from the user what tracing and quantising log about how they go about it."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
