"""What git knows: the commit of a change, the files that it touches, and which files are tracked."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_of(folder: Path) -> str:
    """The last commit that touched `folder`, as `abc1234 subject`; empty outside a repository or before any commit."""
    return _git(folder, "log", "-1", "--format=%h %s", "--", ".").strip()


def files_of(folder: Path) -> tuple[str, ...]:
    """The files of that commit, and behind them what is not committed in `folder`, marked so."""
    commit = _git(folder, "log", "-1", "--format=%H", "--", ".").strip()
    committed = _git(folder, "show", "--name-only", "--format=", commit).split("\n") if commit else []
    open_lines = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", ".").splitlines()
    uncommitted = [f"{line[3:]} (not committed)" for line in open_lines]
    return tuple(line for line in [*committed, *uncommitted] if line)


def tracked_files(folder: Path) -> tuple[Path, ...]:
    """The files below `folder` that git tracks; empty outside a repository."""
    return tuple(folder / name for name in _git(folder, "ls-files", "-z", "--", ".").split("\0") if name)


def _git(folder: Path, *arguments: str) -> str:
    try:
        ran = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout if ran.returncode == 0 else ""
