"""A fork server for the commands of a service, so that a test does not pay for a Python start-up with each command.

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
    """Run a fork server of this interpreter with these modules imported; yield the folder of its executables."""
    # The service's commands do not get our environment either, so they cache their bytecode whatever it says.
    argv = [str(python), "-I", str(SERVER), *modules]
    with subprocess.Popen(
        argv, cwd=folder, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        (folder / "bin").mkdir()
        yield folder / "bin"  # then Popen closes standard input, at whose end the server ends


def add_command(bin_folder: Path, name: str, python: Path, script: Path | None = None) -> None:
    """Add an executable that runs `script` in a fork, or without one the script that its first argument names."""
    words = [python, "-I", "-S", CLIENT, bin_folder.parent, *([script] if script else [])]
    command = bin_folder / name
    command.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
