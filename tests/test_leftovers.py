"""A test run leaves no process behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
SLEEP = "import time; time.sleep(600)"
TEST = f"""
import os, pathlib, subprocess, sys, time

def start(name):
    process = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
    pathlib.Path(__file__).with_name(name).write_text(str(process.pid))

def test_fails():
    start("first")
    assert False

def test_waits():
    start("second")
    pid = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    pathlib.Path(__file__).with_name("pytest").write_text(str(pid))
    {{wait}}
"""


def pid_in(file: Path) -> int:
    """The pid that a test has written."""
    deadline = time.monotonic() + 120
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, f"no {file.name} was written"
        time.sleep(0.05)
    return int(file.read_text())


def run(folder: Path, wait: str, *options: str) -> subprocess.Popen[bytes]:
    """A run of the test in a process group of its own; it waits as the test says."""
    file = folder / "test_it.py"
    file.write_text(TEST.replace("{wait}", wait), encoding="utf-8")
    plugins = ["-p", "tests.leftovers", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "tests.run", *plugins, *options, str(file)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, process_group=0)


def gone(pids: list[int]) -> bool:
    """Whether all processes have ended, after a while at most."""
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, left = psutil.wait_procs(processes, timeout=60)
    return not left


ONE, TWO = (), ("--numprocesses=1",)  # processes that run tests


@pytest.mark.parametrize("options", [ONE, TWO], ids=["one process", "two processes"])
def test_a_run_that_fails(tmp_path: Path, options: tuple[str, ...]) -> None:
    """What a failed test has started is ended, and the exit code is that of pytest."""
    runner = run(tmp_path, "pass", *options)
    assert runner.wait(timeout=300) == 1, (tmp_path / "log").read_text()
    assert gone([pid_in(tmp_path / name) for name in ("first", "second")])


@pytest.mark.parametrize(
    ("options", "to", "number"),
    [
        (ONE, "pytest", signal.SIGTERM),
        (ONE, "pytest", signal.SIGKILL),
        (TWO, "runner", signal.SIGINT),
        (TWO, "group of pytest", signal.SIGKILL),
        (TWO, "group of runner", signal.SIGKILL),
    ],
)
def test_a_run_that_is_interrupted(tmp_path: Path, options: tuple[str, ...], to: str, number: signal.Signals) -> None:
    """Whichever process gets the signal, everything that the tests have started ends."""
    runner = run(tmp_path, "time.sleep(600)", *options)
    started = [pid_in(tmp_path / name) for name in ("first", "second")]
    tests = pid_in(tmp_path / "pytest")
    pid = tests if to.endswith("pytest") else runner.pid
    (os.killpg if to.startswith("group") else os.kill)(pid, number)
    assert gone([*started, tests]), (tmp_path / "log").read_text()
    assert runner.wait(timeout=60) != 0
