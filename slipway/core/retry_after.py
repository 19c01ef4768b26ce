"""`Retry-After`, the header with which a server asks its client to wait."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(value: str, now: datetime) -> float | None:
    """Return the seconds to wait, or None if the value says nothing.

    The value is a number of seconds or a date (RFC 9110, section 10.2.3). A date without a zone is UTC. A past date gives 0.0.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
