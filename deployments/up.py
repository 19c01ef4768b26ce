"""`make up`: run the whole stack until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from types import FrameType

from slipway.cli.access import first_link
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.deployments.deploy import ROOT
from slipway.deployments.stack import Stack, timed_printer
from slipway.runs.store import Store

HOME = Path(".slipway") / "up"


def main() -> int:
    """Start the stack, print its addresses, wait for Ctrl-C or SIGTERM, then stop the stack."""
    report = timed_printer(time.monotonic())
    stop_requested = threading.Event()

    def request_stop(number: int, frame: FrameType | None) -> None:
        if stop_requested.is_set():
            return
        stop_requested.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, request_stop)
    try:
        with Stack(ROOT / HOME, changes=Settings.from_environment().changes, fresh=False, report=report) as stack:
            report(f"admin service  {stack.admin_url}")
            report(f"Prefect UI     {stack.prefect_url}")
            report(f"shop           {stack.shop_url}")
            with closing(Store(stack.environment["SLIPWAY_DATABASE_URL"])) as store:
                link = first_link(store, stack.admin_url)
            if link:
                report(
                    f"nobody can sign in yet; set the password of admin with this link, valid once and for one day: {link}"
                )
            report("running; press Ctrl-C to stop everything")
            stop_requested.wait()
    except KeyboardInterrupt:
        report("stopped")
    except SlipwayError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
