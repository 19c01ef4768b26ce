"""The wheel of this checkout, and an application of another team whose packages have the same names as ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = ("admin", "bench", "deployments", "flows", "tasks")  # packages of the application
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder and return its file."""
    result = subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder / result.stdout.split()[-1]


def write_application(folder: Path) -> None:
    """Write the packages of the application into an empty folder."""
    for name in OWN:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text('OWNER = "the application"\n', encoding="utf-8")
