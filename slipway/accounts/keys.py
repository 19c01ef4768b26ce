"""Random keys (links, sessions, tokens) and what is kept of them.

The standard library's `secrets` is the well-kept library for this: 256 random bits cannot be guessed, so that a plain
SHA-256 keeps them as well as a slow hash would, and is quick enough for every request.
"""

from __future__ import annotations

import hashlib
import secrets

TOKEN_PREFIX = "slipway_"  # noqa: S105 - so that a secret scanner knows one that was committed


def new_key(prefix: str = "") -> str:
    """A new key; it is shown once and never kept."""
    return prefix + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """What the store keeps of a key."""
    return hashlib.sha256(key.encode()).hexdigest()
