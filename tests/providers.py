"""Fake CDNs: an edge that stores pages in front of a site, and the documented API that purges them.

Requests, responses, limits and errors follow the providers' documentation; the adapters name the sources. A purge takes
effect `purge_delay_s` seconds after the API accepts it. The API answers with `refusals` first, if there are any.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.caches import TOKEN
from tests.sites import Answer, Request, Site

API = "/api/"
ZONE = "zone7"


@dataclass
class Stored:
    """A page that the edge has stored."""

    answer: Answer
    tags: frozenset[str]
    stored_at: float
    stale: bool = False


class Edge(Site):
    """A CDN: below /api/ the provider's API, at all other paths the cached pages."""

    label: ClassVar[str] = "X-Cache"  # the header with HIT or MISS

    def __init__(self, origin: Site) -> None:
        super().__init__()
        self.origin = origin
        self.stored: dict[str, Stored] = {}
        self.refusals: list[Answer] = []
        self.purge_delay_s = 0.0
        self.ignores_purges = False  # accept purges without effect
        self._pending: list[tuple[float, Callable[[str, Stored], bool], bool]] = []
        self._lock = Lock()

    def answer(self, request: Request) -> Answer:
        """Return a page, or the response of the API."""
        with self._lock:
            if not request.target.startswith(API):
                return self._read(request.target)
            self.requests.append(request)
            return self.refusals.pop(0) if self.refusals else self.api_answer(request)

    def apply_purges(self) -> None:
        """Let all pending and all later purges take effect at the next read."""
        with self._lock:
            self.purge_delay_s = 0.0
            self._pending = [(0.0, *order) for _, *order in self._pending]

    def api_answer(self, request: Request) -> Answer:
        """Return the response of the provider's API."""
        raise NotImplementedError

    def purge(self, matches: Callable[[str, Stored], bool], *, soft: bool = False) -> None:
        """Accept a purge. It takes effect at the first read after its due time."""
        if not self.ignores_purges:
            self._pending.append((time.monotonic() + self.purge_delay_s, matches, soft))

    def purge_page(self, page: str, *, soft: bool = False) -> None:
        """Purge one page by its address without the scheme. The host must match."""
        host, _, route = page.partition("/")
        self.purge(lambda target, _: host == urlsplit(self.url).netloc and target == f"/{route}", soft=soft)

    def purge_prefix(self, page: str) -> None:
        """Purge all pages below an address without the scheme."""
        host, _, route = page.partition("/")
        self.purge(lambda target, _: host == urlsplit(self.url).netloc and target.startswith(f"/{route}"))

    def purge_tags(self, tags: list[str], *, soft: bool = False) -> None:
        """Purge all pages with one of the tags."""
        self.purge(lambda _, page: not page.tags.isdisjoint(tags), soft=soft)

    def _read(self, target: str) -> Answer:
        self._apply_due()
        stored = self.stored.get(target)
        if stored is None or stored.stale:
            fetched = self._fetch(target)
            if stored is None:
                return fetched
        age = str(int(time.monotonic() - stored.stored_at) + int(stored.answer.headers.get("Age", "0")))
        return Answer(stored.answer.body, headers={**stored.answer.headers, self.label: "HIT", "Age": age})

    def _fetch(self, target: str) -> Answer:
        response = httpx.get(self.origin.url + target, trust_env=False, timeout=60)
        kept_headers = {name: response.headers[name] for name in ("Cache-Control", "Age") if name in response.headers}
        page = Answer(response.text, response.status_code, {**kept_headers, self.label: "MISS"})
        if response.status_code == 200 and "no-store" not in kept_headers.get("Cache-Control", "no-store"):
            tags = frozenset(response.headers.get("Surrogate-Key", "").split())  # CDNs do not send it to readers
            self.stored[target] = Stored(page, tags, time.monotonic())
        return page

    def _apply_due(self) -> None:
        due = [order for order in self._pending if order[0] <= time.monotonic()]
        self._pending = [order for order in self._pending if order not in due]
        for _, matches, soft in due:
            for target, page in list(self.stored.items()):
                if matches(target, page):
                    page.stale = True
                    if not soft:
                        del self.stored[target]


class FakeFastly(Edge):
    """Fastly: URL purges need no token by default; purges by key always do."""

    def api_answer(self, request: Request) -> Answer:
        """Answer `POST /purge/{url}` and `POST /service/{id}/purge`."""
        soft = "Fastly-Soft-Purge" in request.headers
        path = request.target.removeprefix(API)
        if path.startswith("purge/"):
            self.purge_page(path.removeprefix("purge/"), soft=soft)
            return Answer(json.dumps({"status": "ok", "id": "108-1391560174-974124"}))
        if request.headers.get("Fastly-Key") != TOKEN:
            return Answer(json.dumps({"msg": "Provided credentials are missing or invalid"}), 401)
        if path != f"service/{ZONE}/purge":
            return Answer(json.dumps({"msg": "Record not found"}), 404)
        keys = json.loads(request.body)["surrogate_keys"]
        if len(keys) > 256:
            return Answer(json.dumps({"msg": "Too many keys"}), 400)
        self.purge_tags(keys, soft=soft)
        return Answer(json.dumps({key: f"108-{number}" for number, key in enumerate(keys)}))


class FakeCloudflare(Edge):
    """Cloudflare: one kind of target per request, and at most 100 targets."""

    label = "CF-Cache-Status"

    def api_answer(self, request: Request) -> Answer:
        """Answer `POST /zones/{id}/purge_cache`."""
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._error(403, 10000, "Authentication error")
        if request.target != f"{API}zones/{ZONE}/purge_cache":
            return self._error(404, 7003, "Could not route")
        targets = json.loads(request.body)
        [(field, values)] = targets.items()
        if not 1 <= len(values) <= 100:
            return self._error(400, 1094, "Too many")
        if field == "tags":
            self.purge_tags(values)
        for value in values if field == "files" else []:
            self.purge_page(value.removeprefix("http://"))
        for value in values if field == "prefixes" else []:
            self.purge_prefix(value)
        return Answer(json.dumps({"success": True, "errors": [], "messages": [], "result": {"id": "023e105f4ecef8ad"}}))

    def _error(self, status: int, code: int, message: str) -> Answer:
        errors = [{"code": code, "message": message}]
        return Answer(json.dumps({"success": False, "errors": errors, "messages": [], "result": None}), status)


class FakeBunny(Edge):
    """Bunny: a URL that ends with / or * is a wildcard, unless it is declared exact. Without a tag, all pages are purged."""

    label = "CDN-Cache"

    def api_answer(self, request: Request) -> Answer:
        """Answer `POST /purge?url=` and `POST /pullzone/{id}/purgeCache`."""
        if request.headers.get("AccessKey") != TOKEN:
            return Answer(json.dumps({"Message": "Authorization has been denied for this request."}), 401)
        address = urlsplit(request.target.removeprefix(API))
        if address.path == f"pullzone/{ZONE}/purgeCache":
            tag = json.loads(request.body).get("CacheTag") if request.body else None
            self.purge(lambda _, page: not tag or tag in page.tags)
            return Answer("", 204)
        if address.path != "purge":
            return Answer("", 404)
        query = parse_qs(address.query)
        page = query["url"][0].removeprefix("http://")
        exact = query.get("exactPath") == ["true"]
        if page.endswith("*") or (page.endswith("/") and not exact):
            self.purge_prefix(page.rstrip("*"))
        else:
            self.purge_page(page)
        return Answer("")


FAKES: dict[str, type[Edge]] = {"fastly": FakeFastly, "cloudflare": FakeCloudflare, "bunny": FakeBunny}
