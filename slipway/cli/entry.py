"""The entry point of the command `slipway`. Imports the command only when it runs, because a client is installed without it."""

from __future__ import annotations

import sys

EXTRAS = "pip install 'slipway[server]' (or slipway[worker], slipway[local])"


def main() -> None:
    """Run the command. Without its packages, exit with 1 and say which extra installs them."""
    try:
        from slipway.cli.main import main as run
    except ModuleNotFoundError as error:
        if (error.name or "slipway").partition(".")[0] == "slipway":
            raise
        sys.exit(f"The command slipway needs the package {error.name}, which is not installed. Install it: {EXTRAS}.")
    run()
