"""Jobs started from their forms, and what is done to runs from their pages, over doors that are made up."""

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
    """What was filled in arrives typed, nothing else does, and the browser is led to the run."""
    sent = {"key": KEY, "p.service": "shop", "p.rows": "50", "p.routes": "/a\r\n\r\n /b ", "p.careful": "false"}
    answer = ask("POST", "/pages/jobs/warm-up", data={**sent, "p.mode": "quick", "p.extra": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/pages/runs/{STARTED}")
    [(name, parameters, _)] = made_up.jobs.started
    assert name == "warm-up"
    assert parameters == {"service": "shop", "rows": 50, "routes": ["/a", "/b"], "careful": False}


def test_a_double_click_is_one_run(ask: Ask, made_up: MadeUp) -> None:
    """The same form sent twice carries the same key; changed and sent again it carries another one."""
    for rows in ("5", "5", "6"):
        ask("POST", "/pages/jobs/warm-up", data={"key": KEY, "p.service": "shop", "p.rows": rows})
    first, second, other = (key for _, _, key in made_up.jobs.started)
    assert first == second != other


def test_what_is_wrong_stands_beside_its_field(ask: Ask, made_up: MadeUp) -> None:
    """Nothing is started, every fault is tied to its field, and what was typed is still there."""
    sent = {"key": KEY, "p.service": "", "p.rows": "101", "p.share": EVIL, "p.routes": "/a\nb", "p.extra": "{"}
    answer = ask("POST", "/pages/jobs/warm-up", data=sent)
    assert answer.status_code == 422 and not made_up.jobs.started
    page = answer.text
    assert '<p class="error" id="f-rows-error">At most 100.</p>' in page
    assert re.search(r'id="f-rows" name="p.rows" aria-describedby="f-rows-hint f-rows-error" aria-invalid="true"', page)
    assert '<p class="error" id="f-service-error">This is needed.</p>' in page
    assert "Line 2: “b” does not have the form ^/." in page and "This is no JSON: " in page
    assert 'value="101"' in page and "A number, not “&lt;script&gt;" in page and "<script>alert" not in page


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"p.force": "true"}, "takes no p.force"),
        ({"job_variables": "{}"}, "takes no job_variables"),
        ({"key": "no key"}, "carries no key"),
        ({"p.note": "a\0b"}, "carries a NUL"),
    ],
)
def test_what_no_form_of_ours_sends_is_refused(ask: Ask, made_up: MadeUp, more: dict[str, str], words: str) -> None:
    """Neither an unknown parameter nor a job variable comes through a form."""
    answer = ask("POST", "/pages/jobs/warm-up", data={"key": KEY, "p.service": "shop", **more})
    assert answer.status_code == 422 and words in answer.text and not made_up.jobs.started


def test_a_file_is_no_parameter(ask: Ask, made_up: MadeUp) -> None:
    """A form takes no files."""
    answer = ask("POST", "/pages/jobs/warm-up", data={"key": KEY}, files={"p.service": b"shop"})
    assert answer.status_code in (400, 422) and not made_up.jobs.started


def test_what_the_door_refuses_is_told_with_the_form(ask: Ask, made_up: MadeUp) -> None:
    """A change in flight is a conflict in words, above the form that keeps what was typed."""
    made_up.jobs.refuses = Conflict("Run 7 is in flight for shop.", expected="One change at a time.")
    answer = ask("POST", "/pages/jobs/warm-up", data={"key": KEY, "p.service": "shop", "p.rows": "77"})
    assert answer.status_code == 409 and "Run 7 is in flight for shop." in answer.text and 'value="77"' in answer.text


def test_a_danger_asks_for_the_name(ask: Ask, made_up: MadeUp) -> None:
    """Shipping first says what will happen; only the change's own name, typed, starts it."""
    sent = {"key": KEY, "p.change": CHANGE, "p.staging": "false"}
    told = ask("POST", "/pages/jobs/ship-change", data=sent)
    assert told.status_code == 200 and "What will happen" in told.text and "from 0007 to 0008" in told.text
    assert f'name="p.change" value="{CHANGE}"' in told.text and f'name="key" value="{KEY}"' in told.text
    wrong = ask("POST", "/pages/jobs/ship-change", data={**sent, "confirm": f"{CHANGE}s"})
    assert wrong.status_code == 422 and "This is another name." in wrong.text and not made_up.jobs.started
    right = ask("POST", "/pages/jobs/ship-change", data={**sent, "confirm": CHANGE})
    assert right.status_code == 303 and made_up.jobs.started[0][:2] == ("ship-change", {"change": CHANGE})


