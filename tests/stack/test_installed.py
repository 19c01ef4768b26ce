"""The installed package in a new environment, beside an application whose packages have the same names as ours."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from threading import Event

import httpx
import pytest

from slipway.client.http import AdminClient
from slipway.deployments.ports import free_ports
from slipway.deployments.processes import Part
from slipway.deployments.stack import Stack
from tests.stack.conftest import token_of
from tests.stack.runs import finished
from tests.wheels import OWN, ROOT, build_wheel, write_application

POOL = "installed"
APPLICATION = """
import sys
from fastapi import FastAPI
import admin, tasks
from slipway.admin.router import slipway_router

assert admin.OWNER == tasks.OWNER == "the application"
app = FastAPI()
app.include_router(slipway_router(), prefix="/slipway")

@app.get("/where")
def where() -> str:
    return str(sys.modules["slipway.admin.router"].__file__)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in a new environment, which finds all other packages in ours. Return its interpreter."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = build_wheel(folder)
    uv, env = ROOT / ".boot" / "bin" / "uv", folder / "env"  # `make setup` installs uv
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, env], check=True)
    interpreter = env / "bin" / "python"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", interpreter, wheel], check=True
    )
    # Only the folder itself is added. Python does not read its .pth files, which lead to our checkout.
    [site_packages] = (folder / "env" / "lib").glob("python*/site-packages")
    (site_packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return interpreter


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the application. Return its folder."""
    folder = tmp_path_factory.mktemp("application")
    write_application(folder)
    (folder / "application.py").write_text(APPLICATION, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def environment(stack: Stack, application: Path) -> dict[str, str]:
    """Return the stack's environment without paths to the checkout, except the files that a team configures."""
    return {**stack.environment, "PYTHONPATH": str(application)}


@pytest.fixture(scope="module")
def worker(stack: Stack, python: Path, application: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Start a worker of the installed package in its own pool, and move the job there. Yield the worker's log."""
    log = application / "worker.log"
    argv = [
        str(python),
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        POOL,
        "--type",
        "slipway",
        "--name",
        "installed-1",
    ]
    part = Part("worker", argv, environment, log, lambda: b"started" in log.read_bytes(), directory=application)
    with httpx.Client(base_url=f"{stack.prefect_url}/api", trust_env=False, timeout=60) as prefect:
        prefect.post("/work_pools/", json={"name": POOL, "type": "slipway"}).raise_for_status()
        [job] = prefect.post("/deployments/filter", json={"deployments": {"name": {"any_": ["ship-change"]}}}).json()
        part.start()
        try:
            part.wait_until_ready(Event())
            prefect.patch(f"/deployments/{job['id']}", json={"work_pool_name": POOL}).raise_for_status()
            yield log
        finally:
            prefect.patch(f"/deployments/{job['id']}", json={"work_pool_name": "slipway"}).raise_for_status()
            part.stop()


@pytest.fixture(scope="module")
def mounted(stack: Stack, python: Path, application: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Start the application with our mounted router. Yield its address."""
    [port] = free_ports([0])
    url = f"http://127.0.0.1:{port}"
    argv = [str(python), "-m", "uvicorn", "application:app", "--host", "127.0.0.1", "--port", str(port)]

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/slipway/health", trust_env=False, timeout=5).is_success
        except httpx.HTTPError:
            return False

    part = Part("application", argv, environment, application / "application.log", ready, directory=application)
    part.start()
    try:
        part.wait_until_ready(Event())
        yield url
    finally:
        part.stop()


@pytest.mark.usefixtures("at_0008")
def test_the_installed_package_ships_a_change(stack: Stack, python: Path, mounted: str, worker: Path) -> None:
    """The router in the application starts the job, the worker in the application's folder runs it, and the change is kept."""
    assert str(python.parents[1]) in httpx.get(f"{mounted}/where", trust_env=False).text
    with closing(AdminClient(f"{mounted}/slipway", token_of(stack, "installed", "admin"))) as client:
        run = finished(client, client.start("ship-change", {"change": "refresh-catalogue"}))
    assert run["state"]["name"] == "Kept", run["state"]
    assert run["record"]
    log = worker.read_text(encoding="utf-8")
    assert run["id"] in log and "Traceback" not in log


def test_the_application_imports_its_own_packages(
    python: Path, application: Path, environment: Mapping[str, str]
) -> None:
    """The application still imports its own packages in the same environment."""
    code = "; ".join(f"import {name}; assert {name}.OWNER == 'the application'" for name in OWN)
    subprocess.run([str(python), "-c", code], cwd=application, env=dict(environment), check=True)
