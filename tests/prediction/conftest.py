"""Models that tell faces apart, one of images and one of videos; a module may have its own under these names."""

from __future__ import annotations

import pytest
from scenes import CEFLNET, seeing_model

from emozoo.model import EmotionModel


@pytest.fixture(scope="module")
def model() -> EmotionModel:
    return seeing_model()


@pytest.fixture(scope="module")
def video_model() -> EmotionModel:
    return seeing_model(**CEFLNET)
