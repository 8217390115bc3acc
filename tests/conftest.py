"""Shared fixtures: real data where the variable EMOZOO_DATA names it, one torch thread a test process."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip that says why."""
    folder = os.environ.get("EMOZOO_DATA")
    if not folder:
        pytest.skip("EMOZOO_DATA is not set: no real data to test on")
    if not Path(folder).is_dir():
        pytest.skip(f"EMOZOO_DATA={folder} is not a folder")
    return Path(folder).resolve()
