"""Password rules and Argon2id hashes (argon2-cffi with its default parameters, which follow RFC 9106)."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from slipway.accounts.keys import new_key
from slipway.core.errors import InvalidInput

MIN_LENGTH, MAX_LENGTH = 12, 200  # characters; the maximum limits the work of one request
_hasher = PasswordHasher()


def check_password(password: str, name: str) -> None:
    """Raise `InvalidInput` if a password is too short, too long, too uniform, or contains the account name."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInput(
            f"The password has {len(password)} characters.",
            expected=f"Between {MIN_LENGTH} and {MAX_LENGTH} characters.",
        )
    if len(set(password)) < 5 or name.casefold() in password.casefold():
        raise InvalidInput(
            "The password is too easy to guess.", expected="At least five different characters, and not your name."
        )


def hash_password(password: str) -> str:
    """Return the hash of a password. Hashing takes about 50 ms and 64 MB on purpose."""
    return _hasher.hash(password)


def verify_password(hashed: str | None, password: str) -> bool:
    """Return whether a password matches a hash. Without a hash, the check takes as long and returns false."""
    try:
        _hasher.verify(hashed or _dummy_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return hashed is not None


def needs_rehash(hashed: str) -> bool:
    """Return whether the library now requires other parameters than those of a hash."""
    return _hasher.check_needs_rehash(hashed)


@cache
def _dummy_hash() -> str:
    return _hasher.hash(new_key())
