"""Publishing a model folder on the Hugging Face Hub: proved first, then put there in one commit, then read back."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emozoo.card_check import card_problems
from emozoo.card_text import left_out, merge_cards
from emozoo.errors import EmozooError, HubError, ModelNotFoundError, OfflineError, PushError
from emozoo.hashing import sha256
from emozoo.hub import parse
from emozoo.hub_client import COMMIT, Hub, connect, explained, persistently, plain_names
from emozoo.layout import CARD, PICTURES, RECORDS, RUN
from emozoo.proof import check_folder, copied, proved
from emozoo.trees import RECORD_LIMIT, read_tree

_OF_A_MODEL = re.compile(r"run\.json|records/[^/]+\.json|pictures/[^/]+\.png")
"""Files that speak of one model; those of an older one do not stay beside a new one."""
_TAG = re.compile(r"(?!.*(\.\.|//|/\.))[A-Za-z0-9_][\w./+-]*(?<![./])(?<!\.lock)", re.ASCII)
"""What git takes for the name of a tag, as far as a model can be loaded by it."""
AGAIN = "Repeat the same command: what has landed is not sent twice."


@dataclass(frozen=True)
class Plan:
    """What a push would do.

    Attributes:
        repo: the repository, "org/name".
        files: each file's content, or where it is.
        head: the commit that the push builds on; None where the repository is yet to be made.
        changed: the files that the Hub does not hold as they are here.
        removed: files on the Hub that speak of an older model (records, pictures) and have no counterpart here.
        notes: what else a user should know.
    """

    repo: str
    files: Mapping[str, Path | bytes]
    head: str | None = None
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """A model on the Hub.

    Attributes:
        repo: the repository, "org/name".
        commit: the commit that holds the model.
        url: the commit's page.
        sha256: of each file.
        new: whether there was anything to publish.
        pull_request: the page of the pull request, if one was asked for.
        notes: what else a user should know.
    """

    repo: str
    commit: str
    url: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    new: bool = True
    pull_request: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The line that loads exactly this model, anywhere and at any time."""
        return f'emozoo.load("hub:{self.repo}@{self.commit}")'


def push(
    folder: str | Path,
    repo: str,
    *,
    private: bool = True,
    pr: bool = False,
    tag: str | None = None,
    collection: str | None = None,
    gated: str | None = None,
    message: str | None = None,
    token: str | bool | None = None,
) -> Published:
    """Publish a model folder in one commit, and return where it is.

    The folder is copied; the copy is loaded in a fresh process and compared with its golden outputs, and its card is
    checked (`emozoo.card_check`). A card on the Hub that was edited by hand keeps what was written there; see
    `emozoo.card_text.merge_cards`.

    Args:
        folder: the model folder, with a card (README.md).
        repo: "org/name"; made if there is none.
        private: whether a repository that is made is private; one that exists stays as it is.
        pr: open a pull request instead of changing the main branch.
        tag: a name for the commit, "v1".
        collection: the slug of a collection to add the repository to.
        gated: "auto" or "manual", to give the files only to those who ask for access.
        message: the commit's title.
        token: an access token that may write, if not the one logged in with.

    Raises:
        CorruptModelError: the folder is not what was saved.
        PushError: it was not published, or not all that was asked for was done; says what is where.
        HubError: the Hub does not answer or does not know the repository.
    """
    hub, folder = connect(token=token), Path(folder)
    check_folder(folder)
    # what is proved is what is published, whatever happens to the folder
    with tempfile.TemporaryDirectory() as place:
        plan = plan_push(
            copied(folder, Path(place)), repo,
            private=private, pr=pr, tag=tag, collection=collection, gated=gated, token=token,
        )  # fmt: skip
        if plan.head is None:
            plan = _create(plan, hub, private)
        if gated in ("auto", "manual"):
            with _granted(plan, hub):
                hub.api.update_repo_settings(repo, gated=gated)
        published = _commit(plan, hub, pr, message or f"emozoo: {folder.name}")
        published = replace(published, sha256=_read_back(plan, published, hub), notes=plan.notes)
    if tag:
        _tag(published, tag, hub)
    if collection:
        _collect(published, collection, hub)
    return published


