"""The fork server of the tests: a command behaves as if its own interpreter ran it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.forking import add_command, fork_server

PYTHON = Path(sys.executable)
TOLD = """
import os, sys
print(sys.argv, sys.path[0], os.getcwd(), sorted(os.environ.items()), __name__, sys.stdin.read())
print("a warning", file=sys.stderr)
sys.exit({code})
"""


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fork_server(tmp_path_factory.mktemp("forking"), PYTHON, ["json"]) as made:
        add_command(made, "python", PYTHON)
        yield made


@pytest.mark.parametrize("code", ["0", "3", "None", "'some words'", "1 / 0"])
def test_same_as_the_interpreter(tmp_path: Path, bin_folder: Path, code: str) -> None:
    """Arguments, directory, environment, streams and exit code are those of the plain command."""
    (tmp_path / "told.py").write_text(TOLD.format(code=code), encoding="utf-8")
    ran = [
        subprocess.run(
            [python, "told.py", "one", "two words"],
            cwd=tmp_path,
            env={"LANG": "C.UTF-8", "PGAPPNAME": "slipway shöp", "PWD": str(tmp_path)},
            input="of stdin",
            capture_output=True,
            text=True,
        )
        for python in (PYTHON, bin_folder / "python")
    ]
    plain, forked = ((each.returncode, each.stdout, each.stderr.splitlines()[-1]) for each in ran)
    assert forked == plain
    assert "slipway shöp" in forked[1]


def test_killed_with_its_client(tmp_path: Path, bin_folder: Path) -> None:
    """A command whose process group is killed is gone at once."""
    (tmp_path / "stuck.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    command = [bin_folder / "python", "stuck.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True) as client:
        assert client.stdout is not None
        child = psutil.Process(int(client.stdout.readline()))
        os.killpg(client.pid, signal.SIGKILL)
    until = time.monotonic() + 60
    while child.is_running():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_client_of_a_killed_command(tmp_path: Path, bin_folder: Path) -> None:
    """A command that is killed itself ends as a killed one."""
    (tmp_path / "killed.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    assert subprocess.run([bin_folder / "python", "killed.py"], cwd=tmp_path).returncode == -signal.SIGKILL
