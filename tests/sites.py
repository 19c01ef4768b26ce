"""A web server in a thread, with pages that a test sets. It records all requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Request:
    """One received request. `target` is the raw path with its query."""

    method: str
    target: str
    headers: Message
    form: Mapping[str, str]
    body: str = ""

    @property
    def cookie(self) -> str:
        """Return the Cookie header, or an empty string."""
        return str(self.headers.get("Cookie", ""))


@dataclass(frozen=True)
class Answer:
    """The response of a page."""

    body: str = "a page"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Page = Answer | Callable[[Request], Answer]


class Site:
    """A site. `pages` is by target, by "METHOD target", or by path for any query. Other targets answer 404.

    `software` is the value of the Server header.
    """

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.software = "site"
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request) -> Answer:
        """Record a request and return its response."""
        self.requests.append(request)
        keys = (f"{request.method} {request.target}", request.target, request.target.partition("?")[0])
        page = next((self.pages[key] for key in keys if key in self.pages), Answer("", 404))
        return page(request) if callable(page) else page

    def requested(self, method: str) -> list[str]:
        """Return the targets of all requests with one method, in their order."""
        return [request.target for request in self.requests if request.method == method]

    def non_get_requests(self) -> list[str]:
        """Return all requests other than GET, each as "METHOD target", in their order."""
        return [f"{request.method} {request.target}" for request in self.requests if request.method != "GET"]


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet
        disable_nagle_algorithm = True

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            answer = site.answer(Request(self.command, self.path, self.headers, dict(parse_qsl(body)), body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body.encode())))
            self.end_headers()
            self.wfile.write(answer.body.encode())

        do_GET = do_POST = do_PURGE = do_BAN = serve

        def version_string(self) -> str:
            return site.software

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output free of access logs."""

    return Handler
