"""`make demo`: ship two changes. Slipway keeps the first one and rolls the second one back."""

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
from slipway.deployments.stack import Stack, timed_printer

HOME = Path(".slipway") / "demo"
EXPECTED_DECISIONS = (("order-history-index", "keep"), ("drop-open-orders-index", "roll back"))


def main() -> int:
    """Start the stack with a fresh shop, ship both changes and print their records. Return 0 if both ended as expected."""
    exit_on_sigterm()
    report = timed_printer(time.monotonic())
    try:
        with Stack(ROOT / HOME, changes=Settings.from_environment().changes, fresh=True, report=report) as stack:
            report(f"follow along: admin {stack.admin_url}/runs, Prefect UI {stack.prefect_url}, shop {stack.shop_url}")
            with stack.client() as client:
                matches = [_ship(client, name, expected, report) for name, expected in EXPECTED_DECISIONS]
            return 0 if all(matches) else 1
    except KeyboardInterrupt:
        report("interrupted; all processes are stopped")
        return 130
    except SlipwayError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1


def _ship(client: AdminClient, name: str, expected: str, report: Any) -> bool:
    run = client.start("ship-change", {"change": name})
    report(f"shipping {name}: run {run['id']}")
    progress = Progress(lambda line: report(f"  {line}"))
    for current in client.follow(run["id"]):
        progress.show(current)
        run = current
    for line in ending(run):
        report(line)
    if run["record"]:
        print("\n" + run["record"]["markdown"], flush=True)
    decision = run["decision"]["word"] if run["decision"] else "nothing"
    if decision != expected:
        report(f"{name}: expected the decision {expected!r}, got {decision!r}")
    return bool(decision == expected and run["state"]["type"] == "COMPLETED")


if __name__ == "__main__":
    sys.exit(main())
