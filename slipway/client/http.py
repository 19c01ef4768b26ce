"""An HTTP client of the admin service. The command line and the typed client use it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from slipway.core.errors import InvalidInput, SlipwayError, Unavailable
from slipway.core.settings import Settings

TIMEOUT_S = 30.0
POLL_S = 0.5
OVER = ("COMPLETED", "FAILED", "CANCELLED")
UNREACHABLE_FOR_S = 60.0  # `follow` gives up if the admin service does not answer for this long
STORE_FILE = "store"  # in the home of an embedded stack: the URL of its store, for `slipway access`
TOKEN_FILE = "token"  # noqa: S105 - its name: in the home of an embedded stack, readable only by its user
RESUMED_WITHIN_S = 60.0  # `follow` ends if no worker resumes a crashed run within this time
Document = dict[str, Any]


def admin_url(settings: Settings) -> str:
    """Return the URL of the admin service: SLIPWAY_ADMIN_URL, or that of a running `make up`. Raises InvalidInput."""
    if settings.admin_url:
        return settings.admin_url
    if homes := running_stacks(settings):
        return _address(homes[0])
    raise InvalidInput(
        "The URL of the admin service is not set.",
        expected="`make up` runs in this folder, or SLIPWAY_ADMIN_URL is set.",
    )


def token_for(settings: Settings, url: str) -> str:
    """Return the token for an admin service: SLIPWAY_TOKEN, or the token file of the embedded stack at this URL."""
    if settings.token:
        return settings.token
    files = [home / TOKEN_FILE for home in running_stacks(settings) if _address(home) == url]
    return files[0].read_text(encoding="utf-8").strip() if files and files[0].is_file() else ""


def running_stacks(settings: Settings) -> list[Path]:
    """Return the homes of embedded stacks that have written their URLs to stack.json."""
    folders = (settings.home, settings.home / "up", settings.home / "demo")
    return [home for home in folders if (home / "stack.json").is_file()]


def _address(home: Path) -> str:
    return str(json.loads((home / "stack.json").read_text(encoding="utf-8"))["admin"])


class AdminClient:
    """One admin service at a URL; requests without a token are anonymous."""

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def jobs(self) -> list[Document]:
        """Return the jobs: card, parameters, schedules."""
        jobs: list[Document] = self._json("GET", "/jobs")
        return jobs

    def start(self, job: str, parameters: Document, *, key: str | None = None) -> Document:
        """Start a run of a job. Raises SlipwayError with the texts of the service's problem document."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._document("POST", f"/jobs/{job}/runs", json=parameters, headers=headers)

    def roll_back(self, run_id: str) -> Document:
        """Roll back the change that a run shipped."""
        return self._document("POST", f"/runs/{run_id}/rollback")

    def retry(self, run_id: str) -> Document:
        """Start the same job with the same parameters again."""
        return self._document("POST", f"/runs/{run_id}/retry")

    def act(self, run_id: str, action: str, why: str) -> Document:
        """Run `approve`, `reject`, `cancel`, `pause` or `resume` on a run, in the name of the token's owner."""
        return self._document("POST", f"/runs/{run_id}/{action}", json={"why": why})

    def run(self, run_id: str) -> Document:
        """Return everything about a run."""
        return self._document("GET", f"/runs/{run_id}")

    def history(self, service: str) -> Document:
        """Return the history of a service: series, marks, points."""
        return self._document("GET", f"/services/{service}/history")

    def runs(self, limit: int) -> list[Document]:
        """Return the newest runs."""
        runs: list[Document] = self._document("GET", "/runs", params={"limit": limit})["runs"]
        return runs

    def follow(self, run_id: str) -> Iterator[Document]:
        """Yield the run at intervals until it has ended; the last one yielded has ended.

        Waits 60 s for an unreachable service (then raises Unavailable), and 60 s for a worker to resume a crashed run.
        """
        answered_at = alive_at = time.monotonic()
        while True:
            try:
                run = self.run(run_id)
            except Unavailable:
                if time.monotonic() - answered_at > UNREACHABLE_FOR_S:
                    raise
            else:
                answered_at = time.monotonic()
                yield run
                alive_at = alive_at if run["state"]["type"] == "CRASHED" else answered_at
                if run["state"]["type"] in OVER or answered_at - alive_at > RESUMED_WITHIN_S:
                    return
            time.sleep(POLL_S)

    def _document(self, method: str, path: str, **options: Any) -> Document:
        document: Document = self._json(method, path, **options)
        return document

    def _json(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The admin service at {self._url} does not answer: {type(error).__name__}.",
                expected="`make up` runs, or SLIPWAY_ADMIN_URL is set to the URL of the admin service.",
            ) from None
        if response.is_error:
            raise _problem(response)
        return response.json()


def _problem(response: httpx.Response) -> SlipwayError:
    try:
        body = response.json()
        failed, expected, retry_is_safe = str(body["failed"]), str(body["expected"]), bool(body["retry_is_safe"])
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"The admin service answered {response.status_code}.", expected="A problem document.")
    kind = {422: InvalidInput, 503: Unavailable}.get(response.status_code)
    if kind is not None:
        return kind(failed, expected=expected)
    return SlipwayError(failed, expected=expected, retry_is_safe=retry_is_safe)
