"""The wheel: it installs nothing but `slipway`, and works beside an application with packages of the usual names."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = ("admin", "bench", "deployments", "flows", "tasks")  # packages of the application
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
USE = f"""
import importlib, sys
for name in {OWN!r}:
    assert importlib.import_module(name).OWNER == "the application", name
from slipway.admin.router import slipway_router
from slipway.admin.templating import HERE
from slipway.deployments.jobs_file import FILE, read_jobs
from slipway.deployments.worker.fork_client import code_digest
for job in read_jobs(FILE).deployments:
    importlib.import_module(job.entrypoint.rpartition(".")[0])
assert (HERE / "templates" / "base.html").is_file() and (HERE / "static" / "htmx.min.js").is_file()
assert len(code_digest()) == 64
loaded = [str(module.__file__) for name, module in sys.modules.items() if name.startswith("slipway.")]
assert len(loaded) > 100 and all(path.startswith(sys.argv[1]) for path in loaded), loaded
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder / built.stdout.split()[-1]


def test_only_slipway_is_installed(wheel: Path) -> None:
    """One import root; tests, examples and benchmarks stay out."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"slipway"}
    assert {"slipway/flows/ship_change.py", "slipway/tasks/engine/durable.py", "slipway/prefect.yaml"} <= set(names)


def test_beside_an_application_with_the_same_names(wheel: Path, tmp_path: Path) -> None:
    """In the folder of an application with its own `admin`, `tasks`, … both find their own modules, files and templates."""
    installed, application = tmp_path / "installed", tmp_path / "application"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    for name in OWN:
        (application / name).mkdir(parents=True)
        (application / name / "__init__.py").write_text('OWNER = "the application"\n', encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{application}:{installed}"}
    command = [sys.executable, "-c", USE, str(installed)]
    ran = subprocess.run(command, cwd=application, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
