"""Read from git: the commit of a change, the files of that commit, and the tracked files."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_of(folder: Path) -> str:
    """Return the last commit that touched `folder`, as `abc1234 subject`; empty without a repository or a commit."""
    return _git(folder, "log", "-1", "--format=%h %s", "--", ".").strip()


def files_of(folder: Path) -> tuple[str, ...]:
    """Return the files of the last commit that touched `folder`, then the uncommitted files in `folder`, marked as such."""
    commit = _git(folder, "log", "-1", "--format=%H", "--", ".").strip()
    committed = _git(folder, "show", "--name-only", "--format=", commit).split("\n") if commit else []
    status_lines = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", ".").splitlines()
    uncommitted = [f"{line[3:]} (not committed)" for line in status_lines]
    return tuple(line for line in [*committed, *uncommitted] if line)


def tracked_files(folder: Path) -> tuple[Path, ...]:
    """Return the files below `folder` that git tracks; empty outside a repository."""
    return tuple(folder / name for name in _git(folder, "ls-files", "-z", "--", ".").split("\0") if name)


def _git(folder: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout if result.returncode == 0 else ""
