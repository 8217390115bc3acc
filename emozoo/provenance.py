"""Where a loaded model came from, so that a figure can be traced to exactly the weights it is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's weights came from, and which they are.

    Attributes:
        name: what it was asked for by: "mini-fer2013", "hub:org/name@revision"; of a folder its last name alone, so
            that no record holds a path.
        sha256: of model.safetensors.
        folder: the model folder on this machine, which is part of no record.
        repo: the repository of the Hub, "org/name", if they came from there.
        commit: the repository's commit, 40 hexadecimal digits.
    """

    name: str
    sha256: str
    folder: Path
    repo: str | None = None
    commit: str | None = None

    def record(self) -> dict[str, str]:
        """Return what is known, as JSON values."""
        known = {"name": self.name, "repo": self.repo, "commit": self.commit, "sha256": self.sha256}
        return {key: value for key, value in known.items() if value is not None}

    def __str__(self) -> str:
        place = f" (hub:{self.repo}@{self.commit})" if self.repo else ""
        return f"{self.name}{place}, weights sha256 {self.sha256}"
