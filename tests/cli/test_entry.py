"""The command in an environment where only the client is installed."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run_without(module: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point in an interpreter that cannot import a module."""
    code = f"import sys; sys.modules[{module!r}] = None; from slipway.cli.entry import main; main()"
    return subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)


@pytest.mark.parametrize("module", ["typer", "sqlalchemy"])
def test_a_missing_package_names_the_extra(module: str) -> None:
    """Without a package of the extras the command exits with 1, and its only output says what to install."""
    result = run_without(module)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith(f"The command slipway needs the package {module}, which is not installed.")
    assert "slipway[server]" in result.stderr and "Traceback" not in result.stderr


def test_a_missing_module_of_slipway_is_not_hidden() -> None:
    """A fault of the package itself keeps its traceback."""
    assert "Traceback" in run_without("slipway.cli.access").stderr
