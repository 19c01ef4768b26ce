"""`make up`: the whole stack until Ctrl-C."""

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
from slipway.deployments.stack import Stack, say_with_time
from slipway.runs.store import Store

HOME = Path(".slipway") / "up"


def main() -> int:
    """Start, print the addresses, wait for Ctrl-C or SIGTERM, end everything."""
    say = say_with_time(time.monotonic())
    over = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if over.is_set():
            return
        over.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        with Stack(ROOT / HOME, changes=Settings.from_environment().changes, fresh=False, say=say) as stack:
            say(f"admin service  {stack.admin_url}")
            say(f"Prefect UI     {stack.prefect_url}")
            say(f"shop           {stack.shop_url}")
            with closing(Store(stack.environment["SLIPWAY_DATABASE_URL"])) as store:
                invitation = first_link(store, stack.admin_url)
            if invitation:
                say(f"nobody can sign in yet; choose the password of admin, once, within a day: {invitation}")
            say("running; Ctrl-C ends everything")
            over.wait()
    except KeyboardInterrupt:
        say("ended")
    except SlipwayError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
