"""The embedded stack: everything that Slipway needs on one machine, without root and without Docker.

PostgreSQL, a Prefect server that uses it, one worker, the admin service, the example shop, and a cache in front of it.
Only this module starts the stack: for `make demo`, `make up` and the tests.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sqlalchemy import URL, make_url

from slipway.client.http import STORE_FILE, TOKEN_FILE, AdminClient
from slipway.core.errors import InvalidInput
from slipway.deployments import automations, shop
from slipway.deployments.deploy import POOL, POOL_TYPE, ROOT, cancel_runs, create_pool, deploy_jobs
from slipway.deployments.environment import PREFECT, STORE, read_secrets, slipway_environment
from slipway.deployments.ports import HOST, free_ports
from slipway.deployments.postgres import create_database, database_names, server_part, server_url
from slipway.deployments.processes import Part, end_marked, mark
from slipway.deployments.readiness import wait_until_settled
from slipway.deployments.serving import admin_part
from slipway.deployments.tokens import own_token, write_private
from slipway.runs.store import Store

PREFERRED = {"postgres": 0, "prefect": 4200, "admin": 8400, "shop": 8500, "origin": 0}
Report = Callable[[str], None]


class Stack:
    """The parts: started in order, restarted when they die, stopped in reverse order."""

    def __init__(
        self,
        home: Path,
        *,
        changes: Path,
        fresh: bool,
        report: Report,
        durable: bool = True,
        config: Path = ROOT / "slipway.toml",
        orders: int = shop.ORDERS,
    ) -> None:
        self.home = home.resolve()
        self.changes = changes.resolve()
        self.config = config
        self.fresh = fresh  # replace the shop's database with the generated one
        self.durable = durable
        self.orders = orders  # number of orders in the generated shop
        self.report = report
        self.parts: list[Part] = []
        self._stopping = threading.Event()
        self._guard = threading.Lock()  # no part is restarted after the stop has started
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every part and wait until all answer at their usual speed. Raises SlipwayError that names the failed part."""
        self._take_home()
        self.ports = self._choose_ports()
        self.secrets = read_secrets(self.home / "secrets.json")
        server = self._start_postgres()
        self.environment = slipway_environment(
            server, home=self.home, changes=self.changes, config=self.config, ports=self.ports, secrets=self.secrets
        )
        self._start_in_parallel(lambda: self._start_prefect(server), lambda: self._start_shop(server))
        with closing(Store(self.environment["SLIPWAY_DATABASE_URL"])) as store:
            store.create_tables()
            self.token = own_token(store, self.home / TOKEN_FILE)
        write_private(self.home / STORE_FILE, self.environment["SLIPWAY_DATABASE_URL"])
        self._start_in_parallel(self._start_admin, self._start_worker)
        self._write_addresses()
        self._settle()
        threading.Thread(target=self._supervise, name="supervisor", daemon=True).start()

    def stop(self) -> None:
        """Stop every part, the last one first. Safe to repeat."""
        self._stopping.set()
        with self._guard:
            for part in reversed(self.parts):
                part.stop()
            self.parts.clear()
        if self._lock is not None:
            for name in ("stack.json", "processes.json"):
                (self.home / name).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    @property
    def admin_url(self) -> str:
        """Return the URL of the admin service."""
        return f"http://{HOST}:{self.ports['admin']}"

    def client(self) -> AdminClient:
        """Return a client of the admin service that uses the stack's own token."""
        return AdminClient(self.admin_url, self.token)

    @property
    def prefect_url(self) -> str:
        """Return the URL of the Prefect UI. Its API is below /api."""
        return f"http://{HOST}:{self.ports['prefect']}"

    @property
    def shop_url(self) -> str:
        """Return the URL of the shop for users: the cache."""
        return f"http://{HOST}:{self.ports['shop']}"

    def part(self, name: str) -> Part:
        """Return a part by its name."""
        return next(part for part in self.parts if part.name == name)

    def _start_in_parallel(self, *starts: Callable[[], None]) -> None:
        """Start parts in parallel. If one fails, stop waiting for the others."""
        with ThreadPoolExecutor(len(starts)) as pool:
            try:
                for future in as_completed([pool.submit(start) for start in starts]):
                    future.result()
            except BaseException:
                self._stopping.set()
                raise

    def _take_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self._lock = (self.home / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise InvalidInput(
                f"Another stack runs in {self.home}.",
                expected="Only one stack uses this folder. Stop the other one first.",
            ) from None
        process_file = self.home / "processes.json"
        if process_file.exists():
            marks = [
                (int(pid), float(started)) for pid, started in json.loads(process_file.read_text(encoding="utf-8"))
            ]
            self.report(f"stopped {end_marked(marks)} processes of an earlier stack that was killed")

    def _choose_ports(self) -> dict[str, int]:
        """Return the ports of the last start where they are free, so that a run from then continues with the same addresses."""
        ports_file = self.home / "ports.json"
        preferred = PREFERRED | (json.loads(ports_file.read_text(encoding="utf-8")) if ports_file.exists() else {})
        ports = dict(zip(preferred, free_ports(list(preferred.values())), strict=True))
        ports_file.write_text(json.dumps(ports), encoding="utf-8")
        return ports

    def _start_postgres(self) -> URL:
        existing = os.environ.get("SLIPWAY_POSTGRES_URL")
        if existing:
            self.report("using the PostgreSQL server at SLIPWAY_POSTGRES_URL")
            return make_url(existing)
        self.report("starting PostgreSQL")
        port, password = self.ports["postgres"], self.secrets["postgres"]
        log = self.home / "logs" / "postgresql.log"
        self._start_part(server_part(self.home / "postgres", port, password, log=log, durable=self.durable))
        return server_url(port, password)

    def _start_prefect(self, server: URL) -> None:
        self.report("starting the Prefect server")
        for name in (PREFECT, STORE):
            if name not in database_names(server):
                create_database(server, name)
        self._start_part(self._prefect_part())

    def _start_admin(self) -> None:
        self._start_part(admin_part(self.environment, self.ports["admin"], self._log("admin")))

    def _start_worker(self) -> None:
        api = self.environment["PREFECT_API_URL"]
        create_pool(api)
        automations.install(api)
        if self.fresh and (cancelled := cancel_runs(api)):
            self.report(f"cancelled {cancelled} runs of an earlier stack, because the shop is created again")
        self._start_in_parallel(lambda: deploy_jobs(self.environment), lambda: self._start_part(self._worker_part()))

    def _start_shop(self, server: URL) -> None:
        environment = shop.shop_environment(server, self.secrets)
        shop.prepare_database(server, environment, fresh=self.fresh, report=self.report, orders=self.orders)
        kind = self.environment["SHOP_CACHE"]
        self.report(f"starting the shop behind {kind}")
        shop_environment = shop.as_read_only_role(server, environment, self.secrets)
        self._start_part(shop.shop_part(self.ports["origin"], shop_environment, self._log("shop")))
        token = self.secrets["purge"]
        self._start_part(
            shop.cache_part(kind, self.home / kind, self.ports["shop"], self.ports["origin"], token, self._log(kind))
        )

    def _prefect_part(self) -> Part:
        argv = [
            sys.executable,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            HOST,
            "--port",
            str(self.ports["prefect"]),
        ]
        return Part(
            name="Prefect server",
            argv=argv,
            environment=self.environment,
            log=self._log("prefect-server"),
            ready=lambda: shop.answers(f"{self.prefect_url}/api/ready"),
        )

    def _worker_part(self) -> Part:
        log = self._log("worker")
        argv = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", POOL_TYPE]
        log_start = log.stat().st_size if log.exists() else 0
        return Part(
            name="worker",
            argv=[*argv, "--name", "slipway-1"],
            environment=self.environment,
            directory=ROOT,
            log=log,
            ready=lambda: b"started" in log.read_bytes()[log_start:],
        )

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _settle(self) -> None:
        """Wait until the services answer at their usual speed. Measurements right after the start would be too slow."""
        self.report("waiting until every service answers at its usual speed")
        urls = {
            "the shop through its cache": f"{self.shop_url}/products/1",
            "the shop": f"http://{HOST}:{self.ports['origin']}/products/1",
            "the Prefect server": f"{self.prefect_url}/api/ready",
            "the admin service": f"{self.admin_url}/health",
        }
        if slow := wait_until_settled(urls, stopping=self._stopping):
            self.report(f"not yet at its usual speed, continuing anyway: {', '.join(slow)}")

    def _start_part(self, part: Part) -> None:
        self.parts.append(part)
        part.start()
        self._write_processes()
        part.wait_until_ready(self._stopping)

    def _write_processes(self) -> None:
        marks = [mark(part.process.pid) for part in list(self.parts) if part.process is not None]
        (self.home / "processes.json").write_text(
            json.dumps([process for process in marks if process]), encoding="utf-8"
        )

    def _write_addresses(self) -> None:
        """Write the addresses of this stack for the `slipway` command, without secrets."""
        addresses = {"admin": self.admin_url, "prefect": self.prefect_url, "shop": self.shop_url}
        (self.home / "stack.json").write_text(json.dumps(addresses), encoding="utf-8")

    def _supervise(self) -> None:
        while not self._stopping.wait(0.2):
            for part in list(self.parts):
                if not part.alive():
                    self._restart(part)

    def _restart(self, part: Part) -> None:
        """Restart a dead part and log that. Wait longer each time, so that a broken part does not spin."""
        code = part.process.returncode if part.process else None
        pause = part.pause_before_restart()
        self.report(f"{part.name} died (exit code {code}); restarting it in {pause:.1f} s")
        self._stopping.wait(pause)
        with self._guard:
            if not self._stopping.is_set():
                part.start()
                self._write_processes()


def timed_printer(began: float) -> Report:
    """Return a function that prints a line with the seconds since `began` (a monotonic time)."""
    return lambda line: print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)
