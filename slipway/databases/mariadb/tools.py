"""Pipe the dump tool of MariaDB or MySQL into its client. The password is in an option file that only this user can read."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy import URL

from slipway.core.commands import outputs
from slipway.core.errors import SlipwayError
from slipway.databases.disk_space import COPY_WITHIN_S

PAIRS = (
    ("mariadb-dump", "mariadb"),
    ("mysqldump", "mysql"),
)  # never mixed: dumps from MariaDB start with a line that only MariaDB's client understands
# One read transaction, no locks. Routines are dumped; events are not, because they would run in the copy.
DUMP = ("--single-transaction", "--quick", "--skip-lock-tables", "--no-tablespaces", "--hex-blob", "--routines")
LOOSE = "--loose-set-gtid-purged=OFF"  # MySQL: a restore into the same server cannot set it; MariaDB ignores the option
BOTH = ("--default-character-set=utf8mb4", "--max-allowed-packet=1G")  # so that text and large values stay unchanged
SSL = {"ssl_ca": "ssl-ca", "ssl_cert": "ssl-cert", "ssl_key": "ssl-key"}


def client_tools() -> tuple[str, str]:
    """Return the paths of the dump tool and its client. Raises SlipwayError if they are not installed."""
    for pair in PAIRS:
        paths = [shutil.which(tool) for tool in pair]
        if paths[0] is not None and paths[1] is not None:
            return paths[0], paths[1]
    raise SlipwayError(
        "Neither mariadb-dump nor mysqldump is installed.",
        expected="The client tools of MariaDB or MySQL are installed.",
        retry_is_safe=True,
    )


def dump_into(source: URL, copy: str) -> None:
    """Dump `source` into the database `copy` of the same server. Raises SlipwayError if a tool fails or takes too long.

    Checks regularly for cancellation. Cancellation kills both tools.
    """
    dump, client = client_tools()
    with _options(source) as options, tempfile.TemporaryFile() as dump_errors:
        dump_argv = [dump, f"--defaults-file={options}", *BOTH, *DUMP, LOOSE, "--", str(source.database)]
        client_argv = [client, f"--defaults-file={options}", *BOTH, "--database", copy]
        began = time.monotonic()
        with (
            subprocess.Popen(
                dump_argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=dump_errors
            ) as dumping,
            subprocess.Popen(
                client_argv, stdin=dumping.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as restoring,
        ):
            assert dumping.stdout is not None  # PIPE
            dumping.stdout.close()  # close this process's copy, so that the dump ends with the client
            errors = _wait_for_both(dumping, restoring)
        dump_errors.seek(0)
        _raise_failure(dump, dumping.returncode, time.monotonic() - began, dump_errors)
        if restoring.returncode != 0:
            raise _failed(client, restoring.returncode, time.monotonic() - began, errors)


def _wait_for_both(dumping: subprocess.Popen[bytes], restoring: subprocess.Popen[bytes]) -> bytes:
    try:
        _, errors = outputs(restoring, COPY_WITHIN_S)
        dumping.wait(COPY_WITHIN_S)
        return errors
    except BaseException as error:
        restoring.kill()
        dumping.kill()
        if isinstance(error, subprocess.TimeoutExpired):
            raise SlipwayError(
                f"The copy was not complete within {COPY_WITHIN_S // 60} minutes.",
                expected="A smaller database, or a `clone` in slipway.toml that you maintain.",
                retry_is_safe=True,
            ) from None
        raise


def _raise_failure(tool: str, code: int, seconds: float, errors: IO[bytes]) -> None:
    output = errors.read()
    if code != 0 and b"errno: 32" not in output:  # after a broken pipe, the client reports the reason
        raise _failed(tool, code, seconds, output)


def _failed(tool: str, code: int, seconds: float, errors: bytes) -> SlipwayError:
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    reason = next(
        (line for line in reversed(lines) if "ERROR" in line or "rror:" in line), (lines or ["no output"])[-1]
    )
    return SlipwayError(
        f"{Path(tool).name} exited with {code} after {seconds:.0f} s: {reason.rstrip('.')}.",
        expected="The dump and the restore exit with 0.",
        retry_is_safe=True,
    )


@contextmanager
def _options(url: URL) -> Iterator[str]:
    """Yield the path of an option file with the address and the password. Only this user can read the file."""
    options: dict[str, object] = {"user": url.username, "password": url.password, "host": url.host, "port": url.port}
    options |= {"socket": url.query.get("unix_socket")} | {name: url.query.get(key) for key, name in SSL.items()}
    lines = [f"{name}={_escaped(str(value))}" for name, value in options.items() if value]
    with tempfile.NamedTemporaryFile(
        "w", prefix="slipway-mariadb-", encoding="utf-8"
    ) as file:  # created with mode 0600
        file.write("\n".join(["[client]", *lines, ""]))
        file.flush()
        yield file.name


def _escaped(value: str) -> str:
    """Return a quoted value for an option file (MariaDB manual, "Configuring MariaDB with Option Files")."""
    doubled = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{doubled}"'
