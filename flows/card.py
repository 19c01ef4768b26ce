"""A job's card: its owner, its expected result and its rollback. Prefect and the admin service show it as the description."""

from __future__ import annotations


def card(purpose: str, *, owner: str, expected: str, rollback: str) -> str:
    """Return the card as Markdown."""
    return f"{purpose}\n\n- **Owner:** {owner}\n- **Expected:** {expected}\n- **Rollback:** {rollback}"
