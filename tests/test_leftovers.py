"""A test run leaves no running process, however it ends."""

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
    """Wait for a file and return the pid in it."""
    deadline = time.monotonic() + 120
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, f"the test did not write {file.name}"
        time.sleep(0.05)
    return int(file.read_text())


def run(folder: Path, wait: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a run of the test in its own process group. `wait` is the statement with which the second test waits."""
    file = folder / "test_it.py"
    file.write_text(TEST.replace("{wait}", wait), encoding="utf-8")
    plugins = ["-p", "tests.leftovers", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "tests.run", *plugins, *options, str(file)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, process_group=0)


def all_end(pids: list[int]) -> bool:
    """Return whether all processes end within 60 seconds."""
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=60)
    return not alive


ONE_PROCESS, TWO_PROCESSES = (), ("--numprocesses=1",)  # processes that run tests


@pytest.mark.parametrize("options", [ONE_PROCESS, TWO_PROCESSES], ids=["one process", "two processes"])
def test_a_failed_run_leaves_no_process(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Processes that a failed test has started are stopped, and the exit code is pytest's."""
    runner = run(tmp_path, "pass", *options)
    assert runner.wait(timeout=300) == 1, (tmp_path / "log").read_text()
    assert all_end([pid_in(tmp_path / name) for name in ("first", "second")])


@pytest.mark.parametrize(
    ("options", "target", "number"),
    [
        (ONE_PROCESS, "pytest", signal.SIGTERM),
        (ONE_PROCESS, "pytest", signal.SIGKILL),
        (TWO_PROCESSES, "runner", signal.SIGINT),
        (TWO_PROCESSES, "group of pytest", signal.SIGKILL),
        (TWO_PROCESSES, "group of runner", signal.SIGKILL),
    ],
)
def test_an_interrupted_run_leaves_no_process(
    tmp_path: Path, options: tuple[str, ...], target: str, number: signal.Signals
) -> None:
    """All processes that the tests have started are stopped, whichever process gets the signal."""
    runner = run(tmp_path, "time.sleep(600)", *options)
    started = [pid_in(tmp_path / name) for name in ("first", "second")]
    tests = pid_in(tmp_path / "pytest")
    pid = tests if target.endswith("pytest") else runner.pid
    (os.killpg if target.startswith("group") else os.kill)(pid, number)
    assert all_end([*started, tests]), (tmp_path / "log").read_text()
    assert runner.wait(timeout=60) != 0