def test_a_change_that_is_not_there(ask: Ask, made_up: MadeUp) -> None:
    """It is told with the form, which keeps the name that was typed."""
    answer = ask("POST", "/pages/jobs/ship-change", data={"key": KEY, "p.change": "nope"})
    assert answer.status_code == 404 and "There is no change" in answer.text and 'value="nope"' in answer.text


def test_the_address_can_fill_in_a_form(ask: Ask) -> None:
    """A link to a job carries a value for its field, as a text and nothing else."""
    page = ask("GET", "/pages/jobs/warm-up?p.service=shop&p.note=%3Cscript%3Ealert(1)").text
    assert '<option value="shop" selected>' in page and "<script>alert" not in page


def run_of(made_up: MadeUp, job: str, state: dict[str, Any], **more: Any) -> None:
    """Make the run of another kind."""
    about = {"change": CHANGE, "service": "shop", "parameters": {"change": CHANGE}}
    made_up.found = {**copy.deepcopy(made_up.found), "job": job, "state": state, "backfill": None, **about, **more}


@pytest.mark.parametrize("word", ["approve", "reject"])
def test_an_approval_is_answered_on_a_page(ask: Ask, made_up: MadeUp, word: str) -> None:
    """The page says what will come of it and asks for a reason; the answer reaches Prefect, and leads back to the run."""
    run_of(made_up, "ship-change", WAITS)
    assert f'href="/pages/runs/{ID}/{word}"' in ask("GET", f"/pages/runs/{ID}").text
    assert "What will happen" in ask("GET", f"/pages/runs/{ID}/{word}").text
    missing = ask("POST", f"/pages/runs/{ID}/{word}", data={"by": "Grace", "why": " ", "key": KEY})
    assert missing.status_code == 422 and "does not say why" in missing.text
    answer = ask("POST", f"/pages/runs/{ID}/{word}", data=WHY)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/pages/runs/{ID}")
    said = {"approved": word == "approve", "by": "ada", "why": "it looks right"}
    assert made_up.prefect.told == [("resume", str(ID), said)]


def test_a_cancel_after_the_migration_asks_for_the_name(ask: Ask, made_up: MadeUp) -> None:
    """While the change is live a cancel rolls back: it says so, and wants the change's name."""
    steps = [{"name": "migrate", "state": {"type": "RUNNING", "name": "Running"}, "started": AT, "seconds": 1.0}]
    run_of(made_up, "ship-change", {"type": "RUNNING", "name": "Running", "message": ""}, steps=steps)
    assert "goes all the way back" in ask("GET", f"/pages/runs/{ID}/cancel").text
    refused = ask("POST", f"/pages/runs/{ID}/cancel", data={**WHY, "confirm": "shop"})
    assert refused.status_code == 422 and "is another one" in refused.text and not made_up.prefect.told
    assert ask("POST", f"/pages/runs/{ID}/cancel", data={**WHY, "confirm": CHANGE}).status_code == 303
    assert made_up.prefect.told == [
        ("cancel", str(ID), "ada: it looks right"),
        ("set_state", str(ID), "CANCELLING"),
    ]


def test_a_backfill_is_paused_and_goes_on(ask: Ask, made_up: MadeUp) -> None:
    """Each button stands there when it makes sense."""
    state, rows = {"type": "RUNNING", "name": "Running", "message": ""}, made_up.found["backfill"]
    run_of(made_up, "backfill", state)
    made_up.found["backfill"] = {**rows, "held_because": ""}
    assert ask("POST", f"/pages/runs/{ID}/pause", data=WHY).status_code == 303
    assert ask("POST", f"/pages/runs/{ID}/resume", data=WHY).status_code == 409
    made_up.found["backfill"] = {**rows, "held_because": "paused by Ada: rush hour"}
    assert ask("POST", f"/pages/runs/{ID}/resume", data=WHY).status_code == 303
    assert [told[0] for told in made_up.prefect.told] == ["pause", "end pause"]


def test_a_roll_back_with_the_typed_name(ask: Ask, made_up: MadeUp) -> None:
    """After Kept the way back is one page away; it starts the job that rolls back, and leads to its run."""
    run_of(made_up, "ship-change", {"type": "COMPLETED", "name": "Kept", "message": ""}, ended=AT)
    assert ask("POST", f"/pages/runs/{ID}/rollback", data={"key": KEY, "confirm": "x"}).status_code == 422
    answer = ask("POST", f"/pages/runs/{ID}/rollback", data={"key": KEY, "confirm": CHANGE})
    assert answer.headers["location"] == f"/pages/runs/{STARTED}"
    [(job, parameters, _)] = made_up.jobs.started
    assert (job, parameters) == ("roll-back-change", {"change": CHANGE, "staging": False})


