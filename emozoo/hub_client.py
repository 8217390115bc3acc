"""The way to the Hugging Face Hub: its address, the cache on disk, patience, and errors that say what to do."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from emozoo.errors import (
    EmozooError,
    GatedModelError,
    HubError,
    HubUnavailableError,
    ModelNotFoundError,
    OfflineError,
)
from emozoo.files import complete

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Result = TypeVar("Result")

COMMIT = re.compile(r"[0-9a-f]{40}")
_PLAIN = re.compile(r"[\w-]*")
_WAITS = (0.3, 1.0)
"""Seconds before the second and the third try."""
_BROKEN = {"ReadError", "WriteError", "RemoteProtocolError"}
"""The HTTP library's errors for connections that broke; its name differs between versions of the Hub's client."""


@dataclass(frozen=True)
class HubModel:
    """A model on the Hub: its repository, a branch, tag or commit, and the sha256 its files must have, if known."""

    repo: str
    revision: str = "main"
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which always holds the same files."""
        return COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"hub:{self.repo}" + ("" if self.revision == "main" else f"@{self.revision}")


@dataclass(frozen=True)
class Hub:
    """Where models come from and go to: the Hub's address, the cache on disk, and who asks."""

    endpoint: str
    cache: Path
    token: str | bool | None = field(repr=False)
    offline: bool

    @property
    def api(self) -> HfApi:
        """The Hub's client."""
        from huggingface_hub import HfApi

        from emozoo import __version__

        return HfApi(self.endpoint, token=self.token, library_name="emozoo", library_version=__version__)

    def url(self, repo: str) -> str:
        """Return a repository's page."""
        return f"{self.endpoint}/{repo}"

    def snapshot(self, repo: str, commit: str) -> Path:
        """Return the folder of a commit's files in the cache."""
        return self._storage(repo) / "snapshots" / commit

    def cached_commit(self, model: HubModel) -> str | None:
        """Return the commit that a revision was when it was last looked up."""
        if model.pinned:
            return model.revision
        with suppress(OSError):
            commit = (self._storage(model.repo) / "refs" / model.revision).read_text().strip()
            return commit if COMMIT.fullmatch(commit) else None
        return None

    def remember(self, model: HubModel, commit: str) -> None:
        """Write down which commit a revision is, for when the Hub is out of reach."""
        if model.pinned or self.cached_commit(model) == commit:
            return
        path = self._storage(model.repo) / "refs" / model.revision
        with suppress(OSError), complete(path) as place:  # a cache that cannot be written to is still of use
            place.write_text(commit)

    def _storage(self, repo: str) -> Path:
        return self.cache / f"models--{repo.replace('/', '--')}"


def connect(
    cache_dir: str | Path | None = None, token: str | bool | None = None, local_files_only: bool = False
) -> Hub:
    """Return the Hub that the environment names (HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE), without a request.

    Raises:
        HubError: its address is not encrypted.
    """
    from huggingface_hub import constants

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise HubError(f"HF_ENDPOINT is {endpoint}: tokens are sent to https addresses only")
    cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser().absolute()
    return Hub(endpoint, cache, token, local_files_only or constants.HF_HUB_OFFLINE)


def persistently(call: Callable[[], Result]) -> Result:
    """Return what a call returns; a server's error or a broken connection is worth two more tries."""
    for wait in _WAITS:
        try:
            return call()
        except Exception as error:
            if not _passing(error):
                raise
            time.sleep(wait)
    return call()


@contextmanager
def plain_names() -> Generator[None]:
    """Refuse answers that would make the Hub's client write elsewhere: it names files in its cache by their ETags."""
    from huggingface_hub import get_session

    def check(response: Any) -> None:
        for header in ("etag", "x-linked-etag", "x-repo-commit"):
            value = response.headers.get(header, "").removeprefix("W/").strip('"')
            if response.request.method == "HEAD" and not _PLAIN.fullmatch(value):
                raise HubError(f"{response.request.url.host} sent a {header} that is no hash; is that a Hub?")

    hooks = get_session().event_hooks["response"]
    hooks.append(check)
    try:
        yield
    finally:
        hooks.remove(check)


def _passing(error: Exception) -> bool:
    status = _status(error)
    return status == 429 or status >= 500 or _truncated(error) or type(error).__name__ in _BROKEN


def _truncated(error: Exception) -> bool:
    """Say whether the client found a file to be of another size than announced; the system's errors have numbers."""
    return type(error) is OSError and error.errno is None


def _status(error: Exception) -> int:
    return getattr(getattr(error, "response", None), "status_code", 0)


@contextmanager
def explained(what: str, url: str) -> Generator[None]:
    """Turn what the Hub's client raises into an error of emozoo's.

    What the client says is not repeated: its messages can hold signed addresses, and even a malformed token.
    """
    from huggingface_hub import errors

    try:
        yield
    except EmozooError:
        raise
    except errors.GatedRepoError:
        raise GatedModelError(
            f"{what} is gated: ask for access at {url}, log in (`hf auth login`, or HF_TOKEN) and repeat"
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelNotFoundError(f"{what}: there is no such revision; {url}/commits lists them") from None
    except errors.RepositoryNotFoundError:
        raise ModelNotFoundError(
            f"{what}: there is no {url}, or it is private and your token does not reach it: check the name; "
            "log in (`hf auth login`, or HF_TOKEN)"
        ) from None
    except errors.OfflineModeIsEnabled:
        raise OfflineError(f"{what}: offline mode is on (HF_HUB_OFFLINE)") from None
    except Exception as error:
        translated = _translated(what, url, error)
        if translated is None:
            raise
        raise translated from None


def _translated(what: str, url: str, error: Exception) -> HubError | None:
    from huggingface_hub import errors

    cause = error  # of a file that is not in the cache and could not be asked for, the client tells no more
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        cause = error.__cause__
    status, name = _status(cause), type(cause).__name__
    if status in (401, 403):
        return ModelNotFoundError(
            f"{what}: {url} does not accept your token (HTTP {status}): log in anew (`hf auth login`, or HF_TOKEN)"
        )
    if name.startswith(("Connect", "UnsupportedProtocol")):
        return OfflineError(f"{what}: {url} cannot be reached ({name})")
    transport = errors.HfHubHTTPError.__mro__[1]  # the base of the HTTP library's errors
    garbled = (ValueError, KeyError, RuntimeError)  # what the client makes of an answer that is not the Hub's
    if isinstance(error, (transport, errors.EntryNotFoundError, *garbled)) or _truncated(error):
        reason = f"HTTP {status}" if status else name
        return HubUnavailableError(f"{what}: {url} does not answer as it should ({reason}); try again later")
    return None
