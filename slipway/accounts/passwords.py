"""Passwords: what is accepted, and their Argon2id hashes (argon2-cffi, with the parameters of RFC 9106 it keeps)."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from slipway.accounts.keys import new_key
from slipway.core.errors import InvalidInput

SHORTEST, LONGEST = 12, 200  # characters; the longest bounds the work that one request can ask for
_hasher = PasswordHasher()


def check_password(password: str, name: str) -> None:
    """Raise InvalidInput for a password that is too short, too long, too even, or the person's own name."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(
            f"The password has {len(password)} characters.", expected=f"Between {SHORTEST} and {LONGEST} characters."
        )
    if len(set(password)) < 5 or name.casefold() in password.casefold():
        raise InvalidInput(
            "The password is too easy to guess.", expected="Five different characters at least, and not your name."
        )


def hash_of(password: str) -> str:
    """The hash that is kept. It takes some 50 ms and 64 MB, on purpose."""
    return _hasher.hash(password)


def fits(kept: str | None, password: str) -> bool:
    """Whether a password is the one that was hashed. Nobody's password takes as long, and never fits."""
    try:
        _hasher.verify(kept or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def is_outdated(kept: str) -> bool:
    """Whether the library meanwhile asks for stronger parameters than a hash was made with."""
    return _hasher.check_needs_rehash(kept)


@cache
def _nobodys() -> str:
    return _hasher.hash(new_key())
