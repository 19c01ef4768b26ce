"""Reading the TOML files that people write: every mistake is named with its place, all of them at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from slipway.core.errors import InvalidInput

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """The parsed file. Raises InvalidInput when it is missing, unreadable or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"There is no file {path}.", expected="A TOML file of that name.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.", expected="A readable TOML file in UTF-8.") from None


def parse(model: type[Model], document: object, *, where: str) -> Model:
    """`document` as a `model`. Raises InvalidInput that lists every field at fault, without its value."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(
            f"{where}: {describe(error)}.", expected="Only known keys, each with a valid value."
        ) from None


def describe(error: ValidationError) -> str:
    """Every fault of a pydantic error as `place: what`, joined by semicolons; values are left out (secrets)."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {_reason(fault['type'], fault['msg'])}"
        for fault in error.errors(include_url=False, include_input=False)
    )


def _reason(kind: str, message: str) -> str:
    return {"extra_forbidden": "unknown key", "missing": "missing"}.get(kind, _plain(message))


def _plain(message: str) -> str:
    """Pydantic puts "Value error, " before the sentences of our own validators."""
    said = message.removeprefix("Value error, ")
    return said[:1].lower() + said[1:]
