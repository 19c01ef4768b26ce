"""Start jobs from their forms, and act on runs from their pages, with sample admin services."""

from __future__ import annotations

import asyncio
import copy
import re
from typing import Any

import httpx
import pytest

from slipway.accounts.grants import Grant, Role
from slipway.admin.app import create_app
from slipway.admin.auth.caller import Caller
from slipway.admin.problems import Conflict
from tests.admin.conftest import Ask, asking
from tests.admin.made_up import AT, CHANGE, EVIL, ID, STARTED, MadeUp
from tests.admin.signed_in import let_in

KEY = "a-key-of-a-form"
WAITS = {"type": "PAUSED", "name": "Suspended", "message": ""}
WHY = {"why": "it looks right", "key": KEY}


def test_a_form_starts_a_run(ask: Ask, made_up: MadeUp) -> None:
    """The values have the types of the parameters, empty fields are left out, and the browser is redirected to the run."""
    sent = {"key": KEY, "p.service": "shop", "p.rows": "50", "p.routes": "/a\r\n\r\n /b ", "p.careful": "false"}
    answer = ask("POST", "/pages/jobs/warm-up", data={**sent, "p.mode": "quick", "p.extra": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/pages/runs/{STARTED}")
    [(name, parameters, _)] = made_up.jobs.started
    assert name == "warm-up"
    assert parameters == {"service": "shop", "rows": 50, "routes": ["/a", "/b"], "careful": False}


def test_a_double_click_is_one_run(ask: Ask, made_up: MadeUp) -> None:
    """The same form sent twice has the same key; a changed form has another key."""
    for rows in ("5", "5", "6"):
        ask("POST", "/pages/jobs/warm-up", data={"key": KEY, "p.service": "shop", "p.rows": rows})
    first, second, other = (key for _, _, key in made_up.jobs.started)
    assert first == second != other


def test_errors_are_shown_at_their_fields(ask: Ask, made_up: MadeUp) -> None:
    """No run is started, each error is linked to its field, and the form keeps the typed values."""
    sent = {"key": KEY, "p.service": "", "p.rows": "101", "p.share": EVIL, "p.routes": "/a\nb", "p.extra": "{"}
    answer = ask("POST", "/pages/jobs/warm-up", data=sent)
    assert answer.status_code == 422 and not made_up.jobs.started
    page = answer.text
    assert '<p class="error" id="f-rows-error">At most 100.</p>' in page
    assert re.search(r'id="f-rows" name="p.rows" aria-describedby="f-rows-hint f-rows-error" aria-invalid="true"', page)
    assert '<p class="error" id="f-service-error">This field is required.</p>' in page
    assert "Line 2: “b” does not match the pattern ^/." in page and "Not valid JSON: " in page
    assert 'value="101"' in page and "Enter a number, not “&lt;script&gt;" in page and "<script>alert" not in page


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"p.force": "true"}, "has no parameter p.force"),
        ({"job_variables": "{}"}, "has no parameter job_variables"),
        ({"key": "no key"}, "has no valid key"),
        ({"p.note": "a\0b"}, "contains a NUL"),
    ],
)
def test_forged_form_fields_are_refused(ask: Ask, made_up: MadeUp, more: dict[str, str], message: str) -> None:
    """A form cannot send an unknown parameter or a job variable."""
    answer = ask("POST", "/pages/jobs/warm-up", data={"key": KEY, "p.service": "shop", **more})
    assert answer.status_code == 422 and message in answer.text and not made_up.jobs.started


def test_an_uploaded_file_is_refused(ask: Ask, made_up: MadeUp) -> None:
    """A form accepts no files."""
    answer = ask("POST", "/pages/jobs/warm-up", data={"key": KEY}, files={"p.service": b"shop"})
    assert answer.status_code in (400, 422) and not made_up.jobs.started


def test_a_refused_start_shows_the_error_with_the_form(ask: Ask, made_up: MadeUp) -> None:
    """If another change is in flight, the page shows the conflict above the form, which keeps the typed values."""
    made_up.jobs.refuses = Conflict("Run 7 is in flight for shop.", expected="One change at a time.")
    answer = ask("POST", "/pages/jobs/warm-up", data={"key": KEY, "p.service": "shop", "p.rows": "77"})
    assert answer.status_code == 409 and "Run 7 is in flight for shop." in answer.text and 'value="77"' in answer.text


def test_a_dangerous_job_requires_the_typed_name(ask: Ask, made_up: MadeUp) -> None:
    """The page first describes what shipping will do. Only the typed name of the change starts the run."""
    sent = {"key": KEY, "p.change": CHANGE, "p.staging": "false"}
    page = ask("POST", "/pages/jobs/ship-change", data=sent)
    assert page.status_code == 200 and "What will happen" in page.text and "from 0007 to 0008" in page.text
    assert f'name="p.change" value="{CHANGE}"' in page.text and f'name="key" value="{KEY}"' in page.text
    wrong = ask("POST", "/pages/jobs/ship-change", data={**sent, "confirm": f"{CHANGE}s"})
    assert wrong.status_code == 422 and "The name does not match." in wrong.text and not made_up.jobs.started
    right = ask("POST", "/pages/jobs/ship-change", data={**sent, "confirm": CHANGE})
    assert right.status_code == 303 and made_up.jobs.started[0][:2] == ("ship-change", {"change": CHANGE})