def test_a_failed_run_is_started_again(ask: Ask, made_up: MadeUp) -> None:
    """With the parameters that it had; a double click is one run."""
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
    """Schedules or the whole job, with a reason, in the name of who is signed in."""
    assert ask("POST", "/pages/jobs/warm-up/switch", data={"do": do, "why": ""}).status_code == 422
    assert ask("POST", "/pages/jobs/warm-up/switch", data={"do": "what", "why": "so"}).status_code == 422
    answer = ask("POST", "/pages/jobs/warm-up/switch", data={"do": do, "why": "rush hour"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/pages/jobs/warm-up")
    assert made_up.jobs.switched == [("warm-up", {**what, "by": "ada", "why": "rush hour"})]


def test_a_disabled_job_has_no_form(ask: Ask, made_up: MadeUp) -> None:
    """Its page says since when, by whom and why, and offers to enable it."""
    made_up.jobs.disabled["warm-up"] = {"since": AT, "by": "ada", "why": EVIL}
    page = ask("GET", "/pages/jobs/warm-up").text
    assert "It is disabled" in page and "by ada: &lt;script&gt;" in page and 'name="p.service"' not in page
    assert 'value="enable"' in page and ">disabled</span>" in ask("GET", "/pages/jobs").text


def in_the_name_of(made_up: MadeUp, role: Role, *services: str) -> Ask:
    """A way to ask as somebody with a role for some services, or for all."""
    return asking(made_up, Caller("grace", "token", (Grant(role=role, services=services or None),)))


def test_a_viewer_sees_no_buttons(made_up: MadeUp) -> None:
    """What one may not do is not offered, on no page; and what is sent all the same is refused."""
    ask = in_the_name_of(made_up, "viewer")
    run_of(made_up, "ship-change", WAITS)
    for path in (f"/pages/runs/{ID}", f"/pages/changes/{CHANGE}", "/pages/jobs/warm-up", "/pages/services/shop"):
        page = ask("GET", path)
        assert page.status_code == 200 and 'class="button' not in page.text, path
        assert re.findall(r'<form method="post" action="([^"]*)"', page.text) == ["/pages/sign-out"], path
    asked = ask("GET", f"/pages/runs/{ID}/approve")
    assert asked.status_code == 403 and "grace may not approve" in asked.text
    assert ask("POST", f"/pages/runs/{ID}/approve", data=WHY).status_code == 403
    assert not made_up.prefect.told


def test_an_operator_approves_nothing(made_up: MadeUp) -> None:
    """The buttons of a run are those of one's own rights."""
    ask = in_the_name_of(made_up, "operator")
    run_of(made_up, "ship-change", WAITS)
    page = ask("GET", f"/pages/runs/{ID}").text
    assert f"{ID}/cancel" in page and f"{ID}/approve" not in page


def test_a_change_of_a_service_that_is_not_ones_own(made_up: MadeUp) -> None:
    """It is in no list, and the page that would confirm a start tells nothing of it."""
    ask = in_the_name_of(made_up, "operator", "bakery")
    assert CHANGE not in ask("GET", "/pages/changes").text
    answer = ask("POST", "/pages/jobs/ship-change", data={"key": KEY, "p.change": CHANGE})
    assert answer.status_code == 403 and "may not operate shop" in answer.text and "0008" not in answer.text


def test_mounted_below_another_app(made_up: MadeUp) -> None:
    """Every link, form, script and redirect begins with the path at which the service is mounted."""
    app = create_app()
    let_in(app, made_up)

    async def asked(method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path="/ops")
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **more)

    for path in ("/ops/", "/ops/pages/jobs/warm-up", f"/ops/pages/changes/{CHANGE}", f"/ops/pages/runs/{ID}"):
        page = asyncio.run(asked("GET", path)).text
        own = re.findall(r'(?:href|src|action|hx-get)="(/[^"]*)"', page)
        assert own and all(found.startswith("/ops/") for found in own), own
    sent = asyncio.run(asked("POST", "/ops/pages/jobs/warm-up", data={"key": KEY, "p.service": "shop"}))
    assert sent.headers["location"] == f"/ops/pages/runs/{STARTED}"
