"""MariaDB's and MySQL's own dump tool, piped into their client. The password stands in an option file that only we can read."""

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
)  # never mixed: MariaDB's dumps begin with a line of its own
# A reader's transaction, no lock; routines too; events not, as on the copy they would run by themselves.
DUMP = ("--single-transaction", "--quick", "--skip-lock-tables", "--no-tablespaces", "--hex-blob", "--routines")
LOOSE = (
    "--loose-set-gtid-purged=OFF"  # of MySQL: a restore into the same server could not set it; MariaDB passes over it
)
BOTH = ("--default-character-set=utf8mb4", "--max-allowed-packet=1G")  # so that no text and no large value is changed
SSL = {"ssl_ca": "ssl-ca", "ssl_cert": "ssl-cert", "ssl_key": "ssl-key"}


def client_tools() -> tuple[str, str]:
    """The dump tool and its client. Raises SlipwayError where there is none."""
    for pair in PAIRS:
        found = [shutil.which(tool) for tool in pair]
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
    raise SlipwayError(
        "There is no mariadb-dump and no mysqldump.",
        expected="The client tools of MariaDB or MySQL.",
        retry_is_safe=True,
    )


def dump_into(source: URL, copy: str) -> None:
    """Dump `source` into the database `copy` of the same server. Raises SlipwayError when either tool fails or takes too long.

    Asks now and then whether the step is interrupted; what is begun is ended with it.
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
            dumping.stdout.close()  # ours; so that the dump ends when the client does
            errors = _waited(dumping, restoring)
        dump_errors.seek(0)
        _raise_failure(dump, dumping.returncode, time.monotonic() - began, dump_errors)
        if restoring.returncode != 0:
            raise _failed(client, restoring.returncode, time.monotonic() - began, errors)


def _waited(dumping: subprocess.Popen[bytes], restoring: subprocess.Popen[bytes]) -> bytes:
    try:
        _, errors = outputs(restoring, COPY_WITHIN_S)
        dumping.wait(COPY_WITHIN_S)
        return errors
    except BaseException as error:
        restoring.kill()
        dumping.kill()
        if isinstance(error, subprocess.TimeoutExpired):
            raise SlipwayError(
                f"The copy was not made within {COPY_WITHIN_S // 60} minutes.",
                expected="A smaller database, or a `clone` that you keep.",
                retry_is_safe=True,
            ) from None
        raise


def _raise_failure(tool: str, code: int, seconds: float, errors: IO[bytes]) -> None:
    told = errors.read()
    if code != 0 and b"errno: 32" not in told:  # a broken pipe: then the client has told why
        raise _failed(tool, code, seconds, told)


def _failed(tool: str, code: int, seconds: float, errors: bytes) -> SlipwayError:
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "ERROR" in line or "rror:" in line), (lines or ["nothing"])[-1])
    return SlipwayError(
        f"{Path(tool).name} ended with {code} after {seconds:.0f} s: {reason.rstrip('.')}.",
        expected="A dump and a restore that end with 0.",
        retry_is_safe=True,
    )


@contextmanager
def _options(url: URL) -> Iterator[str]:
    """The path of an option file with the address and the password, readable by us alone, for as long as the block lasts."""
    given: dict[str, object] = {"user": url.username, "password": url.password, "host": url.host, "port": url.port}
    given |= {"socket": url.query.get("unix_socket")} | {name: url.query.get(key) for key, name in SSL.items()}
    lines = [f"{name}={_escaped(str(value))}" for name, value in given.items() if value]
    with tempfile.NamedTemporaryFile("w", prefix="slipway-mariadb-", encoding="utf-8") as file:  # made with mode 0600
        file.write("\n".join(["[client]", *lines, ""]))
        file.flush()
        yield file.name


def _escaped(value: str) -> str:
    """A value as an option file takes any (MariaDB's manual, "Configuring MariaDB with Option Files")."""
    doubled = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{doubled}"'
