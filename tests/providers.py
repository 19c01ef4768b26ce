"""CDNs, played: an edge that stores pages in front of a site, and the documented API that purges them.

The exchange, its limits and its errors are those that the providers document; the sources stand in the adapters. What
an API takes is carried out `settles_s` later, and `refusals` are answered before anything else.
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
    """A page in the edge."""

    answer: Answer
    tags: frozenset[str]
    at: float
    stale: bool = False


class Edge(Site):
    """One address for both: under /api/ the provider's API, anywhere else what readers see."""

    label: ClassVar[str] = "X-Cache"  # the header that tells hits and misses

    def __init__(self, origin: Site) -> None:
        super().__init__()
        self.origin = origin
        self.stored: dict[str, Stored] = {}
        self.refusals: list[Answer] = []
        self.settles_s = 0.0
        self.deaf = False  # says that it purges, and does not
        self._under_way: list[tuple[float, Callable[[str, Stored], bool], bool]] = []
        self._lock = Lock()

    def answer(self, request: Request) -> Answer:
        """A page, or what the API says."""
        with self._lock:
            if not request.target.startswith(API):
                return self._read(request.target)
            self.requests.append(request)
            return self.refusals.pop(0) if self.refusals else self.play(request)

    def settle(self) -> None:
        """Carry out everything at the next look, and from now on each order at once."""
        with self._lock:
            self.settles_s = 0.0
            self._under_way = [(0.0, *order) for _, *order in self._under_way]

    def play(self, request: Request) -> Answer:
        """What the provider documents."""
        raise NotImplementedError

    def purge(self, matches: Callable[[str, Stored], bool], *, soft: bool = False) -> None:
        """Take an order; it is carried out when it is due and somebody looks."""
        if not self.deaf:
            self._under_way.append((time.monotonic() + self.settles_s, matches, soft))

    def purge_page(self, page: str, *, soft: bool = False) -> None:
        """One page by its address without the scheme; another host is another site."""
        host, _, route = page.partition("/")
        self.purge(lambda target, _: host == urlsplit(self.url).netloc and target == f"/{route}", soft=soft)

    def purge_prefix(self, page: str) -> None:
        """All pages below an address without the scheme."""
        host, _, route = page.partition("/")
        self.purge(lambda target, _: host == urlsplit(self.url).netloc and target.startswith(f"/{route}"))

    def purge_tags(self, tags: list[str], *, soft: bool = False) -> None:
        """All pages that carry one of the tags."""
        self.purge(lambda _, page: not page.tags.isdisjoint(tags), soft=soft)

    def _read(self, target: str) -> Answer:
        self._carry_out()
        found = self.stored.get(target)
        if found is None or found.stale:
            fetched = self._fetch(target)
            if found is None:
                return fetched
        age = str(int(time.monotonic() - found.at) + int(found.answer.headers.get("Age", "0")))
        return Answer(found.answer.body, headers={**found.answer.headers, self.label: "HIT", "Age": age})

    def _fetch(self, target: str) -> Answer:
        answer = httpx.get(self.origin.url + target, trust_env=False, timeout=60)
        kept = {name: answer.headers[name] for name in ("Cache-Control", "Age") if name in answer.headers}
        page = Answer(answer.text, answer.status_code, {**kept, self.label: "MISS"})
        if answer.status_code == 200 and "no-store" not in kept.get("Cache-Control", "no-store"):
            tags = frozenset(answer.headers.get("Surrogate-Key", "").split())  # kept from readers, as CDNs do
            self.stored[target] = Stored(page, tags, time.monotonic())
        return page

    def _carry_out(self) -> None:
        due = [order for order in self._under_way if order[0] <= time.monotonic()]
        self._under_way = [order for order in self._under_way if order not in due]
        for _, matches, soft in due:
            for target, page in list(self.stored.items()):
                if matches(target, page):
                    page.stale = True
                    if not soft:
                        del self.stored[target]


class FastlyPlayed(Edge):
    """URL purges need no token unless a service asks for it; keys always do."""

    def play(self, request: Request) -> Answer:
        """`POST /purge/{url}` and `POST /service/{id}/purge`."""
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


class CloudflarePlayed(Edge):
    """One kind of target a request, and 100 of it."""

    label = "CF-Cache-Status"

    def play(self, request: Request) -> Answer:
        """`POST /zones/{id}/purge_cache`."""
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._say(403, 10000, "Authentication error")
        if request.target != f"{API}zones/{ZONE}/purge_cache":
            return self._say(404, 7003, "Could not route")
        asked = json.loads(request.body)
        [(field, values)] = asked.items()
        if not 1 <= len(values) <= 100:
            return self._say(400, 1094, "Too many")
        if field == "tags":
            self.purge_tags(values)
        for value in values if field == "files" else []:
            self.purge_page(value.removeprefix("http://"))
        for value in values if field == "prefixes" else []:
            self.purge_prefix(value)
        return Answer(json.dumps({"success": True, "errors": [], "messages": [], "result": {"id": "023e105f4ecef8ad"}}))

    def _say(self, status: int, code: int, message: str) -> Answer:
        errors = [{"code": code, "message": message}]
        return Answer(json.dumps({"success": False, "errors": errors, "messages": [], "result": None}), status)


class BunnyPlayed(Edge):
    """A URL that ends with / or * is a wildcard, unless it is said to be exact; no tag is every page."""

    label = "CDN-Cache"

    def play(self, request: Request) -> Answer:
        """`POST /purge?url=` and `POST /pullzone/{id}/purgeCache`."""
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


PLAYED: dict[str, type[Edge]] = {"fastly": FastlyPlayed, "cloudflare": CloudflarePlayed, "bunny": BunnyPlayed}