def test_an_unknown_change_shows_the_error_with_the_form(ask: Ask, made_up: MadeUp) -> None:
    """The form keeps the typed name."""
    answer = ask("POST", "/pages/jobs/ship-change", data={"key": KEY, "p.change": "nope"})
    assert answer.status_code == 404 and "There is no change" in answer.text and 'value="nope"' in answer.text


def test_the_query_string_fills_in_a_form(ask: Ask) -> None:
    """A link to a job can contain values of fields. The values are escaped."""
    page = ask("GET", "/pages/jobs/warm-up?p.service=shop&p.note=%3Cscript%3Ealert(1)").text
    assert '<option value="shop" selected>' in page and "<script>alert" not in page


def run_of(made_up: MadeUp, job: str, state: dict[str, Any], **more: Any) -> None:
    """Change the job and the state of the sample run."""
    about = {"change": CHANGE, "service": "shop", "parameters": {"change": CHANGE}}
    made_up.sample = {**copy.deepcopy(made_up.sample), "job": job, "state": state, "backfill": None, **about, **more}


@pytest.mark.parametrize("word", ["approve", "reject"])
def test_a_change_is_approved_or_rejected_on_a_page(ask: Ask, made_up: MadeUp, word: str) -> None:
    """The page describes the effect and requires a reason. Prefect gets the decision, and the run's page follows."""
    run_of(made_up, "ship-change", WAITS)
    assert f'href="/pages/runs/{ID}/{word}"' in ask("GET", f"/pages/runs/{ID}").text
    assert "What will happen" in ask("GET", f"/pages/runs/{ID}/{word}").text
    missing = ask("POST", f"/pages/runs/{ID}/{word}", data={"by": "Grace", "why": " ", "key": KEY})
    assert missing.status_code == 422 and "The reason is missing" in missing.text
    answer = ask("POST", f"/pages/runs/{ID}/{word}", data=WHY)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/pages/runs/{ID}")
    decision = {"approved": word == "approve", "by": "ada", "why": "it looks right"}
    assert made_up.prefect.calls == [("resume", str(ID), decision)]


def test_a_cancel_after_the_migration_requires_the_name(ask: Ask, made_up: MadeUp) -> None:
    """After the migration a cancel rolls back: the page says so, and requires the typed name of the change."""
    steps = [{"name": "migrate", "state": {"type": "RUNNING", "name": "Running"}, "started": AT, "seconds": 1.0}]
    run_of(made_up, "ship-change", {"type": "RUNNING", "name": "Running", "message": ""}, steps=steps)
    assert "stops its current step and rolls back" in ask("GET", f"/pages/runs/{ID}/cancel").text
    refused = ask("POST", f"/pages/runs/{ID}/cancel", data={**WHY, "confirm": "shop"})
    assert refused.status_code == 422 and "does not match" in refused.text and not made_up.prefect.calls
    assert ask("POST", f"/pages/runs/{ID}/cancel", data={**WHY, "confirm": CHANGE}).status_code == 303
    assert made_up.prefect.calls == [
        ("cancel", str(ID), "ada: it looks right"),
        ("set_state", str(ID), "CANCELLING"),
    ]


def test_a_backfill_is_paused_and_resumed(ask: Ask, made_up: MadeUp) -> None:
    """A running backfill can be paused but not resumed; a paused one can be resumed."""
    state, rows = {"type": "RUNNING", "name": "Running", "message": ""}, made_up.sample["backfill"]
    run_of(made_up, "backfill", state)
    made_up.sample["backfill"] = {**rows, "held_because": ""}
    assert ask("POST", f"/pages/runs/{ID}/pause", data=WHY).status_code == 303
    assert ask("POST", f"/pages/runs/{ID}/resume", data=WHY).status_code == 409
    made_up.sample["backfill"] = {**rows, "held_because": "paused by Ada: rush hour"}
    assert ask("POST", f"/pages/runs/{ID}/resume", data=WHY).status_code == 303
    assert [call[0] for call in made_up.prefect.calls] == ["pause", "end pause"]


def test_a_rollback_requires_the_typed_name(ask: Ask, made_up: MadeUp) -> None:
    """The page of a kept run starts roll-back-change, and redirects to the new run."""
    run_of(made_up, "ship-change", {"type": "COMPLETED", "name": "Kept", "message": ""}, ended=AT)
    assert ask("POST", f"/pages/runs/{ID}/rollback", data={"key": KEY, "confirm": "x"}).status_code == 422
    answer = ask("POST", f"/pages/runs/{ID}/rollback", data={"key": KEY, "confirm": CHANGE})
    assert answer.headers["location"] == f"/pages/runs/{STARTED}"
    [(job, parameters, _)] = made_up.jobs.started
    assert (job, parameters) == ("roll-back-change", {"change": CHANGE, "staging": False})


