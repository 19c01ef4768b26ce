"""The configuration files of a service's repository: small text files, selected by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from slipway.config.git import tracked_files
from slipway.core.frozen import FrozenModel

MAX_FILES, MAX_BYTES, MAX_LISTED = 500, 256 * 1024, 100_000
TYPES = {".toml", ".yaml", ".yml", ".json", ".ini", ".cfg", ".conf", ".env", ".properties", ".vcl", ".tf", ".tfvars"}
CODE = {"settings.py", "config.py"}
TEMPLATES = (".example", ".sample", ".template", ".dist")
EXCLUDED_FOLDERS = {"node_modules", "venv", "site-packages", "__pycache__"}


class ConfigurationFile(FrozenModel):
    """One file: its path below the folder, and its text. `code` marks a program."""

    path: str
    text: str
    code: bool


class ConfigurationFiles(FrozenModel):
    """The files that were read, and descriptions of the files that were not."""

    files: tuple[ConfigurationFile, ...]
    left_out: tuple[str, ...] = ()


def configuration_files(folder: Path) -> ConfigurationFiles:
    """Return the configuration files that git tracks below `folder`, or all of them outside a repository.

    Links are not followed. At most 500 files of at most 256 KiB each are read. `left_out` names larger and unreadable files.
    """
    paths = [path for path in tracked_files(folder) or _files_below(folder) if _is_configuration(path.name)]
    files, left_out = [], [f"more than {MAX_FILES} files"] if len(paths) > MAX_FILES else []
    for path in sorted(paths)[:MAX_FILES]:
        relative = path.relative_to(folder).as_posix()
        try:
            if path.is_symlink() or not path.is_file():
                continue
            if path.stat().st_size > MAX_BYTES:
                left_out.append(f"{relative} is larger than {MAX_BYTES // 1024} KiB")
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            left_out.append(f"{relative}: {type(error).__name__}")
            continue
        files.append(ConfigurationFile(path=relative, text=text, code=path.name in CODE))
    return ConfigurationFiles(files=tuple(files), left_out=tuple(left_out))


def _is_configuration(name: str) -> bool:
    if name.endswith((*TEMPLATES, "-lock.json", "-lock.yaml")):
        return False
    return Path(name).suffix in TYPES or name in CODE or name.startswith((".env", "Dockerfile"))


def _files_below(folder: Path) -> Iterator[Path]:
    listed = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in EXCLUDED_FOLDERS and not name.startswith("."))
        for name in files:
            listed += 1
            if listed > MAX_LISTED:
                return
            yield Path(parent) / name
