"""Random keys for links, sessions and tokens, and the digests that the store saves.

The keys come from the standard library's `secrets`. Nobody can guess 256 random bits, so a plain SHA-256 protects a key as
well as a slow hash would, and is fast enough for every request.
"""

from __future__ import annotations

import hashlib
import secrets

TOKEN_PREFIX = "slipway_"  # noqa: S105 - lets a secret scanner recognise a committed token


def new_key(prefix: str = "") -> str:
    """Return a new key. It is shown once and never saved."""
    return prefix + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """Return the digest of a key, which the store saves instead of the key."""
    return hashlib.sha256(key.encode()).hexdigest()
