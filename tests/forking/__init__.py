"""A fork server for the commands of a service, so that a test does not start a new Python for each command.

`server.py` imports a tool once and forks a child for each command. An executable in a service's `bin` folder starts
`client.py`, which passes its arguments, environment, directory and standard streams to the child and exits with the
child's exit code. If the client is killed, its child dies too.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SERVER, CLIENT = (Path(__file__).with_name(name) for name in ("server.py", "client.py"))


@contextmanager
def fork_server(folder: Path, python: Path, modules: Sequence[str]) -> Iterator[Path]:
    """Run a fork server with this interpreter and these imported modules. Yield the folder of its executables."""
    # An empty environment, as for the service's commands: they cache bytecode, whatever our environment says.
    argv = [str(python), "-I", str(SERVER), *modules]
    with subprocess.Popen(
        argv, cwd=folder, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        (folder / "bin").mkdir()
        yield folder / "bin"  # afterwards Popen closes standard input, and the server exits


def add_command(bin_folder: Path, name: str, python: Path, script: Path | None = None) -> None:
    """Add an executable that runs `script` in a fork. Without `script`, it runs the script in its first argument."""
    arguments = [python, "-I", "-S", CLIENT, bin_folder.parent, *([script] if script else [])]
    command = bin_folder / name
    command.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, arguments))} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
