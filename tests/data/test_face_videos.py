"""Videos of whole scenes as training sees them: one face, found once and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from moving_squares import LABELS, Moving
from scenes import SIDE, Script, Scripted, frame_folder, scenes, standing

from emozoo.data import media as media_module
from emozoo.data.preprocess import Preprocessor
from emozoo.data.samples import Samples, load_samples
from emozoo.data.sampling import All
from emozoo.errors import DataError, EmozooWarning
from emozoo.prediction.faces import FaceDetector
from emozoo.recipe import Preprocess

SHAPE = Preprocessor(Preprocess(size=24, crop=20, face_margin=0.1))


def found_by(script: Script, **settings: Any) -> FaceDetector:
    return FaceDetector("tests:scripted", {}, Scripted(script), settings)


def load(detector: FaceDetector | None, *folders: Path, shape: Preprocessor = SHAPE, **more: Any) -> Samples:
    text, label = Value("string"), ClassLabel(names=list(LABELS))
    columns: dict[str, list[Any]] = {"id": [f.name for f in folders], "video": [str(f) for f in folders]}
    columns |= {"split": ["train"] * len(folders), "label": [0] * len(folders)}
    features = Features({"id": text, "video": text, "split": text, "label": label})
    rows = Dataset.from_dict(columns, features=features)
    return load_samples(rows, LABELS, shape, sampling=All(name="all"), detector=detector, **more)


def frames_of(samples: Samples, number: int = 0) -> torch.Tensor:
    return samples.fetch(torch.tensor([number])).x[0, 0]


def test_the_face_that_is_seen_longest_is_cut_out_with_the_models_margin(tmp_path: Path) -> None:
    """It walks; for four frames it is missed; it comes late and goes early. Another one stands there for a while."""
    walks = {n: (10 + 2 * n, 20) for n in range(3, 27)}
    script = {n: [walks[n]] for n in walks if not 10 <= n < 14}
    for n in range(8):
        script[n] = [(110, 50), *script.get(n, [])]
    pictures = scenes(30, script)
    samples = load(found_by(script), frame_folder(tmp_path / "v", pictures))
    side = round(SIDE * 1.2)
    for n, frame in enumerate(frames_of(samples)):
        left, top = walks[min(max(n, 3), 26)]
        left, top = left + SIDE // 2 - side // 2, top + SIDE // 2 - side // 2
        rows, columns = np.arange(top, top + side).clip(0, 95), np.arange(left, left + side).clip(0, 159)
        assert torch.equal(frame, SHAPE.decode(pictures[n][rows][:, columns])), f"frame {n}"


def test_a_video_without_a_face_is_taken_whole_with_a_warning(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "landscape", scenes(4, {}))
    with pytest.warns(EmozooWarning, match="landscape: no face is found in it, so it is taken whole"):
        samples = load(found_by({}), folder)
    assert torch.equal(frames_of(samples), frames_of(load(None, folder)))


def test_crops_are_made_once_and_kept_for_whoever_wants_the_same(tmp_path: Path) -> None:
    script = standing(5, (30, 30))
    folder, cache = frame_folder(tmp_path / "v", scenes(5, script)), tmp_path / "cache"
    detector = found_by(script, threshold=0.7)
    looked_at: list[int] = getattr(detector.detector, "looked_at")  # noqa: B009 the contract's detectors have none
    first = load(detector, folder, cache=cache)
    assert looked_at == [0, 1, 2, 3, 4]
    again = load(detector, folder, cache=cache)
    assert len(looked_at) == 5, "looked for once"
    assert torch.equal(frames_of(first), frames_of(again))
    load(found_by(script, threshold=0.9), folder, cache=cache)
    load(detector, folder, cache=cache, shape=Preprocessor(Preprocess(size=24, crop=20)))
    load(None, folder, cache=cache)
    assert len(list(cache.iterdir())) == 4, "another threshold, another margin, no detector: other crops"


def test_the_fingerprint_tells_how_faces_were_found(tmp_path: Path) -> None:
    script = standing(3, (30, 30))
    folder = frame_folder(tmp_path / "v", scenes(3, script))
    detectors = [None, found_by(script), found_by(script, threshold=0.5), found_by(script, threshold=0.5)]
    prints = [load(detector, folder).fingerprint for detector in detectors]
    assert len(set(prints)) == 3
    assert prints[2] == prints[3]


def test_what_fits_nowhere_needs_a_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = standing(3, (30, 30))
    folder = frame_folder(tmp_path / "v", scenes(3, script))
    monkeypatch.setattr(media_module, "MEMORY_BUDGET", 0)
    with pytest.raises(DataError, match=r"give a folder to keep them in: data\.cache"):
        load(found_by(script), folder)
    assert load(found_by(script), folder, cache=tmp_path / "cache").media.held


def test_faces_are_looked_for_in_videos_on_disk_alone() -> None:
    reader: Any = Moving(None)
    with pytest.raises(DataError, match=r"data\.detector .* videos on disk"):
        load_samples(
            reader.read(), LABELS, SHAPE, sampling=All(name="all"), reader=reader, detector=found_by({})
        )