def plan_push(
    folder: str | Path,
    repo: str,
    *,
    private: bool = True,
    pr: bool = False,
    tag: str | None = None,
    collection: str | None = None,
    gated: str | None = None,
    token: str | bool | None = None,
) -> Plan:
    """Prove a model folder, compare it with what the Hub holds, and return what a push would do. Nothing is changed.

    Args: as those of `push`.

    Raises:
        as `push`, where that can be known before anything is changed.
    """
    parse(repo)
    if "@" in repo:
        raise PushError(f"{repo}: a model is pushed to org/name; its commit is what comes of it")
    if pr and (tag or collection or gated):
        raise PushError(
            "a pull request is not the model yet: tag, collection and gating come when it is merged"
        )
    if gated not in (None, "auto", "manual"):
        raise PushError(f"gated is {gated!r}: write auto or manual")
    if tag is not None and (not _TAG.fullmatch(tag) or COMMIT.fullmatch(tag) or tag == "main"):
        raise PushError(
            f"the Hub cannot have a tag {tag!r}: write letters, digits and _ - + . /, as in v1.0, and no branch's or "
            "commit's name"
        )
    hub = connect(token=token)
    files = proved(Path(folder), repo, hub)
    if hub.offline:
        raise OfflineError(f"{repo}: pushing needs the Hub, and offline mode is on (HF_HUB_OFFLINE)")
    try:
        info = _info(repo, hub)
    except ModelNotFoundError:
        if pr:
            raise ModelNotFoundError(f"there is no {hub.url(repo)} that a pull request could go to") from None
        _check_owner(repo, hub)
        return Plan(repo, files, changed=tuple(files))
    plan = _compare(Plan(repo, files), info, hub, private)
    if tag:
        _check_tag(plan, tag, hub)
    return plan


def _check_owner(repo: str, hub: Hub) -> None:
    """Refuse a repository that is not there and that the token may not make."""
    from huggingface_hub import get_token

    owner, missing = repo.partition("/")[0], f"{hub.url(repo)} is not there"
    token = hub.token if isinstance(hub.token, str) or hub.token is False else get_token()
    if not token:
        raise PushError(f"{missing}, and making it needs a token: log in (`hf auth login`, or HF_TOKEN)")
    with explained(missing, hub.url(repo)):
        me = persistently(lambda: hub.api.whoami(token))
    owners = [name["name"].casefold() for name in (me, *me.get("orgs", ()))]
    reads = me.get("auth", {}).get("accessToken", {}).get("role") == "read"
    if reads or owner.casefold() not in owners:
        raise PushError(
            f"{missing}, or not for your token, which is {me['name']}'s{', for reading,' if reads else ''} and may not "
            f"make it; nothing was changed. Log in with one that may write for {owner} (`hf auth login`, or HF_TOKEN)"
        )


def _check_tag(plan: Plan, tag: str, hub: Hub) -> None:
    """Refuse a tag that is another commit than the one that the push ends with."""
    with explained(f"{plan.repo} is not pushed", hub.url(plan.repo)):
        taken = persistently(lambda: _tags(plan.repo, hub)).get(tag)
    if taken is not None and (plan.changed or plan.removed or taken != plan.head):
        raise PushError(
            f"{hub.url(plan.repo)} has a tag {tag} already, commit {taken}; nothing was published. Choose another tag."
        )


def _tags(repo: str, hub: Hub) -> dict[str, str]:
    return {item.name: item.target_commit for item in hub.api.list_repo_refs(repo).tags}


def _info(repo: str, hub: Hub, revision: str | None = None) -> Any:
    with explained(repo, hub.url(repo)):
        return persistently(
            lambda: hub.api.model_info(repo, revision=revision, files_metadata=True, timeout=10)
        )


