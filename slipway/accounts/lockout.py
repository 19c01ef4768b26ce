"""The wait after failed sign-ins. Pure."""

from __future__ import annotations

ALLOWED_PER_ACCOUNT = 5  # people mistype; far below the limit of 100 in NIST SP 800-63B
ALLOWED_PER_ADDRESS = 20  # an office shares one address
FIRST_WAIT_S, MAX_WAIT_S = 30.0, 900.0  # short, so that an attacker cannot lock a person out for a day
RESET_AFTER_S = 86_400.0


def wait_s(failures: int, allowed: int) -> float:
    """Return the seconds to wait after consecutive failures: 0 below `allowed`, then doubled by each further failure."""
    if failures < allowed:
        return 0.0
    return min(FIRST_WAIT_S * 2.0 ** min(failures - allowed, 30), MAX_WAIT_S)
