"""The embedded stack's own token. `make demo` and the `slipway` command use it for the admin service of `make up`."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from slipway.accounts.grants import Grant
from slipway.accounts.keys import digest_of
from slipway.accounts.tokens import Tokens
from slipway.runs.store import Store

LIFETIME, RENEW_BEFORE = timedelta(days=365), timedelta(days=30)


def own_token(store: Store, file: Path) -> str:
    """Return the token in `file`, which only this user can read. Replace one that is missing, invalid or about to expire."""
    tokens, name = Tokens(store), f"stack.{digest_of(str(file))[:8]}"  # several stacks may share a PostgreSQL server
    saved_key = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    token = tokens.find(saved_key) if saved_key else None
    if token is not None and token.expires_at - datetime.now(UTC) > RENEW_BEFORE:
        return saved_key
    if any(token.name == name and token.revoked_at is None for token in tokens.all()):
        tokens.revoke(name)
    key, _ = tokens.make(name, Grant(role="admin"), LIFETIME, account=None)
    write_private(file, key)
    return key


def write_private(file: Path, text: str) -> None:
    """Write a file atomically; only this user can read it."""
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        output.write(text)
    draft.replace(file)
