"""The example Django admin: a user starts a job, and sees its state."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from slipway.deployments.deploy import ROOT
from slipway.deployments.ports import HOST, free_ports
from slipway.deployments.processes import Part
from slipway.deployments.shop import answers
from slipway.deployments.stack import Stack
from tests.stack.runs import wait_for

EXAMPLE = ROOT / "examples" / "django_admin"
ADD, RUNS = "/admin/jobs/run/add/", "/admin/jobs/run/"


@pytest.fixture(scope="module")
def django(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Start the Django admin. Yield an HTTP client that is signed in."""
    folder, [port] = tmp_path_factory.mktemp("django"), free_ports([0])
    environment = {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SLIPWAY_ADMIN_URL": stack.admin_url,
        "SLIPWAY_TOKEN": stack.token,
        "DJANGO_DATABASE": str(folder / "db.sqlite3"),
        "DJANGO_SUPERUSER_PASSWORD": "practice",
    }
    manage = [sys.executable, str(EXAMPLE / "manage.py")]
    for command in (["migrate"], ["createsuperuser", "--noinput", "--username", "ada", "--email", "a@example.com"]):
        subprocess.run([*manage, *command], env=environment, check=True, capture_output=True)
    url = f"http://{HOST}:{port}"
    part = Part(
        name="Django admin",
        argv=[*manage, "runserver", "--noreload", f"{HOST}:{port}"],
        environment=environment,
        directory=Path(EXAMPLE),
        log=folder / "log",
        ready=lambda: answers(f"{url}/admin/login/"),
    )
    part.start()
    try:
        part.wait_until_ready(threading.Event())
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as browser:
            form = {**hidden(browser.get("/admin/login/").text), "username": "ada", "password": "practice"}
            assert browser.post("/admin/login/?next=/admin/", data=form).status_code == 302
            yield browser
    finally:
        part.stop()


def hidden(page: str) -> dict[str, str]:
    """Return the hidden fields of a form."""
    return {
        name: re.search(r'value="([^"]*)"', tag)[1]  # type: ignore[index]
        for tag, name in re.findall(r'(<input type="hidden" name="([^"]+)"[^>]*>)', page)
    }


def test_a_job_is_started_in_django(django: httpx.Client) -> None:
    """Invalid parameters are reported in the form. A form that is sent twice starts one run, and its current state is shown."""
    form = hidden(django.get(ADD).text)
    invalid = django.post(ADD, data={**form, "job": "purge-routes", "parameters": '{"service": "nobody"}'})
    assert invalid.status_code == 200 and "There is no service &#x27;nobody&#x27;." in invalid.text
    valid_form = {**form, "job": "purge-routes", "parameters": '{"service": "shop", "routes": ["/products"]}'}
    assert [django.post(ADD, data=valid_form).status_code for _ in range(2)] == [302, 302]
    page = django.get(RUNS).text
    assert page.count('class="field-state"') == 1 and '"routes": ["/products"]' in page.replace("&quot;", '"')
    wait_for(lambda: 'class="field-state">Completed<' in django.get(RUNS).text, "the run to have ended")
