"""The admin service over real HTTP, in a thread, with a fake Prefect server and a real store."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

import httpx
import pytest
import uvicorn

from slipway.accounts.grants import Grant
from slipway.accounts.tokens import Tokens
from slipway.admin.app import create_app
from slipway.admin.services import AdminServices
from slipway.deployments.ports import free_ports
from tests.played_prefect import KEEP_ALIVE_S

WITHIN_S = 120.0  # the deadline of every wait: a slow machine needs a part of it, only a bug needs all


class Served:
    """One instance of the admin service, in a thread."""

    def __init__(self, root_path: str = "") -> None:
        [port] = free_ports([0])
        self.app = create_app(own_process=False)
        self.url = f"http://127.0.0.1:{port}"
        config = uvicorn.Config(
            self.app,
            port=port,
            log_level="critical",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
            root_path=root_path,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.http = httpx.Client(base_url=self.url, timeout=WITHIN_S, trust_env=False)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._server.started, "the admin service to answer")
        tokens = Tokens(self.container.store)
        self.token = tokens.make(f"served-{uuid.uuid4()}", Grant(role="admin"), timedelta(days=1), account="ada")[0]
        self.http.headers["Authorization"] = f"Bearer {self.token}"
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive(), "waited for the admin service to end"

    @property
    def container(self) -> AdminServices:
        """The application container of the service."""
        container: AdminServices = self.app.state.container
        return container

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of a response with status 200."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @contextmanager
    def events(self, run_id: str, last_id: str = "") -> Iterator[Iterator[dict[str, Any]]]:
        """Yield the events of a run's stream, each as {id, event, data}; for a comment, `event` is ":"."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        with self.http.stream("GET", f"/runs/{run_id}/events", headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield _parsed(answer)


def _parsed(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if not line:
            yield event
            event = {}
        elif line.startswith(":"):
            event = {"event": ":"}
        else:
            event[name] = json.loads(value) if name == "data" else value


def wait_for(poll: Callable[[], Any], condition: str, seconds: float = WITHIN_S) -> Any:
    """Return the result of `poll` as soon as it is true. Fail after `seconds` with the condition in the message."""
    deadline = time.monotonic() + seconds
    while not (result := poll()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for {condition}")
        time.sleep(0.01)
    return result


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem document of a response. Checks the members that RFC 9457 and our contract require."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail", "failed", "expected", "retry_is_safe"} <= set(body)
    return body
