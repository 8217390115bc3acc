"""Models on the Hugging Face Hub: a name is resolved once to a commit, and every file is that commit's, verified.

What is cached and pinned to a commit is loaded without a request. The Hub's client checks only the sizes of what it
downloads; here every file is compared with the model folder's manifest, and with the zoo's pins where there are some.
"""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from emozoo.errors import (
    CorruptModelError,
    EmozooWarning,
    HubError,
    HubUnavailableError,
    OfflineError,
    UnknownModelError,
)
from emozoo.hub_client import COMMIT, Hub, HubModel, connect, explained, persistently, plain_names
from emozoo.layout import CARD, MANIFEST, REQUIRED, RUN
from emozoo.trees import read_tree

PIN = "pin.json"
"""The file of a zoo entry that says where its weights are: repo, revision and sha256 of each file."""
OF_CARD_LIMIT = 100
"""How many records and pictures of a card are fetched with a model."""

OF_CARD = re.compile(r"records/[\w-]+\.json|pictures/[\w-]+\.png")
"""The names of records and pictures that are pushed and fetched with a card."""

_PART = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?P<repo>{_PART}/{_PART}(?<!\.git))(@(?P<revision>[A-Za-z0-9_][\w./+-]*))?")


def parse(text: str, revision: str | None = None) -> HubModel:
    """Return the model that "org/name@revision" means; the revision may be given apart.

    Raises:
        UnknownModelError: it is not written like that, or the Hub can have no such name.
    """
    whole = text + (f"@{revision}" if revision and "@" not in text else "")
    found = _NAME.fullmatch(whole)
    if not found or re.search(r"--|\.\.|//", whole) or (revision or found["revision"]) != found["revision"]:
        given = text if revision is None else f"{text} and revision {revision!r}"
        raise UnknownModelError(
            f"{given}: a model of the Hub is hub:org/name or hub:org/name@revision; org and name are up to 96 of the "
            "signs A-Z a-z 0-9 _ . - each, begin with a letter or digit, do not end in - . or .git, hold no -- or .."
        )
    return HubModel(found["repo"], found["revision"] or "main")


def read_pin(folder: Path) -> HubModel | None:
    """Return where the weights of a zoo entry are, if its folder says so in pin.json.

    Raises:
        CorruptModelError: the file is not {"repo", "revision", "sha256": {file: sha256}} with a 40-digit commit.
    """
    path = folder / PIN
    if not path.is_file():
        return None
    try:
        pin = read_tree(path, CorruptModelError)
        model = replace(parse(pin["repo"], pin["revision"]), sha256=dict(pin["sha256"]))
    except (ValueError, TypeError, KeyError, UnknownModelError) as error:
        raise CorruptModelError(
            f'{path} is not {{"repo", "revision", "sha256": {{file: sha256}}}}: {error!r}'
        ) from None
    if not model.pinned:
        raise CorruptModelError(
            f"{path}: revision {model.revision!r} is not a commit (40 hexadecimal digits)"
        )
    return model


