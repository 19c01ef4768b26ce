"""The embedded stack: everything that Slipway needs on one machine, without root and without Docker.

PostgreSQL, a Prefect server on it, one worker, the admin service, the example shop, and a cache in front of it.
`make demo`, `make up` and the tests start it here and nowhere else.
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
from slipway.deployments.deploy import POOL, POOL_TYPE, ROOT, create_pool, deploy_jobs, forget_runs
from slipway.deployments.environment import PREFECT, STORE, read_secrets, slipway_environment
from slipway.deployments.ports import HOST, free_ports
from slipway.deployments.postgres import create_database, database_names, server_part, server_url
from slipway.deployments.processes import Part, end_marked, mark
from slipway.deployments.readiness import wait_until_settled
from slipway.deployments.serving import admin_part
from slipway.deployments.tokens import own_token, write_private
from slipway.runs.store import Store

PREFERRED = {"postgres": 0, "prefect": 4200, "admin": 8400, "shop": 8500, "origin": 0}
Say = Callable[[str], None]


class Stack:
    """The parts, started in order, watched while they run, ended in reverse order."""

    def __init__(
        self,
        home: Path,
        *,
        changes: Path,
        fresh: bool,
        say: Say,
        durable: bool = True,
        config: Path = ROOT / "slipway.toml",
        orders: int = shop.ORDERS,
    ) -> None:
        self.home = home.resolve()
        self.changes = changes.resolve()
        self.config = config
        self.fresh = fresh  # the shop's database as generated, not as the last run left it
        self.durable = durable
        self.orders = orders  # how many the shop is generated with
        self.say = say
        self.parts: list[Part] = []
        self._stopping = threading.Event()
        self._guard = threading.Lock()  # nothing is started again once the stop has begun
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
        """Start every part; return when all answer at their usual speed. Raises SlipwayError with the part that does not."""
        self._take_home()
        self.ports = self._choose_ports()
        self.secrets = read_secrets(self.home / "secrets.json")
        server = self._start_postgres()
        self.environment = slipway_environment(
            server, home=self.home, changes=self.changes, config=self.config, ports=self.ports, secrets=self.secrets
        )
        self._together(lambda: self._start_prefect(server), lambda: self._start_shop(server))
        with closing(Store(self.environment["SLIPWAY_DATABASE_URL"])) as store:
            store.create_tables()
            self.token = own_token(store, self.home / TOKEN_FILE)
        write_private(self.home / STORE_FILE, self.environment["SLIPWAY_DATABASE_URL"])
        self._together(self._start_admin, self._start_worker)
        self._write_addresses()
        self._settle()
        threading.Thread(target=self._supervise, name="supervisor", daemon=True).start()

    def stop(self) -> None:
        """End every part, the last one first. Safe to repeat."""
        self._stopping.set()
        with self._guard:
            for part in reversed(self.parts):
                part.stop()
            self.parts.clear()
        if self._lock is not None:
            for left in ("stack.json", "processes.json"):
                (self.home / left).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    @property
    def admin_url(self) -> str:
        """Where the admin service answers."""
        return f"http://{HOST}:{self.ports['admin']}"

    def client(self) -> AdminClient:
        """A client of the admin service with this stack's own token."""
        return AdminClient(self.admin_url, self.token)

    @property
    def prefect_url(self) -> str:
        """Where the Prefect UI answers; its API is below /api."""
        return f"http://{HOST}:{self.ports['prefect']}"

    @property
    def shop_url(self) -> str:
        """Where users reach the shop: through the cache."""
        return f"http://{HOST}:{self.ports['shop']}"

    def part(self, name: str) -> Part:
        """One part by its name."""
        return next(part for part in self.parts if part.name == name)

    def _together(self, *starts: Callable[[], None]) -> None:
        """Start parts side by side; what goes wrong with one ends the wait for the others."""
        with ThreadPoolExecutor(len(starts)) as pool:
            try:
                for begun in as_completed([pool.submit(start) for start in starts]):
                    begun.result()
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
                f"Another stack runs in {self.home}.", expected="One stack at a time; end that one first."
            ) from None
        left = self.home / "processes.json"
        if left.exists():
            marks = [(int(pid), float(started)) for pid, started in json.loads(left.read_text(encoding="utf-8"))]
            self.say(f"ended {end_marked(marks)} processes that a killed stack left behind")

    def _choose_ports(self) -> dict[str, int]:
        """Those of the last time where they are free: a run that was in flight then goes on with the addresses it knows."""
        kept = self.home / "ports.json"
        wishes = PREFERRED | (json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {})
        ports = dict(zip(wishes, free_ports(list(wishes.values())), strict=True))
        kept.write_text(json.dumps(ports), encoding="utf-8")
        return ports

    def _start_postgres(self) -> URL:
        own = os.environ.get("SLIPWAY_POSTGRES_URL")
        if own:
            self.say("using the PostgreSQL of SLIPWAY_POSTGRES_URL")
            return make_url(own)
        self.say("starting PostgreSQL")
        port, password = self.ports["postgres"], self.secrets["postgres"]
        log = self.home / "logs" / "postgresql.log"
        self._run(server_part(self.home / "postgres", port, password, log=log, durable=self.durable))
        return server_url(port, password)

    def _start_prefect(self, server: URL) -> None:
        self.say("starting the Prefect server")
        for name in (PREFECT, STORE):
            if name not in database_names(server):
                create_database(server, name)
        self._run(self._prefect_part())

    def _start_admin(self) -> None:
        self._run(admin_part(self.environment, self.ports["admin"], self._log("admin")))

    def _start_worker(self) -> None:
        api = self.environment["PREFECT_API_URL"]
        create_pool(api)
        automations.install(api)
        if self.fresh and (forgotten := forget_runs(api)):
            self.say(f"cancelled {forgotten} runs of an earlier stack, as the shop is made anew")
        self._together(lambda: deploy_jobs(self.environment), lambda: self._run(self._worker_part()))

    def _start_shop(self, server: URL) -> None:
        environment = shop.shop_environment(server, self.secrets)
        shop.prepare_database(server, environment, fresh=self.fresh, say=self.say, orders=self.orders)
        kind = self.environment["SHOP_CACHE"]
        self.say(f"starting the shop behind {kind}")
        running = shop.as_its_role(server, environment, self.secrets)
        self._run(shop.shop_part(self.ports["origin"], running, self._log("shop")))
        token = self.secrets["purge"]
        self._run(
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
        began = log.stat().st_size if log.exists() else 0
        return Part(
            name="worker",
            argv=[*argv, "--name", "slipway-1"],
            environment=self.environment,
            directory=ROOT,
            log=log,
            ready=lambda: b"started" in log.read_bytes()[began:],
        )

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _settle(self) -> None:
        """Return when the services answer at their usual speed: what is measured right after a start would be too slow."""
        self.say("waiting until every service answers at its usual speed")
        urls = {
            "the shop through its cache": f"{self.shop_url}/products/1",
            "the shop": f"http://{HOST}:{self.ports['origin']}/products/1",
            "the Prefect server": f"{self.prefect_url}/api/ready",
            "the admin service": f"{self.admin_url}/health",
        }
        if slow := wait_until_settled(urls, stopping=self._stopping):
            self.say(f"still getting faster, used as it is: {', '.join(slow)}")

    def _run(self, part: Part) -> None:
        self.parts.append(part)
        part.start()
        self._write_processes()
        part.wait_until_ready(self._stopping)

    def _write_processes(self) -> None:
        marks = [mark(part.process.pid) for part in list(self.parts) if part.process is not None]
        (self.home / "processes.json").write_text(json.dumps([found for found in marks if found]), encoding="utf-8")

    def _write_addresses(self) -> None:
        """Tell the `slipway` command where this stack is; addresses only, no secrets."""
        found = {"admin": self.admin_url, "prefect": self.prefect_url, "shop": self.shop_url}
        (self.home / "stack.json").write_text(json.dumps(found), encoding="utf-8")

    def _supervise(self) -> None:
        while not self._stopping.wait(0.2):
            for part in list(self.parts):
                if not part.alive():
                    self._start_again(part)

    def _start_again(self, part: Part) -> None:
        """Start a dead part again and say so; slower each time, so that a part that cannot run does not spin."""
        code = part.process.returncode if part.process else None
        pause = part.pause_before_restart()
        self.say(f"{part.name} died (exit code {code}); starting it again in {pause:.1f} s")
        self._stopping.wait(pause)
        with self._guard:
            if not self._stopping.is_set():
                part.start()
                self._write_processes()


def say_with_time(began: float) -> Say:
    """A `say` that prints each line with the seconds since `began`."""
    return lambda line: print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)
