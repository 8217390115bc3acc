"""Large files that go the Xet way, by the client's own library, in processes that have it switched on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from askers import ALICE

pytest.importorskip("hf_xet")

NAME = "alice/faces"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(hub, tmp_path: Path) -> Run:
    """Return a function that runs the command in a process with Xet, at home in a folder of its own."""

    def emozoo(*arguments: object, home: str = "home") -> subprocess.CompletedProcess[str]:
        settings = {
            "HF_ENDPOINT": hub.url, "HF_TOKEN": ALICE, "HF_HOME": str(tmp_path / home), "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "0", "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "emozoo", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **settings}, check=False
        )
        assert "secret" not in done.stdout + done.stderr
        return done

    return emozoo


def asked(hub, part: str) -> int:
    return sum(part in line for line in hub.requests)


def test_a_model_is_pushed_and_loaded_the_xet_way(hub, folders, run):
    done = run("push", folders[0], NAME)
    assert done.returncode == 0, done.stderr
    assert asked(hub, "POST /v1/xorbs/")
    assert not asked(hub, "PUT /lfs/")
    hub.requests.clear()
    done = run("verify", f"hub:{NAME}", home="elsewhere")
    assert "golden outputs agree to 0.0e+00" in done.stdout, done.stderr
    assert asked(hub, "GET /xorb/") == 2
    assert not asked(hub, "GET /cdn/")


def test_wrong_bytes_of_a_xorb_are_found_and_fetched_once_more_or_named(hub, folders, run):
    assert run("push", folders[0], NAME).returncode == 0
    [(name, right)] = hub.store.xet.xorbs.items()

    def flip() -> None:
        data = hub.store.xet.xorbs[name]
        hub.store.xet.xorbs[name] = data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]

    def mend() -> None:
        hub.store.xet.xorbs[name] = right

    hub.fault("GET /xorb/", before=flip)
    hub.fault("GET /xorb/", before=mend, times=100)
    done = run("verify", f"hub:{NAME}", home="elsewhere")
    assert "golden outputs agree to 0.0e+00" in done.stdout, done.stderr
    assert asked(hub, "GET /xorb/") == 3
    flip()
    hub.faults.clear()
    done = run("verify", f"hub:{NAME}", home="third")
    assert done.returncode == 1
    assert "fetched twice" in done.stderr
    assert not list((Path(folders[0]).parent / "third").rglob("model.safetensors"))


def test_a_push_whose_storage_refuses_leaves_the_branch_alone_and_says_what_to_do(hub, folders, run):
    assert run("push", folders[0], NAME).returncode == 0
    hub.fault("POST /v1/xorbs/", times=100, status=400)
    done = run("push", folders[1], NAME)
    assert done.returncode == 1
    assert "Repeat the same command" in done.stderr
    assert len(hub.store.repos[NAME].commits) == 2
