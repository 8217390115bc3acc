"""The Xet way of large files: a client sends xorbs, which are chunks in a row, and shards, which tell files by them.

Only what a push and a load need. Chunks stay packed as they came: the client packs and unpacks them.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server import Answer, Request

TOKEN = "xet_secret"
VERIFIED, EXTENDED = 1 << 31, 1 << 30
ROW = 48
"""Bytes of every row of a shard; its header is as long."""


@dataclass(frozen=True)
class Segment:
    """A run of chunks of a xorb: a part of a file."""

    xorb: str
    start: int
    end: int
    length: int


@dataclass
class Xet:
    """What has been sent: xorbs by hash, and each file's hash and segments by its sha256."""

    xorbs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, tuple[str, list[Segment]]] = field(default_factory=dict)


def hash_text(data: bytes) -> str:
    """Return a hash as the protocol writes it: four little-endian numbers of 64 bits, in hexadecimal."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", data))


def token(request: Request, name: str, kind: str, revision: str) -> Answer:
    from routes import _repo
    from server import Answer

    _repo(request, name, write=kind == "write")
    request.store.users.setdefault(TOKEN, request.store.users[next(iter(request.store.users))])
    headers = {
        "X-Xet-Access-Token": TOKEN,
        "X-Xet-Cas-Url": request.url,
        "X-Xet-Token-Expiration": "4000000000",
    }
    body = {"accessToken": TOKEN, "casUrl": request.url, "exp": 4000000000}
    return Answer(json.dumps(body).encode(), 200, {"Content-Type": "application/json", **headers})


def put_xorb(request: Request, name: str) -> Any:
    request.store.xet.xorbs[name] = request.body
    return {"was_inserted": True}


def put_shard(request: Request) -> Any:
    """Read the files of a shard: a header, segments, then if flagged as many checks, and the sha256."""
    data, place = request.body, ROW
    while data[place : place + 32] != b"\xff" * 32:
        name, flags, count = struct.unpack_from("<32sII", data, place)
        rows = [struct.unpack_from("<32sIIII", data, place + ROW * (row + 1)) for row in range(count)]
        segments = [Segment(hash_text(xorb), start, end, length) for xorb, _, length, start, end in rows]
        place += ROW * (1 + count * (2 if flags & VERIFIED else 1))
        if not flags & EXTENDED:
            raise ValueError("a file without its sha256")
        request.store.xet.files[hash_text(data[place : place + 32])] = (hash_text(name), segments)
        place += ROW
    return {"result": 1}


def reconstruction(request: Request, name: str) -> Any:
    """Say which bytes of which xorbs make a file."""
    files = dict(request.store.xet.files.values())
    terms, fetch = [], {}
    for segment in files[name]:
        chunks = {"start": segment.start, "end": segment.end}
        terms.append({"hash": segment.xorb, "unpacked_length": segment.length, "range": chunks})
        first, last = _bytes(request.store.xet.xorbs[segment.xorb], segment)
        place = {"range": chunks, "url": f"{request.url}/xorb/{segment.xorb}",
                 "url_range": {"start": first, "end": last - 1}}  # fmt: skip
        fetch.setdefault(segment.xorb, []).append(place)
    return {"offset_into_first_range": 0, "terms": terms, "fetch_info": fetch}


def _bytes(xorb: bytes, segment: Segment) -> tuple[int, int]:
    """Return where a segment's chunks begin and end; each chunk begins with 8 bytes that tell its length."""
    place, ends = 0, [0]
    for _ in range(segment.end):
        place += 8 + int.from_bytes(xorb[place + 1 : place + 4], "little")
        ends.append(place)
    return ends[segment.start], ends[segment.end]


def get_xorb(request: Request, name: str) -> Answer:
    from routes import part

    return part(request, request.store.xet.xorbs[name], {"Accept-Ranges": "bytes"})
