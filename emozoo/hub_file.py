"""One file of a repository on the Hub, pinned to a commit and a sha256: what a face detector needs."""

from __future__ import annotations

from pathlib import Path

from emozoo.errors import CorruptModelError, OfflineError
from emozoo.hashing import matches
from emozoo.hub_client import Hub, HubModel, connect, explained, persistently, plain_names


def fetch_file(model: HubModel, name: str) -> Path:
    """Return the path of a file in the Hub's cache, downloaded if need be; what is there already costs no request.

    Args:
        model: the repository, pinned to a commit, with the file's sha256.
        name: the file.

    Raises:
        ModelNotFoundError, GatedModelError, OfflineError, HubUnavailableError: the Hub does not give it.
        CorruptModelError: what the Hub gives has another sha256, even when fetched anew.
    """
    hub = connect()
    path = hub.snapshot(model.repo, model.revision) / name
    if path.is_file() and matches(path, model.sha256[name]):
        return path
    if hub.offline:
        raise OfflineError(f"{name} of {model} is not in the cache, and offline mode is on")
    for _ in range(2):
        _remove(path, hub)
        with explained(f"{name} of {model}", hub.url(model.repo)), plain_names():
            persistently(lambda: _download(model, name, hub))
        if path.is_file() and matches(path, model.sha256[name]):
            return path
    _remove(path, hub)
    raise CorruptModelError(
        f"{name} of {model} was fetched twice, and is not the file with sha256 {model.sha256[name]}"
    )


def _download(model: HubModel, name: str, hub: Hub) -> None:
    """Download a file; the question before it fails at once where the download would be tried for half a minute."""
    hub.api.model_info(model.repo, revision=model.revision, timeout=10)
    hub.api.hf_hub_download(model.repo, name, revision=model.revision, cache_dir=hub.cache)


def _remove(path: Path, hub: Hub) -> None:
    """Remove a file of the cache with what its link leads to, but nothing outside of the cache."""
    blob = path.resolve()
    if blob.is_relative_to(hub.cache.resolve()):
        blob.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
