"""How long somebody waits who has failed to sign in. Pure."""

from __future__ import annotations

FREE_OF_ACCOUNT = 5  # a person mistypes; NIST SP 800-63B asks for a bound of 100, this stays far below
FREE_OF_ADDRESS = 20  # an office shares one address
FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 900.0  # short enough that a stranger cannot keep a person out for a day
FORGOTTEN_AFTER_S = 86_400.0


def wait_s(failures: int, free: int) -> float:
    """Seconds to wait after so many failures in a row: none while some are free, then doubled by each."""
    if failures < free:
        return 0.0
    return min(FIRST_WAIT_S * 2.0 ** min(failures - free, 30), LONGEST_WAIT_S)