def _compare(plan: Plan, info: Any, hub: Hub, private: bool) -> Plan:
    there = {row.rfilename: row for row in info.siblings or ()}
    files, notes = dict(plan.files), list(plan.notes)
    if CARD in there:
        new = _bytes(files[CARD]).decode()
        merged = merge_cards(_card_there(plan, there[CARD], info.sha, hub), new)
        _check_merged(plan, merged, hub)
        files[CARD] = merged.encode()
        if left_out(merged, new):
            notes.append(
                f"the text that this card has around emozoo's part is not published: that of the Hub's card was edited "
                f"there, and stays. Take from it into this card what you want to keep, remove it there "
                f"({hub.url(plan.repo)}/edit/main/{CARD}), and push again"
            )
    if info.private != private:
        kind = "private" if info.private else "public"
        notes.append(f"{hub.url(plan.repo)} exists and stays {kind}; its settings page changes that")
    changed = tuple(name for name, data in files.items() if name not in there or not _same(there[name], data))
    card = _bytes(files[CARD]).decode()
    # pictures that were put there by hand, and are shown
    kept = {name for name in there if name.startswith(f"{PICTURES}/") and name in card}
    removed = tuple(name for name in there if _OF_A_MODEL.fullmatch(name) and name not in kept | files.keys())
    return Plan(plan.repo, files, info.sha, changed, removed, tuple(notes))


def _card_there(plan: Plan, row: Any, head: str, hub: Hub) -> str:
    """Return the card that the Hub holds."""
    with tempfile.TemporaryDirectory() as folder, explained(plan.repo, hub.url(plan.repo)), plain_names():
        path = persistently(lambda: hub.api.hf_hub_download(plan.repo, CARD, revision=head, cache_dir=folder))
        there = Path(path).read_bytes()
    if not _same(row, there):
        raise HubError(f"{plan.repo}: the card on the Hub arrived damaged; nothing was changed. Try again.")
    return there.decode("utf-8", "replace")


def _check_merged(plan: Plan, card: str, hub: Hub) -> None:
    """Refuse a card that could not be shown beside the model's records, because of what was written on the Hub."""
    records = {
        name: read_tree(path, PushError, RECORD_LIMIT)
        for name, path in plan.files.items()
        if isinstance(path, Path) and (name == RUN or name.startswith(f"{RECORDS}/"))
    }
    if problems := card_problems(card, records.pop(RUN, None), list(records.values())):
        listed = "\n  ".join(problems)
        raise PushError(
            f"{plan.repo} is not pushed: with what was written on the Hub, its card is not ready. Correct it at "
            f"{hub.url(plan.repo)}/edit/main/{CARD}, and push again:\n  {listed}"
        )


