"""Read the TOML files that users write. An error names every mistake with its place, all at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from slipway.core.errors import InvalidInput

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the parsed file. Raises InvalidInput if the file is missing, unreadable or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"There is no file {path}.", expected="A TOML file at this path.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.", expected="A readable TOML file in UTF-8.") from None


def parse(model: type[Model], document: object, *, where: str) -> Model:
    """Return `document` as a `model`. Raises InvalidInput that lists every invalid field, without its value."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(
            f"{where}: {describe(error)}.", expected="Only known keys, each with a valid value."
        ) from None


def describe(error: ValidationError) -> str:
    """Return the errors of a pydantic error as `place: reason`, joined by semicolons, without values (secrets)."""
    return "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'file'}: {_reason(detail['type'], detail['msg'])}"
        for detail in error.errors(include_url=False, include_input=False)
    )


def _reason(kind: str, message: str) -> str:
    return {"extra_forbidden": "unknown key", "missing": "missing"}.get(kind, _plain(message))


def _plain(message: str) -> str:
    """Remove the prefix "Value error, " that pydantic adds to messages of our own validators."""
    own = message.removeprefix("Value error, ")
    return own[:1].lower() + own[1:]
