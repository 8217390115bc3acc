"""Fresh environments: wheels built without a network and installed next to this environment's packages."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

BUILD = """
import sys
from hatchling.builders.wheel import WheelBuilder
for root in sys.argv[2:]:
    list(WheelBuilder(root).build(directory=sys.argv[1], versions=["standard"]))
"""


def call(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user of another checkout would: nothing of this environment's variables shows."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "EMOZOO_PLUGINS", "PIP_CONSTRAINT")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment | variables, capture_output=True, text=True
    )


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    done = call(*command, cwd=cwd, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheels(roots: Sequence[Path], out: Path) -> list[Path]:
    """Build the wheels of packages that hatchling builds."""
    run(sys.executable, "-c", BUILD, out, *roots, cwd=out)
    return sorted(out.glob("*.whl"))


def environment(home: Path, wheels: Sequence[Path]) -> Path:
    """Make an environment with wheels installed, and return its Python.

    Their dependencies are this environment's packages: a line of a .pth file puts their folder on sys.path without
    reading the .pth files in it, so that an editable installation of the checkout is not seen.
    """
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", *wheels, cwd=home)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')", cwd=home))
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(paths)) + "\n")
    return python
