"""Run pytest, and stop every process that it leaves, even if it is killed: `python -m tests.run [pytest arguments]`.

Exits with pytest's exit code, or with 128 plus the number of the signal that killed pytest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from tests.leftovers import adopt_orphans, end_descendants, follow_parent, report


def main(arguments: Sequence[str]) -> int:
    """Run pytest with these arguments. SIGINT, SIGTERM and SIGHUP interrupt it like Ctrl-C."""
    adopt_orphans()
    command = [sys.executable, "-m", "pytest", *arguments]
    # In its own process group: if a signal kills one of the two groups, the other one cleans up.
    tests = subprocess.Popen(command, preexec_fn=_interrupted_with_parent, process_group=0)  # noqa: PLW1509 - one thread

    def interrupt(number: int, frame: FrameType | None) -> None:
        tests.send_signal(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    code = _reap_until(tests.pid)
    report(end_descendants())
    return code if code >= 0 else 128 - code


def _reap_until(pid: int) -> int:
    """Wait for a child and return its exit code. Reap adopted children that end earlier, like init."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _interrupted_with_parent() -> None:
    follow_parent(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
