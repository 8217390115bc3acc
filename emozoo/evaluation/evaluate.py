"""Running a model over a split and measuring it."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from emozoo.contracts import Targets
from emozoo.data.media import Batch, Videos
from emozoo.data.preprocess import TTA
from emozoo.data.reading import data_for, folds, open_reader, read, split_names
from emozoo.data.samples import Samples, load_samples
from emozoo.errors import DataError, EmozooWarning, suggest
from emozoo.evaluation.metrics import on_source_scale
from emozoo.evaluation.pictures import check_tsne, draw_features, draw_result
from emozoo.evaluation.report import write_report
from emozoo.evaluation.rich_clips import location_accuracy, true_clip
from emozoo.evaluation.slices import accuracy_by_quality, smaller_faces
from emozoo.evaluation.violations import violations
from emozoo.labels import DIMENSIONS
from emozoo.model import EmotionModel, Output, evaluating
from emozoo.prediction.faces import detector_of
from emozoo.trees import RECORD_LIMIT, read_tree
from emozoo.versions import versions

if TYPE_CHECKING:
    import pyarrow as pa
    from accelerate import Accelerator
    from datasets import Dataset

METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"

RESAMPLES = 1000
"""Bootstrap resamples behind the intervals of a reported result."""

CLIPS = "clip weights"


def run(
    model: EmotionModel,
    samples: Samples,
    *,
    batch_size: int = 256,
    accelerator: Accelerator | None = None,
) -> dict[str, Tensor]:
    """Return each head's raw output (N, K) on the CPU, in the samples' order, in single precision.

    A batch holds `batch_size` images, or as many videos as have so many frames. With several processes each runs
    its share; every sample is counted once, whatever their number.
    """
    return _collect(
        model, samples, lambda output: output.heads, batch_size=batch_size, accelerator=accelerator
    )


def features(model: EmotionModel, samples: Samples) -> Tensor:
    """Return what the heads are given, (N, D'), on the CPU, in the samples' order."""
    return _collect(model, samples, lambda output: {"features": output.features})["features"]


@torch.inference_mode()
def _collect(
    model: EmotionModel,
    samples: Samples,
    pick: Callable[[Output], Mapping[str, Tensor]],
    tta: TTA = "none",
    batch_size: int = 256,
    accelerator: Accelerator | None = None,
) -> dict[str, Tensor]:
    """Return some of what the model says of each sample; see `run`."""
    world, rank = (accelerator.num_processes, accelerator.process_index) if accelerator else (1, 0)
    share = -(-len(samples) // world)
    mine = (torch.arange(share) * world + rank).clamp(max=len(samples) - 1)
    parts: dict[str, list[Tensor]] = defaultdict(list)
    with evaluating(model):
        for _, batch in samples.batches(mine.split(max(1, batch_size // samples.media.frames_each))):
            for name, value in pick(_output(model, batch, tta)).items():
                parts[name].append(value.float())
    outputs = {name: torch.cat(values) for name, values in parts.items()}
    if accelerator is None or world == 1:
        return {name: value.cpu() for name, value in outputs.items()}
    order = accelerator.gather(mine.to(accelerator.device)).cpu()
    gathered = {name: accelerator.gather(value).cpu() for name, value in outputs.items()}
    return {
        name: torch.empty(len(samples), *value.shape[1:]).index_copy_(0, order, value)
        for name, value in gathered.items()
    }


def _output(model: EmotionModel, batch: Batch, tta: TTA) -> Output:
    """Return what the model says of decoded media, or of what a frozen backbone has made of them."""
    if not batch.x.is_floating_point():
        return model.outputs(batch.x, tta, batch.mask)
    batch = batch.to(next(model.parameters()).device)
    return model.aggregate(batch.x, batch.mask)


def measure(
    model: EmotionModel, outputs: dict[str, Tensor], targets: Targets, *, resamples: int = 0
) -> dict[str, Any]:
    """Return {head: its measure and task} for every head that the targets say something about."""
    targets = targets.to("cpu")
    found: dict[str, Any] = {}
    for name, output in outputs.items():
        head = model.heads[name]
        measured = head.measure(output, targets, resamples=resamples)
        if measured["n"]:
            found[name] = {"task": head.task, **measured}
    return found


def evaluate(
    model: EmotionModel,
    samples: Samples,
    *,
    split: str,
    tta: TTA = "none",
    vad_scale: tuple[float, float] | None = None,
    resamples: int = RESAMPLES,
    accelerator: Accelerator | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Run and measure a model on one split: (result as JSON values, raw outputs by head).

    With the scale (low, high) of the dataset's VAD annotation, errors are given on that scale too.
    """
    found = _collect(model, samples, _with_clips(samples), tta, accelerator=accelerator)
    outputs = {name: found[name] for name in model.heads}
    heads = measure(model, outputs, samples.targets, resamples=resamples)
    if not heads:
        raise DataError(f"split {split!r} has no targets for any head of this model")
    for measured in heads.values():
        if {"dimensions", "baseline"} <= measured.keys() and vad_scale not in (None, (-1, 1)):
            measured["source_scale"] = on_source_scale(measured, vad_scale)
    result = {
        "split": split,
        "n": len(samples),
        "tta": tta,
        "resamples": resamples,
        "heads": heads,
        "consistency": violations(model, outputs, samples.targets),
    }
    category = next((name for name, part in heads.items() if part["task"] == "classification"), None)
    if category is not None:
        result["quality"] = accuracy_by_quality(outputs[category], samples, resamples=resamples)
    if CLIPS in found and samples.extents is not None:
        truth = rich_clips(samples)
        seen = truth >= 0
        if seen.any():
            located = location_accuracy(
                found[CLIPS][torch.from_numpy(seen)], truth[seen], resamples=resamples
            )
            result["rich_clips"] = located | {"unseen": int((~seen).sum())}
    return result, outputs


def _with_clips(samples: Samples) -> Callable[[Output], Mapping[str, Tensor]]:
    """Return what picks the heads' outputs, and the clips' weights where it is known which clip is right.

    That is asked where all videos have equally many clips, more than one: else chance and the map would mean nothing.
    """
    videos, clips = samples.media, set[int]()
    if samples.extents is not None and isinstance(videos, Videos):
        clips = {len(videos.sampling.sample(count).index) for count in set(videos.counts)}

    def pick(output: Output) -> Mapping[str, Tensor]:
        if output.clip_weights is None or len(clips) != 1 or clips == {1}:
            return output.heads
        return output.heads | {CLIPS: output.clip_weights}

    return pick


def rich_clips(samples: Samples) -> np.ndarray:
    """Return which clip of each video shows most of its expression (N,), -1 where none shows any of it.

    Raises:
        DataError: the samples are no videos of which it is known where the expression is.
    """
    videos = samples.media
    if samples.extents is None or not isinstance(videos, Videos):
        raise DataError("it is not known where in these samples the expression is")
    sampled = [videos.sampling.sample(count) for count in videos.counts]
    clips = [
        true_clip(start, stop, each.index, each.mask)
        for (start, stop), each in zip(samples.extents.tolist(), sampled, strict=True)
    ]
    return np.asarray([-1 if clip is None else clip for clip in clips])


def predictions_table(model: EmotionModel, samples: Samples, outputs: dict[str, Tensor]) -> pa.Table:
    """Return predictions and truth, one row a sample: `id`, then `<head>.<what>` columns.

    A classification head gives `.label`, `.true` and `.p_<label>`; a VAD head gives `.<dimension>` and
    `.<dimension>_true`.
    """
    import pyarrow as pa

    columns: dict[str, Sequence[Any]] = {"id": samples.ids}
    category, vad = samples.targets.category.tolist(), samples.targets.vad.cpu()
    for name, output in outputs.items():
        head = model.heads[name]
        decoded = head.decode(output)
        if head.task == "classification":
            columns[f"{name}.label"] = [row["label"] for row in decoded]
            columns[f"{name}.true"] = [None if index < 0 else model.labels[index] for index in category]
            for label in model.labels:
                columns[f"{name}.p_{label}"] = [row["probabilities"][label] for row in decoded]
        elif head.task == "vad":
            for column, dimension in enumerate(head.dimensions):
                columns[f"{name}.{dimension}"] = output[:, column].tolist()
                true = vad[:, DIMENSIONS.index(dimension)].tolist()
                columns[f"{name}.{dimension}_true"] = [None if value != value else value for value in true]
    return pa.table(columns)


def evaluate_on_disk(
    model: EmotionModel,
    data: Path | None,
    folder: Path,
    *,
    name: str,
    split: str | None = None,
    reader: str | None = None,
    options: Sequence[str] = (),
    tta: TTA = "none",
    fold: int | None = None,
    tsne: bool = False,
    face_size: int | None = None,
) -> dict[str, Any]:
    """Measure a model on a dataset and write what was found.

    Args:
        model: the model.
        data: the dataset's folder or file; None for a reader that needs none.
        folder: where metrics.json, predictions.parquet, report.md, report.html and the pictures go.
        name: what the model is called in the report.
        split: which split; may be None where the dataset has one alone, and for the test split of a fold.
        reader: the dataset's reader, where it is not recognised.
        options: options of the reader, "vad=annotations.csv" and the like, and `labels`, `cache` and `detector` as
            in a recipe's table [data].
        tta: test-time augmentation.
        fold: of a dataset with folds, the one that is the split "test".
        tsne: also draw the samples by their features, brought to the plane by t-SNE.
        face_size: measure as if each face had been so many pixels wide, fewer than the model sees.

    Raises:
        DataError: no reader recognises the dataset; it has several splits, or folds, and none is named; the folder
            cannot be written to, or holds the measurement of something else; t-SNE needs what is not installed.
    """
    if tsne:
        check_tsne()
    table = data_for(data, reader, options)
    opened, detector = open_reader(table), detector_of(table.detector)
    rows = read(opened, table.name)
    index, chosen = _rows_of(rows, split, fold)
    if model.config.sampling is not None and "image" in rows.column_names:
        warnings.warn(
            f"{name} is a model of videos, {opened.title} holds images: each is measured as a video of one frame. "
            "Is --reader missing?",
            EmozooWarning,
            stacklevel=2,
        )
    samples = load_samples(
        rows.select(index), model.labels, model.preprocessor, table.labels,
        sampling=model.config.sampling, reader=opened, detector=detector,
        cache=None if table.cache is None else Path(table.cache).expanduser(),
    )  # fmt: skip
    samples = samples if face_size is None else smaller_faces(samples, face_size)
    facts = {
        "name": name,
        "source": model.source and model.source.record(),
        "dataset": opened.title,
        "reader": [table.name, *options],
        **({"faces": detector.record()} if detector else {}),
        **({} if face_size is None else {"face_size": face_size}),
        "fingerprint": samples.fingerprint,
        "versions": versions(),
    }
    _claim(folder, {**facts, "split": chosen, "tta": tta})
    result, outputs = evaluate(model, samples, split=chosen, tta=tta, vad_scale=opened.vad_scale)
    result = {**facts, **result}
    write_predictions(folder, model, samples, outputs)
    (folder / METRICS).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    pictures = draw_result(
        folder, model, samples, outputs, result
    )  # whatever becomes of them, the figures are there
    pictures += draw_features(folder, features(model, samples), samples, model.labels) if tsne else []
    write_report(result, folder, pictures)
    return result


def _claim(folder: Path, facts: Mapping[str, Any]) -> None:
    """Make the folder of a measurement; one that holds the measurement of something else is left alone."""
    if (folder / METRICS).is_file():
        held = read_tree(folder / METRICS, DataError, RECORD_LIMIT)
        keys = ("source", "dataset", "reader", "faces", "face_size", "fingerprint", "split", "tta")
        other = [
            f"{key} {held.get(key)}, not {facts.get(key)}" for key in keys if held.get(key) != facts.get(key)
        ]
        if other:
            raise DataError(
                f"{folder} holds the measurement of something else ({'; '.join(other)}); name another folder with "
                "--out, or remove that one"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} is no folder that can be written to ({error.strerror}); name another with --out"
        ) from error


def _rows_of(rows: Dataset, split: str | None, fold: int | None) -> tuple[list[int], str]:
    """Return the row numbers of a split, and how it is called in a record."""
    by_fold = fold is not None or (split == "test" and "test" not in rows["split"] and folds(rows))
    named = split_names(rows, fold) if by_fold else list(rows["split"])
    splits = sorted(set(named))
    if split is None and fold is None and len(splits) > 1:
        raise DataError(f"name a split with --split; the dataset has {', '.join(splits)}")
    chosen = split or ("test" if fold is not None else splits[0])
    if chosen not in splits:
        raise DataError(
            f"the dataset has no split {chosen!r}.{suggest(chosen, splits)} It has: {', '.join(splits)}"
        )
    of_fold = "" if fold is None else f" of fold {fold}"
    return [i for i, value in enumerate(named) if value == chosen], chosen + of_fold


def write_predictions(
    folder: Path, model: EmotionModel, samples: Samples, outputs: dict[str, Tensor]
) -> None:
    """Write predictions.parquet: predictions beside the truth, one row a sample."""
    import pyarrow.parquet as pq

    pq.write_table(predictions_table(model, samples, outputs), folder / PREDICTIONS)
