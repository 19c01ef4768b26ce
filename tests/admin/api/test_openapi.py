"""Requests generated from our OpenAPI document cause no server error, and every response matches the document."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import allow_header_conformance, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from slipway.runs.store import Store
from tests.admin.api.served import WITHIN_S, Served
from tests.played_prefect import FakePrefect

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
EXAMPLES = 6


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # schemathesis does, in its strategies
def test_responses_match_the_document(
    prefect: FakePrefect, serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    """Valid and invalid requests, for existing and unknown objects, get only documented responses."""
    monkeypatch.setenv("SLIPWAY_TRIGGERS_PER_MINUTE", "100000")
    run = prefect.run("look-around", "COMPLETED", ago_s=60, tags=["service:shop"])
    prefect.step(run, "look", "COMPLETED")
    prefect.log(run, "a line")
    store.save(run["id"], "look", "Decision", {"word": "keep", "reason": "it is good"})
    admin = serve()
    existing = {"run_id": run["id"], "job": "look-around", "service": "shop"}
    schema = schemathesis.openapi.from_url(f"{admin.url}/openapi.json", headers=dict(admin.http.headers))
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 15
    for operation in operations:
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            if mode is GenerationMode.POSITIVE or operation.body or list(operation.iter_parameters()):
                with suppress(Unsatisfiable):  # any text is a valid job name: some requests cannot be invalid
                    _ask(operation, mode, existing, admin.token)


def _ask(operation: schemathesis.APIOperation, mode: GenerationMode, existing: dict[str, str], token: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), of_existing=st.booleans())
    def ask(case: schemathesis.Case, of_existing: bool) -> None:
        if of_existing:
            case.path_parameters.update({name: existing[name] for name in case.path_parameters if name in existing})
        case.call_and_validate(checks=CHECKS, timeout=WITHIN_S, headers={"Authorization": f"Bearer {token}"})

    ask()
