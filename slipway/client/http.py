"""A client of the admin service: the command line takes the same door as everybody else."""

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
AWAY_FOR_S = 60.0  # so long a run is followed while the admin service does not answer
STORE_FILE = "store"  # in the home of an embedded stack: the URL of its store, for `slipway access`
TOKEN_FILE = "token"  # noqa: S105 - its name: in the home of an embedded stack, readable only by its user
RESUMED_WITHIN_S = 60.0  # a crash that no worker has resumed by then is an end, too
Document = dict[str, Any]


def admin_url(settings: Settings) -> str:
    """Where the admin service is: SLIPWAY_ADMIN_URL, or what a running `make up` wrote down. Raises InvalidInput."""
    if settings.admin_url:
        return settings.admin_url
    if homes := running_stacks(settings):
        return _address(homes[0])
    raise InvalidInput(
        "No admin service is known.", expected="`make up` running in this folder, or SLIPWAY_ADMIN_URL set."
    )


def token_for(settings: Settings, url: str) -> str:
    """What to show at an admin service: SLIPWAY_TOKEN, or what the embedded stack at this very address wrote down."""
    if settings.token:
        return settings.token
    found = [home / TOKEN_FILE for home in running_stacks(settings) if _address(home) == url]
    return found[0].read_text(encoding="utf-8").strip() if found and found[0].is_file() else ""


def running_stacks(settings: Settings) -> list[Path]:
    """The homes of embedded stacks that have written down where they are."""
    places = (settings.home, settings.home / "up", settings.home / "demo")
    return [home for home in places if (home / "stack.json").is_file()]


def _address(home: Path) -> str:
    return str(json.loads((home / "stack.json").read_text(encoding="utf-8"))["admin"])


class AdminClient:
    """One admin service at a URL; without a token it is a stranger there."""

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
        """The jobs: card, parameters, schedules."""
        found: list[Document] = self._json("GET", "/jobs")
        return found

    def start(self, job: str, parameters: Document, *, key: str | None = None) -> Document:
        """Start a run of a job. Raises SlipwayError with the words of the service's problem document."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._one("POST", f"/jobs/{job}/runs", json=parameters, headers=headers)

    def roll_back(self, run_id: str) -> Document:
        """Roll back what a run shipped."""
        return self._one("POST", f"/runs/{run_id}/rollback")

    def retry(self, run_id: str) -> Document:
        """Start the same job with the same parameters again."""
        return self._one("POST", f"/runs/{run_id}/retry")

    def say(self, run_id: str, action: str, why: str) -> Document:
        """`approve`, `reject`, `cancel`, `pause` or `resume` a run, and why; who is whose token it is."""
        return self._one("POST", f"/runs/{run_id}/{action}", json={"why": why})

    def run(self, run_id: str) -> Document:
        """Everything about a run."""
        return self._one("GET", f"/runs/{run_id}")

    def history(self, service: str) -> Document:
        """The history of a service: series, marks, points."""
        return self._one("GET", f"/services/{service}/history")

    def runs(self, limit: int) -> list[Document]:
        """The newest runs."""
        found: list[Document] = self._one("GET", "/runs", params={"limit": limit})["runs"]
        return found

    def follow(self, run_id: str) -> Iterator[Document]:
        """The run again and again until it has ended, the last time ended.

        A service that is away is waited for, and so is a worker that resumes a crashed run.
        """
        answered = lived = time.monotonic()
        while True:
            try:
                run = self.run(run_id)
            except Unavailable:
                if time.monotonic() - answered > AWAY_FOR_S:
                    raise
            else:
                answered = time.monotonic()
                yield run
                lived = lived if run["state"]["type"] == "CRASHED" else answered
                if run["state"]["type"] in OVER or answered - lived > RESUMED_WITHIN_S:
                    return
            time.sleep(POLL_S)

    def _one(self, method: str, path: str, **more: Any) -> Document:
        found: Document = self._json(method, path, **more)
        return found

    def _json(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The admin service at {self._url} does not answer: {type(error).__name__}.",
                expected="`make up` running, or SLIPWAY_ADMIN_URL set to where it is.",
            ) from None
        if answer.is_error:
            raise _problem(answer)
        return answer.json()


def _problem(answer: httpx.Response) -> SlipwayError:
    try:
        body = answer.json()
        words = str(body["failed"]), str(body["expected"]), bool(body["retry_is_safe"])
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"The admin service answered {answer.status_code}.", expected="A problem document.")
    kind = {422: InvalidInput, 503: Unavailable}.get(answer.status_code)
    if kind is not None:
        return kind(words[0], expected=words[1])
    return SlipwayError(words[0], expected=words[1], retry_is_safe=words[2])
