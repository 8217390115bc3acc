"""A dataset of videos that its reader makes: a square moves to the right, at the top or at the bottom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, Value

LABELS = ("happy", "sad")


class Moving:
    """A reader that makes its videos: a bright square, at the top for happy and at the bottom for sad."""

    title, licence, citation, vad_scale = "moving squares", "none", "this test", None

    def __init__(
        self, root: Path | None, *, count: int = 24, folds: bool = False, where: bool = False
    ) -> None:
        self.count, self.folds, self.where, self.asked = count, folds, where, 0

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return False

    def check(self) -> list[Any]:
        return []

    def read(self) -> Dataset:
        number = range(self.count)
        columns: dict[str, Any] = {
            "id": [f"video-{n}" for n in number],
            "video": [f"{n}" for n in number],
            "frames": [10 + n % 5 for n in number],
            "split": ["all" if self.folds else ("train", "test")[n % 6 > 3] for n in number],
            "label": [int(n % 2) for n in number],
        }
        features = {"id": Value("string"), "video": Value("string"), "frames": Value("int32")}
        features |= {"split": Value("string"), "label": ClassLabel(names=list(LABELS))}
        if self.folds:
            columns["fold"] = [1 + n // 2 % 3 for n in number]
            features["fold"] = Value("int32")
        if self.where:
            columns |= {"start": [n % 7 for n in number], "stop": [n % 7 + 3 for n in number]}
            features |= {"start": Value("int32"), "stop": Value("int32")}
        return Dataset.from_dict(columns, features=Features(features))

    def render(self, video: str, index: np.ndarray) -> np.ndarray:
        self.asked += len(index)
        number = int(video)
        frames = np.zeros((len(index), 24, 24), np.uint8)
        for frame, place in zip(frames, index, strict=True):
            top = 2 if number % 2 == 0 else 14
            frame[top : top + 8, place : place + 8] = 200
            frame[0, 0] = place
        return frames
