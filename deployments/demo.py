"""`make demo`: two changes from request to record, one that is kept and one that is rolled back by itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from slipway.cli.progress import Progress, ending
from slipway.client.http import AdminClient
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.deployments.deploy import ROOT
from slipway.deployments.processes import exit_on_sigterm
from slipway.deployments.stack import Stack, say_with_time

HOME = Path(".slipway") / "demo"
STORY = (("order-history-index", "keep"), ("drop-open-orders-index", "roll back"))


def main() -> int:
    """Start the stack over a fresh shop, ship both changes, print their records; 0 when both ended as they should."""
    exit_on_sigterm()
    say = say_with_time(time.monotonic())
    try:
        with Stack(ROOT / HOME, changes=Settings.from_environment().changes, fresh=True, say=say) as stack:
            say(f"follow along: admin {stack.admin_url}/runs, Prefect UI {stack.prefect_url}, shop {stack.shop_url}")
            with stack.client() as client:
                good = [_ship(client, name, expected, say) for name, expected in STORY]
            return 0 if all(good) else 1
    except KeyboardInterrupt:
        say("interrupted; everything was ended")
        return 130
    except SlipwayError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1


def _ship(client: AdminClient, name: str, expected: str, say: Any) -> bool:
    run = client.start("ship-change", {"change": name})
    say(f"shipping {name}: run {run['id']}")
    progress = Progress(lambda line: say(f"  {line}"))
    for current in client.follow(run["id"]):
        progress.show(current)
        run = current
    for line in ending(run):
        say(line)
    if run["record"]:
        print("\n" + run["record"]["markdown"], flush=True)
    decided = run["decision"]["word"] if run["decision"] else "nothing"
    if decided != expected:
        say(f"{name}: expected {expected!r}, the run decided {decided!r}")
    return bool(decided == expected and run["state"]["type"] == "COMPLETED")


if __name__ == "__main__":
    sys.exit(main())
