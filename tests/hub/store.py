"""What a Hub remembers: users, repositories with commits, branches, tags and pull requests, and large files."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from xet import Xet

EPOCH = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
LARGE = (".safetensors", ".bin", ".png")
"""Endings of files that are kept as large files, whatever their size."""


class Refused(Exception):
    """A request the Hub does not grant: a status, the Hub's error code, and a message."""

    def __init__(self, status: int, message: str, code: str = "", body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body


@dataclass(frozen=True)
class Blob:
    """One version of one file."""

    data: bytes
    large: bool

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git holds: the file, or the three lines that stand for a large one."""
        if not self.large:
            return self.data
        spec = "version https://git-lfs.github.com/spec/v1"
        return f"{spec}\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.pointer) + self.pointer).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.oid


@dataclass(frozen=True)
class XetBlob(Blob):
    """A large file that came the Xet way: its bytes lie packed in xorbs, and go out that way alone."""

    told_sha256: str
    told_size: int

    @property
    def size(self) -> int:
        return self.told_size

    @property
    def sha256(self) -> str:
        return self.told_sha256


@dataclass(frozen=True)
class Commit:
    """A state of all files, and the state before it."""

    sha: str
    parent: str | None
    title: str
    files: dict[str, Blob]


@dataclass
class User:
    """Who a token stands for."""

    name: str
    writes: bool = True
    orgs: tuple[str, ...] = ()


@dataclass
class Repo:
    """A model repository."""

    id: str
    private: bool
    gated: str | bool = False
    granted: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)

    @property
    def owner(self) -> str:
        return self.id.partition("/")[0]

    def find(self, revision: str) -> str:
        """Return the commit that a branch, a tag, a pull request or a commit's hash means."""
        for refs in (self.branches, self.tags, self.pulls):
            if revision in refs:
                return refs[revision]
        if revision in self.commits:
            return revision
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def add(self, parent: str | None, title: str, files: dict[str, Blob]) -> Commit:
        """Make a commit that no branch holds yet."""
        state = [len(self.commits), parent, title, {name: blob.etag for name, blob in files.items()}]
        sha = hashlib.sha1(json.dumps(state).encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, files)
        return self.commits[sha]


class Store:
    """All that the Hub holds; every change is made under one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.users: dict[str, User] = {}
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.xet = Xet()
        self.collections: dict[str, list[str]] = {}

    def create(self, name: str, owner: str, private: bool) -> Repo:
        """Make a repository with its first commit, as the Hub does."""
        repo = Repo(f"{owner}/{name}", private)
        attributes = Blob("".join(f"*{end} filter=lfs\n" for end in LARGE).encode(), False)
        repo.branches["main"] = repo.add(None, "initial commit", {".gitattributes": attributes}).sha
        self.repos[repo.id] = repo
        return repo

    def commit(self, repo: Repo, revision: str, lines: list[dict[str, Any]], pull: bool) -> tuple[str, str]:
        """Apply the lines of a commit request; return the commit and the pull request's name or ""."""
        with self.lock:
            head = repo.find(revision)
            header = next(line["value"] for line in lines if line["key"] == "header")
            parent = header.get("parentCommit")
            if parent is not None and not pull and not head.startswith(parent):
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
            files = dict(repo.commits[parent or head].files)
            for line in lines:
                self._apply(files, line["key"], line["value"])
            made = repo.add(parent or head, header["summary"], files)
            if pull:
                name = f"refs/pr/{len(repo.pulls) + 1}"
                repo.pulls[name] = made.sha
                return made.sha, name
            repo.branches[revision] = made.sha
            return made.sha, ""

    def _apply(self, files: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
        import base64

        if key == "file":
            files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
        elif key == "lfsFile":
            if value["oid"] in self.xet.files:
                files[value["path"]] = XetBlob(b"", True, value["oid"], value["size"])
                return
            if value["oid"] not in self.large:
                raise Refused(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
            files[value["path"]] = Blob(self.large[value["oid"]], True)
        elif key == "deletedFile":
            if files.pop(value["path"], None) is None:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
        elif key != "header":
            raise Refused(400, f"unknown operation {key}")
