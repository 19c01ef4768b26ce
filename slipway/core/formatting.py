"""Format numbers the same way in sentences, pictures and records; complete sentences that users wrote. Pure."""

from __future__ import annotations


def with_full_stop(text: str) -> str:
    """Return a user's sentence with a full stop if it has no end mark, so that another sentence can follow."""
    return text if text.rstrip().endswith((".", "!", "?", "…")) else f"{text.rstrip()}."


def significant(value: float) -> str:
    """Return a positive number with three significant digits, without an exponent: "0.512", "18.2", "1043"."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def milliseconds(before: float, after: float) -> str:
    """Return "18.2 → 3.1 ms"."""
    return f"{_time(before)} → {_time(after)} ms"


def times(ratio: float) -> str:
    """Return a ratio as "0.17×", with three digits below 0.1."""
    return f"{ratio_digits(ratio)}×"


def percent(share: float) -> str:
    """Return a share as "95 %" or "97.5 %"."""
    return f"{100 * share:.3g} %"


def _time(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def ratio_digits(value: float) -> str:
    """Return a ratio without its unit: two digits after the point, three below 0.1."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
