"""The embedded stack's own token: what `make demo` and the `slipway` command beside `make up` show at the admin service."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from slipway.accounts.grants import Grant
from slipway.accounts.keys import digest_of
from slipway.accounts.tokens import Tokens
from slipway.runs.store import Store

LASTS, RENEWED_BEFORE = timedelta(days=365), timedelta(days=30)


def own_token(store: Store, file: Path) -> str:
    """The token in a file that only this user reads: the one that is there, or a new one when that ends soon or is not good."""
    tokens, name = Tokens(store), f"stack.{digest_of(str(file))[:8]}"  # several stacks may share a PostgreSQL
    kept = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    found = tokens.find(kept) if kept else None
    if found is not None and found.expires_at - datetime.now(UTC) > RENEWED_BEFORE:
        return kept
    if any(token.name == name and token.revoked_at is None for token in tokens.all()):
        tokens.revoke(name)
    key, _ = tokens.make(name, Grant(role="admin"), LASTS, account=None)
    write_private(file, key)
    return key


def write_private(file: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
        written.write(text)
    draft.replace(file)
