"""The configuration files of a service's repository: small text files, by their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from slipway.config.git import tracked_files
from slipway.core.frozen import FrozenModel

MOST_FILES, MOST_BYTES, MOST_SEEN = 500, 256 * 1024, 100_000
TYPES = {".toml", ".yaml", ".yml", ".json", ".ini", ".cfg", ".conf", ".env", ".properties", ".vcl", ".tf", ".tfvars"}
CODE = {"settings.py", "config.py"}
TEMPLATES = (".example", ".sample", ".template", ".dist")
NOT_OURS = {"node_modules", "venv", "site-packages", "__pycache__"}


class ConfigurationFile(FrozenModel):
    """One file: its path below the folder, and its text; `code` says that it is a program."""

    path: str
    text: str
    code: bool


class ConfigurationFiles(FrozenModel):
    """The files that were read, and in words what was left out."""

    files: tuple[ConfigurationFile, ...]
    left_out: tuple[str, ...] = ()


def configuration_files(folder: Path) -> ConfigurationFiles:
    """The configuration files that git tracks below `folder`, or all that lie there outside a repository.

    No link is followed. At most 500 files are read, of at most 256 KiB each; what is larger or unreadable is told.
    """
    names = [path for path in tracked_files(folder) or _lying(folder) if _is_configuration(path.name)]
    read, left_out = [], [f"more than {MOST_FILES} files"] if len(names) > MOST_FILES else []
    for path in sorted(names)[:MOST_FILES]:
        shown = path.relative_to(folder).as_posix()
        try:
            if path.is_symlink() or not path.is_file():
                continue
            if path.stat().st_size > MOST_BYTES:
                left_out.append(f"{shown} is larger than {MOST_BYTES // 1024} KiB")
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            left_out.append(f"{shown}: {type(error).__name__}")
            continue
        read.append(ConfigurationFile(path=shown, text=text, code=path.name in CODE))
    return ConfigurationFiles(files=tuple(read), left_out=tuple(left_out))


def _is_configuration(name: str) -> bool:
    if name.endswith((*TEMPLATES, "-lock.json", "-lock.yaml")):
        return False
    return Path(name).suffix in TYPES or name in CODE or name.startswith((".env", "Dockerfile"))


def _lying(folder: Path) -> Iterator[Path]:
    seen = 0
    for below, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in NOT_OURS and not name.startswith("."))
        for name in files:
            seen += 1
            if seen > MOST_SEEN:
                return
            yield Path(below) / name
