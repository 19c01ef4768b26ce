"""Passwords, stored as scrypt hashes: `salt$hash`, both in hexadecimal."""

import hashlib
import hmac
import secrets

# A sign-in with an unknown address is checked against this hash, so that it takes as long as one with a known address.
NOBODYS_HASH = f"{'00' * 16}${'00' * 32}"


def hash_password(password: str) -> str:
    """Hash a password with a new salt."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${scrypt(password, salt).hex()}"


def check_password(password: str, stored: str | None) -> bool:
    """Return whether the password matches the stored hash. No password matches None."""
    salt, expected = (stored or NOBODYS_HASH).split("$")
    return hmac.compare_digest(scrypt(password, bytes.fromhex(salt)), bytes.fromhex(expected))


def scrypt(password: str, salt: bytes) -> bytes:
    """Derive 32 bytes; N, r and p are the interactive parameters of RFC 7914, section 2."""
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
