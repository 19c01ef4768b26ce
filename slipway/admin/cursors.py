"""A place in a list, as an opaque text: where a page ended, whatever has come in above it since."""

from __future__ import annotations

import base64
import binascii

from slipway.core.errors import InvalidInput

LONGEST = 2_000


def write(*parts: str | int) -> str:
    """A place as a cursor."""
    return base64.urlsafe_b64encode("|".join(str(part) for part in parts).encode()).decode().rstrip("=")


def read(cursor: str, parts: int) -> list[str]:
    """The parts of a cursor. Raises InvalidInput for one that this service has not written."""
    try:
        found = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode().split("|")
    except (binascii.Error, ValueError):
        found = []
    if len(found) != parts or len(cursor) > LONGEST:
        raise unknown(cursor)
    return found


def unknown(cursor: str) -> InvalidInput:
    """Why a cursor is refused."""
    return InvalidInput(f"{cursor[:100]!r} is no cursor of this list.", expected="The `next` of an earlier answer.")
