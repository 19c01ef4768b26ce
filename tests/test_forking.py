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
REPORT = """
import os, sys
print(sys.argv, sys.path[0], os.getcwd(), sorted(os.environ.items()), __name__, sys.stdin.read())
print("a warning", file=sys.stderr)
sys.exit({code})
"""


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fork_server(tmp_path_factory.mktemp("forking"), PYTHON, ["json"]) as folder:
        add_command(folder, "python", PYTHON)
        yield folder


@pytest.mark.parametrize("code", ["0", "3", "None", "'some words'", "1 / 0"])
def test_a_forked_command_behaves_like_the_interpreter(tmp_path: Path, bin_folder: Path, code: str) -> None:
    """Arguments, directory, environment, streams and exit code are the same as for the plain command."""
    (tmp_path / "report.py").write_text(REPORT.format(code=code), encoding="utf-8")
    results = [
        subprocess.run(
            [python, "report.py", "one", "two words"],
            cwd=tmp_path,
            env={"LANG": "C.UTF-8", "PGAPPNAME": "slipway shöp", "PWD": str(tmp_path)},
            input="of stdin",
            capture_output=True,
            text=True,
        )
        for python in (PYTHON, bin_folder / "python")
    ]
    plain, forked = ((result.returncode, result.stdout, result.stderr.splitlines()[-1]) for result in results)
    assert forked == plain
    assert "slipway shöp" in forked[1]


def test_a_command_dies_with_its_client(tmp_path: Path, bin_folder: Path) -> None:
    """A command dies at once when the process group of its client is killed."""
    (tmp_path / "stuck.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    command = [bin_folder / "python", "stuck.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True) as client:
        assert client.stdout is not None
        child = psutil.Process(int(client.stdout.readline()))
        os.killpg(client.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while child.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_client_of_a_killed_command_is_killed(tmp_path: Path, bin_folder: Path) -> None:
    """If the command is killed, its client is killed by the same signal."""
    (tmp_path / "killed.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    assert subprocess.run([bin_folder / "python", "killed.py"], cwd=tmp_path).returncode == -signal.SIGKILL
