"""The example Django admin: a person starts a job in it, and sees how it stands."""

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
    """A browser that is signed in to the Django admin."""
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
    """The hidden fields of a form."""
    return {
        name: re.search(r'value="([^"]*)"', tag)[1]  # type: ignore[index]
        for tag, name in re.findall(r'(<input type="hidden" name="([^"]+)"[^>]*>)', page)
    }


def test_a_job_started_in_django(django: httpx.Client) -> None:
    """What does not fit is said beside the form; what fits is one run, also sent twice, and its state is shown as it is."""
    form = hidden(django.get(ADD).text)
    bad = django.post(ADD, data={**form, "job": "purge-routes", "parameters": '{"service": "nobody"}'})
    assert bad.status_code == 200 and "There is no service &#x27;nobody&#x27;." in bad.text
    good = {**form, "job": "purge-routes", "parameters": '{"service": "shop", "routes": ["/products"]}'}
    assert [django.post(ADD, data=good).status_code for _ in range(2)] == [302, 302]
    page = django.get(RUNS).text
    assert page.count('class="field-state"') == 1 and '"routes": ["/products"]' in page.replace("&quot;", '"')
    wait_for(lambda: 'class="field-state">Completed<' in django.get(RUNS).text, "the run to have ended")