def fetch(
    model: HubModel,
    *,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the folder of a model's files, downloaded if need be, every one of them verified.

    Args:
        model: what to fetch.
        cache_dir: the Hub's cache folder; the client's own where not given.
        token: an access token; the one logged in with where not given; False for none.
        local_files_only: ask the Hub nothing.

    Raises:
        ModelNotFoundError, GatedModelError, OfflineError, HubUnavailableError: the Hub does not give it.
        CorruptModelError: what the Hub gives is not what was pushed or pinned, even when fetched anew.
    """
    hub = connect(cache_dir, token, local_files_only)
    commit = hub.cached_commit(model) if model.pinned or hub.offline else None
    folder = hub.snapshot(model.repo, commit) if commit else None
    if folder is None or not _whole(folder):
        folder = _download_or_cached(model, hub)
    try:
        _check(folder, hub)
    except CorruptModelError as error:
        if hub.offline:
            raise CorruptModelError(f"{error} It is fetched anew when {model} is loaded online.") from error
        folder = _fetch_anew(replace(model, revision=folder.name), folder, hub)
    _check_pins(model, folder)
    return folder


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (*REQUIRED, MANIFEST))


def _download_or_cached(model: HubModel, hub: Hub) -> Path:
    """Download a model; where that cannot be done now, return the copy that its name last meant."""
    try:
        if hub.offline:
            raise OfflineError(f"{model} is not in the cache, and offline mode is on")
        return _download(model, hub)
    except HubUnavailableError as error:
        return _cached_instead(model, hub, error)


def _download(model: HubModel, hub: Hub) -> Path:
    """Look a model up, once, and download what the cache lacks of that commit."""
    with explained(str(model), hub.url(model.repo)):
        info = persistently(lambda: hub.api.model_info(model.repo, revision=model.revision, timeout=10))
    commit, held = str(info.sha), {file.rfilename for file in info.siblings or ()}
    if not COMMIT.fullmatch(commit):
        raise CorruptModelError(f"{model}: {hub.endpoint} names no commit of it; is that a Hub?")
    if lacking := {*REQUIRED, MANIFEST} - held:
        raise CorruptModelError(
            f"{model} is no model that emozoo has pushed: it holds no {', '.join(sorted(lacking))}"
        )
    folder = hub.snapshot(model.repo, commit)
    wanted = [name for name in (*REQUIRED, RUN, CARD) if name in held]
    wanted += sorted(filter(OF_CARD.fullmatch, held))[:OF_CARD_LIMIT]
    wanted.append(MANIFEST)  # last: a copy that has it is whole
    with explained(str(model), hub.url(model.repo)), plain_names():
        for name in wanted:  # what is cached is not asked for
            persistently(
                partial(hub.api.hf_hub_download, model.repo, name, revision=commit, cache_dir=hub.cache)
            )
    hub.remember(model, commit)
    return folder


def _cached_instead(model: HubModel, hub: Hub, error: HubUnavailableError) -> Path:
    """Return the copy that a name meant when it was last looked up, and say so."""
    commit = hub.cached_commit(model)
    if commit is None or not _whole(hub.snapshot(model.repo, commit)):
        raise type(error)(
            f"{error}. Ways on:\n"
            f"  go online and repeat\n"
            f"  where there is a network: emozoo download {model}, and take the cache along (HF_HOME)\n"
            f"  or load a folder: emozoo.load('dir:PATH')"
        ) from None
    warnings.warn(f"{error}; the cached copy of commit {commit} is used", EmozooWarning, stacklevel=2)
    return hub.snapshot(model.repo, commit)


def _check(folder: Path, hub: Hub) -> None:
    from emozoo.folder import check_manifest

    cache = hub.cache.resolve()
    extras = (path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
    for name in (MANIFEST, *REQUIRED, RUN, CARD, *extras):
        if not (folder / name).resolve().is_relative_to(cache):
            raise HubError(
                f"{folder / name} is a link out of the cache {cache}, and is not followed. Remove it."
            )
    check_manifest(folder)


def _fetch_anew(model: HubModel, folder: Path, hub: Hub) -> Path:
    """Replace what is damaged of a cached commit; what comes damaged twice is not kept."""
    _remove_damaged(folder)
    folder = _download(model, hub)
    try:
        _check(folder, hub)
    except CorruptModelError as error:
        _remove_damaged(folder)
        raise CorruptModelError(f"{model} was fetched twice, and this time too: {error}") from error
    return folder


def _remove_damaged(folder: Path) -> None:
    """Remove the manifest, and the files that are not as it says, with what their links lead to."""
    from emozoo.folder import check_file, read_manifest

    damaged = [folder / MANIFEST]
    with suppress(CorruptModelError):
        for name, row in read_manifest(folder).items():
            try:
                check_file(folder / name, row)
            except CorruptModelError:
                damaged.append(folder / name)
    for path in damaged:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _check_pins(model: HubModel, folder: Path) -> None:
    from emozoo.folder import read_manifest

    listed = read_manifest(folder)
    for name, sha256 in model.sha256.items():
        if listed.get(name, {}).get("sha256") != sha256:
            raise CorruptModelError(f"{model}: {name} is not the file that the zoo pins (sha256 {sha256})")


def cached_models() -> list[dict[str, Any]]:
    """Return the emozoo models in the Hub's cache: name, commit, the revisions it is known as, bytes, folder."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(connect().cache).repos
    except CacheNotFound:
        return []
    return [
        {
            "name": f"hub:{repo.repo_id}",
            "commit": revision.commit_hash,
            "known_as": sorted(revision.refs),
            "bytes": revision.size_on_disk,
            "folder": str(revision.snapshot_path),
        }
        for repo in sorted(repos, key=lambda repo: repo.repo_id)
        if repo.repo_type == "model"
        for revision in sorted(repo.revisions, key=lambda revision: revision.commit_hash)
        if _whole(revision.snapshot_path)
    ]
