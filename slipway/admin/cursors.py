"""Cursors: opaque strings for the position at which a page ended. New entries at the top do not move the position."""

from __future__ import annotations

import base64
import binascii

from slipway.core.errors import InvalidInput

MAX_LENGTH = 2_000


def write(*parts: str | int) -> str:
    """Return a position as a cursor."""
    return base64.urlsafe_b64encode("|".join(str(part) for part in parts).encode()).decode().rstrip("=")


def read(cursor: str, parts: int) -> list[str]:
    """Return the parts of a cursor. Raises InvalidInput for a cursor that this service has not written."""
    try:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode().split("|")
    except (binascii.Error, ValueError):
        decoded = []
    if len(decoded) != parts or len(cursor) > MAX_LENGTH:
        raise unknown(cursor)
    return decoded


def unknown(cursor: str) -> InvalidInput:
    """Return the error for an invalid cursor."""
    return InvalidInput(
        f"{cursor[:100]!r} is not a cursor of this list.", expected="The value of `next` in an earlier response."
    )
