"""Fake CloudFront and Akamai: APIs with signed requests. The signatures are computed here from the documentation.

Sources: "Signature Version 4 signing process" (AWS), "Authenticate with EdgeGrid" (Akamai).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from xml.etree import ElementTree

from tests.caches import TOKEN
from tests.providers import API, FAKES, ZONE, Edge
from tests.sites import Answer, Request

KEY_ID = "AKIDEXAMPLE"  # also Akamai's client token and access token


def hmac_sha256(key: bytes, text: str) -> bytes:
    """Return the HMAC-SHA256 of a text, which both schemes use."""
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def has_sigv4(request: Request) -> bool:
    """Return whether a request is signed for CloudFront with the test's key and secret."""
    pattern = r"AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
    match = re.fullmatch(pattern, request.headers.get("Authorization", ""))
    if match is None:
        return False
    key_id, *scope = match[1].split("/")
    path, _, query = request.target.partition("?")
    signed = [f"{name}:{request.headers[name].strip()}" for name in match[2].split(";")]
    digest = hashlib.sha256(request.body.encode()).hexdigest()
    canonical = "\n".join([request.method, path, query, *signed, "", match[2], digest])
    moment = request.headers["X-Amz-Date"]
    to_sign = ["AWS4-HMAC-SHA256", moment, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()]
    key = b"AWS4" + TOKEN.encode()
    for part in scope:
        key = hmac_sha256(key, part)
    has_right_scope = (key_id, scope) == (KEY_ID, [moment[:8], "us-east-1", "cloudfront", "aws4_request"])
    return has_right_scope and "host" in match[2] and hmac_sha256(key, "\n".join(to_sign)).hex() == match[3]


def has_edgegrid(request: Request) -> bool:
    """Return whether a request is signed for Akamai with the test's three tokens."""
    authorization = request.headers.get("Authorization", "")
    unsigned, _, signature = authorization.partition("signature=")
    parts = dict(part.split("=", 1) for part in unsigned.removeprefix("EG1-HMAC-SHA256 ").split(";") if part)
    if (parts.get("client_token"), parts.get("access_token")) != (KEY_ID, KEY_ID):
        return False
    digest = base64.b64encode(hashlib.sha256(request.body.encode()).digest()).decode()
    data = [request.method, "http", request.headers["Host"], request.target, "", digest, unsigned]
    key = base64.b64encode(hmac_sha256(TOKEN.encode(), parts["timestamp"]))
    return base64.b64encode(hmac_sha256(key, "\t".join(data))).decode() == signature


class FakeCloudFront(Edge):
    """CloudFront: an invalidation is in progress until it is due. The same reference and paths are the same invalidation."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.due: dict[str, float] = {}
        self.ids: dict[str, str] = {}

    def apply_purges(self) -> None:
        """Complete all invalidations that are in progress, too."""
        super().apply_purges()
        self.due = dict.fromkeys(self.due, 0.0)

    def api_answer(self, request: Request) -> Answer:
        """Answer CreateInvalidation and GetInvalidation."""
        base = f"{API}2020-05-31/distribution/{ZONE}/invalidation"
        if not has_sigv4(request):
            return self._error(403, "SignatureDoesNotMatch")
        if request.method == "GET" and request.target.removeprefix(base + "/") in self.due:
            return self._status(request.target.removeprefix(base + "/"))
        if request.target != base:
            return self._error(404, "NoSuchDistribution")
        try:
            paths = [path.text or "" for path in ElementTree.fromstring(request.body).iterfind(".//{*}Path")]
        except ElementTree.ParseError:
            return self._error(400, "MalformedXML")
        wild = [path for path in paths if path.endswith("*")]
        if f"<Quantity>{len(paths)}</Quantity>" not in request.body:
            return self._error(400, "InconsistentQuantities")
        if len(wild) > 15 or len(paths) - len(wild) > 3000:
            return self._error(400, "TooManyInvalidationsInProgress")
        if request.body not in self.ids:
            self.ids[request.body] = f"I{len(self.ids)}EXAMPLE"
            self._invalidate(paths)
            self.due[self.ids[request.body]] = time.monotonic() + self.purge_delay_s  # not before its purges are due
        return self._invalidation(201, self.ids[request.body], "InProgress")

    def _invalidate(self, paths: list[str]) -> None:
        for path in paths:
            if path.startswith("#"):
                self.purge_tags([path[1:]])
            elif path.endswith("*"):
                self.purge(lambda target, _, path=path: target.startswith(path[:-1]))  # type: ignore[misc]
            else:
                self.purge(lambda target, _, path=path: target == path)  # type: ignore[misc]

    def _status(self, name: str) -> Answer:
        return self._invalidation(200, name, "Completed" if time.monotonic() >= self.due[name] else "InProgress")

    def _invalidation(self, status: int, name: str, state: str) -> Answer:
        return Answer(f"<Invalidation><Id>{name}</Id><Status>{state}</Status></Invalidation>", status)

    def _error(self, status: int, code: str) -> Answer:
        return Answer(f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>", status)


class FakeAkamai(Edge):
    """Akamai: URLs or tags, at most 50,000 bytes per request."""

    def api_answer(self, request: Request) -> Answer:
        """Answer `POST /ccu/v3/delete/{url,tag}/production`."""
        if not has_edgegrid(request):
            return self._response(401, "Not authorized")
        kind = re.fullmatch(f"{API}ccu/v3/delete/(url|tag)/production", request.target)
        if kind is None:
            return self._response(404, "Not found")
        if len(request.body.encode()) > 50_000:
            return self._response(413, "Request entity too large")
        objects = json.loads(request.body)["objects"]
        if kind[1] == "tag":
            self.purge_tags(objects)
        for page in objects if kind[1] == "url" else []:
            self.purge_page(page.removeprefix("http://"))
        return self._response(201, "Request accepted")

    def _response(self, status: int, detail: str) -> Answer:
        body = {"httpStatus": status, "detail": detail, "supportId": "17PY1", "estimatedSeconds": 5, "purgeId": "e5"}
        return Answer(json.dumps(body), status)


ALL_FAKES = {**FAKES, "cloudfront": FakeCloudFront, "akamai": FakeAkamai}