def test_a_failed_run_is_retried(ask: Ask, made_up: MadeUp) -> None:
    """The new run has the same parameters. A double click starts one run."""
    run_of(made_up, "measure-service", {"type": "FAILED", "name": "Failed", "message": ""}, ended=AT)
    for _ in range(2):
        assert ask("POST", f"/pages/runs/{ID}/retry", data={"key": KEY}).status_code == 303
    (job, parameters, first), (*_, second) = made_up.jobs.started
    assert (job, parameters) == ("measure-service", {"change": CHANGE}) and first == second


@pytest.mark.parametrize(
    ("do", "what"),
    [("pause", {"paused": True, "disabled": None}), ("enable", {"paused": None, "disabled": False})],
)
def test_a_job_is_switched(ask: Ask, made_up: MadeUp, do: str, what: dict[str, Any]) -> None:
    """The schedules or the whole job are switched, with a reason, in the name of the signed-in user."""
    assert ask("POST", "/pages/jobs/warm-up/switch", data={"do": do, "why": ""}).status_code == 422
    assert ask("POST", "/pages/jobs/warm-up/switch", data={"do": "what", "why": "so"}).status_code == 422
    answer = ask("POST", "/pages/jobs/warm-up/switch", data={"do": do, "why": "rush hour"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/pages/jobs/warm-up")
    assert made_up.jobs.switched == [("warm-up", {**what, "by": "ada", "why": "rush hour"})]


def test_a_disabled_job_has_no_form(ask: Ask, made_up: MadeUp) -> None:
    """The page says who disabled the job, when and why, and has a button that enables the job."""
    made_up.jobs.disabled["warm-up"] = {"since": AT, "by": "ada", "why": EVIL}
    page = ask("GET", "/pages/jobs/warm-up").text
    assert "This job is disabled" in page and "by ada: &lt;script&gt;" in page and 'name="p.service"' not in page
    assert 'value="enable"' in page and ">disabled</span>" in ask("GET", "/pages/jobs").text


def ask_with_role(made_up: MadeUp, role: Role, *services: str) -> Ask:
    """Return a function that sends requests as a caller with a role for some services, or for all."""
    return asking(made_up, Caller("grace", "token", (Grant(role=role, services=services or None),)))


def test_a_viewer_sees_no_buttons(made_up: MadeUp) -> None:
    """No page has buttons that the caller may not use, and the requests behind them are refused."""
    ask = ask_with_role(made_up, "viewer")
    run_of(made_up, "ship-change", WAITS)
    for path in (f"/pages/runs/{ID}", f"/pages/changes/{CHANGE}", "/pages/jobs/warm-up", "/pages/services/shop"):
        page = ask("GET", path)
        assert page.status_code == 200 and 'class="button' not in page.text, path
        assert re.findall(r'<form method="post" action="([^"]*)"', page.text) == ["/pages/sign-out"], path
    answer = ask("GET", f"/pages/runs/{ID}/approve")
    assert answer.status_code == 403 and "grace may not approve" in answer.text
    assert ask("POST", f"/pages/runs/{ID}/approve", data=WHY).status_code == 403
    assert not made_up.prefect.calls


def test_an_operator_sees_no_approve_button(made_up: MadeUp) -> None:
    """The page of a run has only the buttons that the caller's rights allow."""
    ask = ask_with_role(made_up, "operator")
    run_of(made_up, "ship-change", WAITS)
    page = ask("GET", f"/pages/runs/{ID}").text
    assert f"{ID}/cancel" in page and f"{ID}/approve" not in page


def test_a_change_of_another_service_is_hidden(made_up: MadeUp) -> None:
    """Without a right on the service, no list has the change, and the confirmation page shows nothing of it."""
    ask = ask_with_role(made_up, "operator", "bakery")
    assert CHANGE not in ask("GET", "/pages/changes").text
    answer = ask("POST", "/pages/jobs/ship-change", data={"key": KEY, "p.change": CHANGE})
    assert answer.status_code == 403 and "may not operate shop" in answer.text and "0008" not in answer.text


def test_links_include_the_mount_prefix(made_up: MadeUp) -> None:
    """Every link, form, script and redirect begins with the prefix that the service is mounted under."""
    app = create_app()
    let_in(app, made_up)

    async def send(method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path="/ops")
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **more)

    for path in ("/ops/", "/ops/pages/jobs/warm-up", f"/ops/pages/changes/{CHANGE}", f"/ops/pages/runs/{ID}"):
        page = asyncio.run(send("GET", path)).text
        own = re.findall(r'(?:href|src|action|hx-get)="(/[^"]*)"', page)
        assert own and all(link.startswith("/ops/") for link in own), own
    answer = asyncio.run(send("POST", "/ops/pages/jobs/warm-up", data={"key": KEY, "p.service": "shop"}))
    assert answer.headers["location"] == f"/ops/pages/runs/{STARTED}"
