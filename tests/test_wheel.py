"""The wheel: it installs nothing but `slipway`, and works beside an application with packages of the usual names."""

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
    """The wheel of this checkout."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


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
    write_application(application)
    environment = {**os.environ, "PYTHONPATH": f"{application}:{installed}"}
    command = [sys.executable, "-c", USE, str(installed)]
    ran = subprocess.run(command, cwd=application, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


DISTRIBUTIONS = {
    "argon2": "argon2-cffi",
    "markdown_it": "markdown-it-py",
    "yaml": "pyyaml",
}  # by the name of their import
BROUGHT = {"anyio", "markupsafe", "pydantic_core", "starlette"}  # by httpx, Jinja, Pydantic and FastAPI
OPTIONAL = {"akamai", "botocore"}  # imported only for a cache of that kind
EXTRAS = {  # the packages of ours that must work with an extra alone
    "": ("client",),
    "server": ("admin", "cli"),
    "worker": ("flows", "tasks", "deployments.worker", "cli"),
    "local": ("deployments",),
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_what_its_modules_import(extra: str) -> None:
    """Every package that the modules import, also those that they import in turn, is a requirement."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = _required(project, extra)
    for package in EXTRAS[extra]:
        imported = _imported_by(f"slipway.{package}")
        assert {DISTRIBUTIONS.get(name, name) for name in imported - BROUGHT - OPTIONAL} <= required, package
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
    """The names of the installed packages that a package of ours imports, directly or through other modules of ours."""
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for folder in ("", "flows", "tasks", "deployments")
        for file in (ROOT / "slipway" / folder).rglob("*.py")
    }
    waiting = [name for name in modules if name == package or name.startswith(f"{package}.")]
    assert waiting
    seen: set[str] = set()
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in modules:
            continue
        seen.add(name)
        waiting += [name.rpartition(".")[0]]
        for imported in _imports(modules[name]):
            (waiting.append if imported.startswith("slipway") else found.add)(imported)
    return {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names)


def _imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names
