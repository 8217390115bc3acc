"""A Hub on the loopback interface: enough of the protocol for the real client to push, load, list and tag.

Large files go the way that the client chooses: LFS where it runs with HF_HUB_DISABLE_XET=1 (its constant, which is
read when it is imported), else Xet. It was compared with what huggingface_hub 1.3, 1.33 and 2.4 ask for.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from routes import ROUTES
from store import Refused, Store, User


@dataclass
class Fault:
    """Something that goes wrong with requests whose line fits a pattern, some times, after the first few.

    `status` answers with an error, and with `body`; `cut` and `reset` end the connection after so many bytes of
    the body (`cut` politely, `reset` not); `short` sends so many bytes as if they were all; `lost` does what was
    asked and then ends the connection unanswered; `wrong` changes the body's bytes and keeps their number; `headers`
    are sent instead of the right ones; `before` is called first, for instance to move a branch.
    """

    pattern: str
    times: int = 1
    after: int = 0
    status: int | None = None
    body: dict[str, Any] | None = None
    cut: int | None = None
    reset: int | None = None
    lost: bool = False
    wrong: bool = False
    short: int | None = None
    headers: dict[str, str] | None = None
    before: Callable[[], None] | None = None

    def strikes(self, line: str) -> bool:
        """Say whether this request is one of those it happens to, and count it."""
        if not re.search(self.pattern, line) or not self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Request:
    """A request with what its handler needs to know."""

    server: HubServer
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Any
    body: bytes
    user: User | None

    @property
    def store(self) -> Store:
        return self.server.store

    @property
    def url(self) -> str:
        return self.server.url

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What is sent back."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] | None = None


class HubServer:
    """A running Hub.

    Attributes:
        url: the endpoint.
        store: what it holds.
        requests: the request lines so far, "GET /api/models/a/b".
        authorisations: what each of them carried as its Authorization header.
        errors: tracebacks of this server's own mistakes.
        faults: what will go wrong.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.requests: list[str] = []
        self.authorisations: list[str | None] = []
        self.errors: list[str] = []
        self.connections: list[socket.socket] = []
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            server_of = hub

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the Hub down; nothing listens at its address afterwards, and open connections are closed."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def user(self, name: str, token: str, **facts: Any) -> str:
        """Let a token stand for a user; return the token."""
        self.store.users[token] = User(name, **facts)
        return token

    def fault(self, pattern: str, **what: Any) -> Fault:
        """Let something go wrong; see `Fault`."""
        self.faults.append(Fault(pattern, **what))
        return self.faults[-1]

    def note(self, line: str, authorisation: str | None) -> Fault | None:
        """Write a request down; return what goes wrong with it."""
        with self._lock:
            self.requests.append(line)
            self.authorisations.append(authorisation)
            return next((fault for fault in self.faults if fault.strikes(line)), None)


class _Handler(BaseHTTPRequestHandler):
    server_of: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def setup(self) -> None:
        super().setup()
        self.server_of.connections.append(self.connection)

    def _serve(self) -> None:
        body = self._body()
        fault = self.server_of.note(f"{self.command} {unquote(self.path)}", self.headers.get("Authorization"))
        if fault is not None and fault.before is not None:
            fault.before()
        if fault is not None and fault.status is not None:
            return self._send(_refusal(Refused(fault.status, "as told", body=fault.body)), None)
        try:
            answer = self._answer(body)
        except Refused as refusal:
            answer = _refusal(refusal)
        except Exception:  # a mistake in this server: the fixture shows it when the test ends
            self.server_of.errors.append(traceback.format_exc())
            answer = Answer(status=500)
        self._send(answer, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, body: bytes) -> Answer:
        parts = urlsplit(self.path)
        request = Request(
            self.server_of, self.command, parts.path, parse_qs(parts.query), self.headers, body, self._user()
        )
        for methods, pattern, handle in ROUTES:
            if self.command in methods.split("|") and (found := re.fullmatch(pattern, parts.path)):
                answer = handle(request, *(unquote(text) for text in found.groups()))
                return answer if isinstance(answer, Answer) else _tell(answer)
        raise Refused(404, f"this Hub does not know {self.command} {parts.path}")

    def _user(self) -> User | None:
        header = self.headers.get("Authorization")
        if header is None:
            return None
        user = self.server_of.store.users.get(header.removeprefix("Bearer "))
        if user is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return user

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        if fault is not None and fault.lost:
            return self._hang_up(reset=False)
        data = answer.body[: fault.short if fault is not None else None]
        if fault is not None and fault.wrong and data:
            data = bytes([data[0] ^ 1]) + data[1:-1] + bytes([data[-1] ^ 1])
        self.send_response(answer.status)
        told = (fault.headers if fault is not None else None) or {}
        headers = {"Content-Length": str(len(data)), **(answer.headers or {}), **told}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        limit = None if fault is None else fault.cut if fault.reset is None else fault.reset
        self.wfile.write(data[:limit])
        return None if limit is None or fault is None else self._hang_up(reset=fault.reset is not None)

    def _hang_up(self, reset: bool) -> None:
        self.wfile.flush()
        if reset:  # a linger time of zero makes the close a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def _tell(tree: Any) -> Answer:
    return Answer(json.dumps(tree).encode(), headers={"Content-Type": "application/json"})


def _refusal(refusal: Refused) -> Answer:
    headers = {"X-Error-Message": refusal.message, "Content-Type": "application/json"}
    if refusal.code:
        headers["X-Error-Code"] = refusal.code
    body = json.dumps(refusal.body or {"error": refusal.message}).encode()
    return Answer(body, refusal.status, headers)
