"""A job's card: who owns it, what to expect of it, how to get back. Prefect and the admin show it as the description."""

from __future__ import annotations


def card(purpose: str, *, owner: str, expected: str, rollback: str) -> str:
    """The card as Markdown."""
    return f"{purpose}\n\n- **Owner:** {owner}\n- **Expected:** {expected}\n- **Rollback:** {rollback}"
