"""What each request to the Hub does: a table of methods, paths and functions."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

import xet
from store import EPOCH, LARGE, Blob, Commit, Refused, Repo

if TYPE_CHECKING:
    from server import Answer, Request


def whoami(request: Request) -> Any:
    if request.user is None:
        raise Refused(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": name, "fullname": name} for name in request.user.orgs]
    role = "write" if request.user.writes else "read"
    access = {"accessToken": {"displayName": "test", "role": role}}
    name = request.user.name
    return {"type": "user", "name": name, "fullname": name, "orgs": orgs, "auth": access}


def create_repo(request: Request) -> Any:
    body = request.json()
    if request.user is None:
        raise Refused(401, "Invalid username or password.")
    owner = body.get("organization") or request.user.name
    if not request.user.writes or owner not in (request.user.name, *request.user.orgs):
        raise Refused(403, f'You don\'t have the rights to create a model under the namespace "{owner}"')
    url = f"{request.url}/{owner}/{body['name']}"
    with request.store.lock:
        if f"{owner}/{body['name']}" in request.store.repos:
            message = "You already created this model repo"
            raise Refused(409, message, body={"error": message, "url": url})
        private = bool(body.get("private") or body.get("visibility") == "private")
        request.store.create(body["name"], owner, private)
    return {"url": url}


def _repo(request: Request, name: str, write: bool = False) -> Repo:
    """Return a repository that the user may see, and change if need be."""
    repo, user = request.store.repos.get(name), request.user
    member = repo is not None and user is not None and repo.owner in (user.name, *user.orgs)
    if repo is None or (repo.private and not member):
        raise Refused(401 if user is None else 404, "Repository not found", "RepoNotFound")
    if write and user is None:
        raise Refused(401, "Invalid username or password.")
    if write and not (member and user is not None and user.writes):
        raise Refused(403, "Authorization error: you need a token with write rights")
    return repo


def settings(request: Request, name: str) -> Any:
    repo, body = _repo(request, name, write=True), request.json()
    repo.gated = body.get("gated", repo.gated)
    if "private" in body or "visibility" in body:
        repo.private = bool(body.get("private") or body.get("visibility") == "private")
    return {}


def info(request: Request, name: str, revision: str | None = None) -> Any:
    repo = _repo(request, name)
    commit = repo.commits[repo.find(revision or "main")]
    return _facts(repo, commit, sizes="blobs" in request.query)


def _facts(repo: Repo, commit: Commit, sizes: bool) -> dict[str, Any]:
    siblings = [{"rfilename": path} for path in sorted(commit.files)]
    if sizes:
        for row in siblings:
            blob = commit.files[row["rfilename"]]
            row |= {"size": blob.size, "blobId": blob.oid, **_lfs(blob)}
    header = _header(commit)
    return {
        "_id": repo.id,
        "id": repo.id,
        "modelId": repo.id,
        "author": repo.owner,
        "sha": commit.sha,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "lastModified": EPOCH,
        "tags": [*filter(None, [header.get("library_name")]), *header.get("tags", [])],
        "pipeline_tag": header.get("pipeline_tag"),
        "library_name": header.get("library_name"),
        "cardData": header,
        "siblings": siblings,
    }


def _lfs(blob: Blob) -> dict[str, Any]:
    if not blob.large:
        return {}
    size = blob.size
    facts = {"sha256": blob.sha256, "oid": blob.sha256, "size": size, "pointerSize": len(blob.pointer)}
    return {"lfs": facts}


def _header(commit: Commit) -> dict[str, Any]:
    import yaml

    card = commit.files.get("README.md")
    found = card and re.match(r"---\n(.*?)\n---\n", card.data.decode(), re.DOTALL)
    return yaml.safe_load(found[1]) if found else {}


def list_models(request: Request) -> Any:
    query, rows = request.query, []
    for repo in request.store.repos.values():
        if repo.private and (
            request.user is None or repo.owner not in (request.user.name, *request.user.orgs)
        ):
            continue
        row = _facts(repo, repo.commits[repo.branches["main"]], sizes=False)
        facts = {*row["tags"], row["pipeline_tag"]}
        fits = (
            set(query.get("filter", [])) <= facts
            and all(text in repo.id for text in query.get("search", []))
            and all(author == repo.owner for author in query.get("author", []))
            and all(task == row["pipeline_tag"] for task in query.get("pipeline_tag", []))
        )
        rows += [row] if fits else []
    return rows[: int(query.get("limit", ["1000"])[0])]


def tree(request: Request, name: str, revision: str) -> Any:
    repo = _repo(request, name)
    commit = repo.commits[repo.find(revision)]
    return [_row(path, blob) for path, blob in sorted(commit.files.items())]


def _row(path: str, blob: Blob) -> dict[str, Any]:
    return {"type": "file", "path": path, "oid": blob.oid, "size": blob.size, **_lfs(blob)}


def paths_info(request: Request, name: str, revision: str) -> Any:
    repo = _repo(request, name)
    files = repo.commits[repo.find(revision)].files
    wanted = parse_qs(request.body.decode()).get("paths", [])
    return [_row(path, files[path]) for path in wanted if path in files]


def refs(request: Request, name: str) -> Any:
    repo = _repo(request, name)

    def rows(kind: str, refs: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": k, "ref": f"{kind}{k}", "targetCommit": sha} for k, sha in refs.items()]

    pulls = {"pullRequests": rows("", repo.pulls)} if "include_prs" in request.query else {}
    return {"branches": rows("refs/heads/", repo.branches), "tags": rows("refs/tags/", repo.tags),
            "converts": [], **pulls}  # fmt: skip


def discussions(request: Request, name: str) -> Any:
    repo, status = _repo(request, name), request.query.get("status", ["all"])[0]
    rows = [
        {"num": int(ref.rpartition("/")[2]), "title": repo.commits[sha].title, "createdAt": EPOCH,
         "status": "closed" if ref in repo.closed else "open", "isPullRequest": True, "author": {"name": "alice"},
         "repo": {"name": repo.id, "type": "model"}}
        for ref, sha in repo.pulls.items()
    ]  # fmt: skip
    rows = [row for row in rows if status in ("all", row["status"])]
    size, page = 2, int(request.query.get("p", ["0"])[0])  # a page is small, so that tests turn it
    shown = rows[page * size : (page + 1) * size]
    return {"discussions": shown, "count": len(rows), "start": page * size}


def commits(request: Request, name: str, revision: str) -> Any:
    repo, rows = _repo(request, name), []
    sha: str | None = repo.find(revision)
    while sha is not None:
        commit = repo.commits[sha]
        rows.append({"id": sha, "title": commit.title, "message": "", "authors": [], "date": EPOCH})
        sha = commit.parent
    return rows


def create_branch(request: Request, name: str, branch: str) -> Any:
    repo = _repo(request, name, write=True)
    start = repo.find((request.json() if request.body else {}).get("startingPoint") or "main")
    return _new_ref(repo.branches, branch, start)


def create_tag(request: Request, name: str, revision: str) -> Any:
    repo = _repo(request, name, write=True)
    return _new_ref(repo.tags, request.json()["tag"], repo.find(revision))


def _new_ref(refs: dict[str, str], name: str, sha: str) -> Any:
    if name in refs:
        raise Refused(409, f"Reference {name} already exists")
    refs[name] = sha
    return {}


def delete_tag(request: Request, name: str, tag: str) -> Any:
    _repo(request, name, write=True).tags.pop(tag)
    return {}


def validate_yaml(request: Request) -> Any:
    import yaml

    content = request.json()["content"]
    found = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    try:
        tree = yaml.safe_load(found[1]) if found else {}
        errors = [] if isinstance(tree, dict) else ["metadata must be a table"]
    except yaml.YAMLError as error:
        errors = [str(error)]
    if errors:
        raise Refused(400, "bad metadata", body={"errors": [{"message": e} for e in errors], "warnings": []})
    return {"errors": [], "warnings": []}


def preupload(request: Request, name: str, revision: str) -> Any:
    pull = "create_pr" in request.query
    repo = _repo(request, name, write=not pull)
    if request.user is None:
        raise Refused(401, "Invalid username or password.")
    files, rows = repo.commits[repo.find(revision)].files, []
    for file in request.json()["files"]:
        mode = "lfs" if file["path"].endswith(LARGE) else "regular"
        row = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
        rows.append(row | ({"oid": files[file["path"]].etag} if file["path"] in files else {}))
    return {"files": rows}


def lfs_batch(request: Request, name: str) -> Any:
    _repo(request, name)
    if request.user is None:
        raise Refused(401, "Invalid username or password.")
    if "xet" in request.json().get("transfers", ()):
        return {"transfer": "xet", "objects": request.json()["objects"]}
    rows = []
    for item in request.json()["objects"]:
        row = {"oid": item["oid"], "size": item["size"]}
        if item["oid"] not in request.store.large:
            upload = {"href": f"{request.url}/lfs/{item['oid']}"}
            row["actions"] = {
                "upload": upload,
                "verify": {"href": f"{request.url}/{name}.git/info/lfs/verify"},
            }
        rows.append(row)
    return {"transfer": "basic", "objects": rows}


def lfs_put(request: Request, oid: str) -> Any:
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise Refused(400, "the content is not what was announced")
    request.store.large[oid] = request.body
    return {}


def lfs_verify(request: Request, name: str) -> Any:
    _repo(request, name)
    if request.json()["oid"] not in request.store.large:
        raise Refused(404, "no such object")
    return {}


def commit(request: Request, name: str, revision: str) -> Any:
    pull = "create_pr" in request.query
    repo = _repo(request, name, write=not pull)
    if request.user is None:
        raise Refused(401, "Invalid username or password.")
    lines = [json.loads(line) for line in request.body.splitlines()]
    sha, made = request.store.commit(repo, revision, lines, pull)
    answer = {"success": True, "commitOid": sha, "commitUrl": f"{request.url}/{name}/commit/{sha}"}
    number = made.rpartition("/")[2]
    return answer | ({"pullRequestUrl": f"{request.url}/{name}/discussions/{number}"} if pull else {})


def resolve(request: Request, name: str, revision: str, path: str) -> Any:
    from server import Answer

    repo, user = _repo(request, name), request.user
    if repo.gated and (user is None or user.name not in repo.granted | {repo.owner}):
        message = f"Access to model {name} is restricted."
        raise Refused(401 if user is None else 403, message, "GatedRepo")
    commit = repo.commits[repo.find(revision)]
    if path not in commit.files:
        raise Refused(404, "Entry not found", "EntryNotFound")
    blob = commit.files[path]
    headers = {"X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
    headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(blob.size)}
    if blob.sha256 in request.store.xet.files:
        route = f"{request.url}/api/models/{name}/xet-read-token/{commit.sha}"
        headers |= {
            "X-Xet-Hash": request.store.xet.files[blob.sha256][0],
            "Link": f'<{route}>; rel="xet-auth"',
        }
    if blob.large:  # they lie on another host, which the token is not for
        away = request.url.replace("127.0.0.1", "localhost")
        headers |= {"Location": f"{away}/cdn/{blob.sha256}", "ETag": f'"{blob.oid}"'}
        return Answer(b"", 302, headers)
    headers |= {"ETag": f'"{blob.etag}"'}
    if "/api/resolve-cache/" not in request.path:
        where = f"/api/resolve-cache/models/{name}/{commit.sha}/{quote(path)}"
        return Answer(b"", 307, headers | {"Location": where})
    return part(request, blob.data, headers)


def cdn(request: Request, oid: str) -> Any:
    return part(request, request.store.large[oid], {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})


def part(request: Request, data: bytes, headers: dict[str, str]) -> Answer:
    """Return a file, or the range of it that is asked for."""
    from server import Answer

    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
    if wanted is None:
        return Answer(data, 200, headers)
    start, end = int(wanted[1]), int(wanted[2] or len(data) - 1) + 1
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Answer(data[start:end], 206, headers)


def add_to_collection(request: Request, slug: str) -> Any:
    items, name = _items(request, slug), request.json()["item"]["id"]
    if name in items:
        raise Refused(409, "already in the collection")
    items.append(name)
    return collection(request, slug)


def collection(request: Request, slug: str) -> Any:
    rows = [
        {"_id": str(place), "id": item, "type": "model", "position": place}
        for place, item in enumerate(_items(request, slug))
    ]
    return {"slug": slug, "title": slug, "owner": {"name": "alice"}, "items": rows, "position": 0,
            "lastUpdated": EPOCH, "private": False, "theme": "blue", "upvotes": 0}  # fmt: skip


def _items(request: Request, slug: str) -> list[str]:
    if request.user is None or slug not in request.store.collections:
        raise Refused(404, "Collection not found")
    return request.store.collections[slug]


NAME, REV, MODEL = r"([^/]+/[^/]+?)", r"([^/]+)", r"/api/models/([^/]+/[^/]+)"
ROUTES = [
    ("GET", r"/api/whoami-v2", whoami),
    ("POST", r"/api/repos/create", create_repo),
    ("POST", r"/api/validate-yaml", validate_yaml),
    ("GET", r"/api/models", list_models),
    ("PUT", MODEL + r"/settings", settings),
    ("GET", MODEL + r"/revision/" + REV, info),
    ("GET", MODEL + r"/tree/" + REV, tree),
    ("POST", MODEL + r"/paths-info/" + REV, paths_info),
    ("GET", MODEL + r"/refs", refs),
    ("GET", MODEL + r"/commits/" + REV, commits),
    ("GET", MODEL + r"/discussions", discussions),
    ("POST", MODEL + r"/branch/" + REV, create_branch),
    ("POST", MODEL + r"/tag/" + REV, create_tag),
    ("DELETE", MODEL + r"/tag/" + REV, delete_tag),
    ("POST", MODEL + r"/preupload/" + REV, preupload),
    ("POST", MODEL + r"/commit/" + REV, commit),
    ("GET", MODEL, info),
    ("POST", rf"/{NAME}\.git/info/lfs/objects/batch", lfs_batch),
    ("POST", rf"/{NAME}\.git/info/lfs/verify", lfs_verify),
    ("PUT", r"/lfs/([0-9a-f]{64})", lfs_put),
    ("GET", MODEL + r"/xet-(read|write)-token/" + REV, xet.token),
    ("POST", r"/v1/xorbs/default/([0-9a-f]{64})", xet.put_xorb),
    ("POST", r"/v1/shards", xet.put_shard),
    ("GET", r"/v1/reconstructions/([0-9a-f]{64})", xet.reconstruction),
    ("GET", r"/xorb/([0-9a-f]{64})", xet.get_xorb),
    ("GET|HEAD", r"/cdn/([0-9a-f]{64})", cdn),
    ("GET|HEAD", r"/api/resolve-cache/models/" + NAME + r"/" + REV + r"/(.+)", resolve),
    ("GET|HEAD", rf"/{NAME}/resolve/{REV}/(.+)", resolve),
    ("POST", r"/api/collections/(.+)/items", add_to_collection),
    ("GET", r"/api/collections/(.+)", collection),
]