def _same(row: Any, data: Path | bytes) -> bool:
    """Say whether a file on the Hub is this one, by the hash that the Hub keeps of it."""
    if row.lfs is not None:
        return row.lfs["sha256"] == _sha256(data)
    data = _bytes(data)
    return row.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _bytes(data: Path | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.read_bytes()


def _sha256(data: Path | bytes) -> str:
    return sha256(data) if isinstance(data, Path) else hashlib.sha256(data).hexdigest()


def _create(plan: Plan, hub: Hub, private: bool) -> Plan:
    with _granted(plan, hub):
        hub.api.create_repo(plan.repo, private=private, exist_ok=True)
    return _compare(plan, _info(plan.repo, hub), hub, private)


def _commit(plan: Plan, hub: Hub, pr: bool, title: str) -> Published:
    """Make the commit, unless the Hub holds all of it."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    head = str(plan.head)
    if not plan.changed and not plan.removed:
        return Published(plan.repo, head, f"{hub.url(plan.repo)}/commit/{head}", new=False)
    operations = [
        *(CommitOperationAdd(name, plan.files[name]) for name in plan.changed),
        *(CommitOperationDelete(name) for name in plan.removed),
    ]
    if pr and (opened := _opened(plan, hub, title)):
        return replace(opened, new=False)
    try:
        made = hub.api.create_commit(
            plan.repo, operations, commit_message=title, parent_commit=head, create_pr=pr
        )
    except Exception as error:
        landed = _landed(plan, hub, title if pr else None)
        if landed is None:
            raise _refusal(plan, hub, error) from None
        return landed
    return Published(plan.repo, made.oid, made.commit_url, pull_request=made.pr_url)


def _landed(plan: Plan, hub: Hub, pull_request: str | None) -> Published | None:
    """Return what was pushed, if the Hub holds it: the answer may have been lost, not the commit."""
    with suppress(EmozooError):
        if pull_request is not None:
            return _opened(plan, hub, pull_request)
        info = _info(plan.repo, hub)
        if _holds(info, plan):
            return Published(plan.repo, info.sha, f"{hub.url(plan.repo)}/commit/{info.sha}")
    return None


def _opened(plan: Plan, hub: Hub, title: str) -> Published | None:
    """Return the open pull request of this title that holds what is to be pushed, if there is one."""
    url = hub.url(plan.repo)
    with explained(plan.repo, url):
        found = hub.api.get_repo_discussions(
            plan.repo, discussion_type="pull_request", discussion_status="open"
        )
        for request in [item for item in found if item.title == title]:
            info = _info(plan.repo, hub, f"refs/pr/{request.num}")
            if _holds(info, plan):
                return Published(plan.repo, info.sha, f"{url}/commit/{info.sha}", pull_request=request.url)
    return None


def _holds(info: Any, plan: Plan) -> bool:
    there = {row.rfilename: row for row in info.siblings or ()}
    whole = all(name in there and _same(there[name], data) for name, data in plan.files.items())
    return whole and not set(plan.removed) & set(there)


@contextmanager
def _granted(plan: Plan, hub: Hub) -> Generator[None]:
    """Turn a refusal of what one may not do into a `PushError`."""
    try:
        yield
    except Exception as error:
        raise _refusal(plan, hub, error) from None


def _refusal(plan: Plan, hub: Hub, error: Exception) -> HubError:
    """Return what to tell of a step that failed; what the client says is repeated only where it is about the card."""
    url = hub.url(plan.repo)
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status == 412:
        return PushError(f"{url} has changed while this was pushed; nothing of it was published. {AGAIN}")
    if status in (401, 403, 404):
        return PushError(
            f"your token may not do that at {url} (HTTP {status}); nothing more was changed. Log in with one that may "
            f"write (`hf auth login`, or HF_TOKEN), or ask its owner by a pull request: --pr"
        )
    if type(error) is ValueError and "README" in str(error):
        return PushError(f"{url} does not take the card: {error}")
    return PushError(f"{url} did not answer ({_reason(error)}) while this was pushed. {AGAIN}")


def _read_back(plan: Plan, published: Published, hub: Hub) -> dict[str, str]:
    """Compare what the Hub holds at the commit with what was sent; return the sha256 of each file."""
    names = list(plan.files)
    with explained(f"{plan.repo} is published as {published.commit}, but not read back", published.url):
        rows = persistently(lambda: hub.api.get_paths_info(plan.repo, names, revision=published.commit))
    there = {row.path: row for row in rows}
    wrong = [name for name in names if name not in there or not _same(there[name], plan.files[name])]
    if wrong:
        raise PushError(
            f"{published.url} does not hold what was pushed: {', '.join(wrong)}. Do not use this commit; push again."
        )
    return {name: _sha256(data) for name, data in plan.files.items()}


def _tag(published: Published, tag: str, hub: Hub) -> None:
    try:
        hub.api.create_tag(published.repo, tag=tag, revision=published.commit)
    except Exception as error:
        done = f"{published.url} is published, but not tagged {tag}"
        with explained(done, published.url):
            tags = _tags(published.repo, hub)
        if tag not in tags:
            raise PushError(f"{done} ({_reason(error)}). {AGAIN}") from None
        if tags[tag] != published.commit:
            raise PushError(f"{done}: that tag is commit {tags[tag]}. Choose another tag.") from None


def _collect(published: Published, collection: str, hub: Hub) -> None:
    try:
        hub.api.add_collection_item(collection, item_id=published.repo, item_type="model", exists_ok=True)
    except Exception as error:
        raise PushError(
            f"{published.url} is published, but not added to the collection {collection} ({_reason(error)}): is that "
            f"its slug, and is it yours? {AGAIN}"
        ) from None


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return f"HTTP {status}" if status else type(error).__name__
