"""The wheel installs only `slipway`, and works beside an application whose packages have the same names as ours."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.wheels import OWN, ROOT, build_wheel, write_application

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
    """Build the wheel of this checkout."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_only_slipway_is_installed(wheel: Path) -> None:
    """The wheel has one import root, without tests, examples and benchmarks."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"slipway"}
    assert {"slipway/flows/ship_change.py", "slipway/tasks/engine/durable.py", "slipway/prefect.yaml"} <= set(names)


def test_the_wheel_works_beside_an_application_with_the_same_names(wheel: Path, tmp_path: Path) -> None:
    """Beside an application with its own `admin`, `tasks`, …, both import their own modules, files and templates."""
    installed, application = tmp_path / "installed", tmp_path / "application"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    write_application(application)
    environment = {**os.environ, "PYTHONPATH": f"{application}:{installed}"}
    command = [sys.executable, "-c", USE, str(installed)]
    result = subprocess.run(command, cwd=application, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


DISTRIBUTIONS = {
    "argon2": "argon2-cffi",
    "markdown_it": "markdown-it-py",
    "yaml": "pyyaml",
}  # by import name
INDIRECT = {"anyio", "markupsafe", "pydantic_core", "starlette"}  # installed by httpx, Jinja, Pydantic and FastAPI
OPTIONAL = {"akamai", "botocore"}  # imported only for a cache of that kind
EXTRAS = {  # our packages that must work with only this extra
    "": ("client",),
    "server": ("admin", "cli"),
    "worker": ("flows", "tasks", "deployments.worker", "cli"),
    "local": ("deployments",),
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_what_its_modules_import(extra: str) -> None:
    """Every distribution that the modules import, directly or indirectly, is a requirement of the extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = _required(project, extra)
    for package in EXTRAS[extra]:
        imported = _imported_by(f"slipway.{package}")
        assert {DISTRIBUTIONS.get(name, name) for name in imported - INDIRECT - OPTIONAL} <= required, package
    if not extra:
        assert required == {"httpx", "pydantic"}


def _required(project: dict[str, object], extra: str) -> set[str]:
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict) and isinstance(project["dependencies"], list)
    lines: Sequence[str] = [*project["dependencies"], *(extras[extra] if extra else ())]
    names = {re.match(r"[\w.-]+", line)[0].lower() for line in lines}  # type: ignore[index]
    for line in lines:
        for other in re.findall(r"^slipway\[(.+)\]", line):
            names |= set().union(*(_required(project, name) for name in other.split(",")))
    return names - {"slipway"}


def _imported_by(package: str) -> set[str]:
    """Return the third-party packages that one of our packages imports, directly or through our other modules."""
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for folder in ("", "flows", "tasks", "deployments")
        for file in (ROOT / "slipway" / folder).rglob("*.py")
    }
    waiting = [name for name in modules if name == package or name.startswith(f"{package}.")]
    assert waiting
    visited: set[str] = set()
    external: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in visited or name not in modules:
            continue
        visited.add(name)
        waiting += [name.rpartition(".")[0]]
        for imported in _imports(modules[name]):
            (waiting.append if imported.startswith("slipway") else external.add)(imported)
    return {name.partition(".")[0] for name in external} - set(sys.stdlib_module_names)


def _imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names
