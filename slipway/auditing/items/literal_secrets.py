"""Secrets that stand as literals in configuration text. Pure; a secret is never part of what it answers. Pure."""

from __future__ import annotations

import re

NAMES = r"(?:password|passwd|pwd|secret|secret[_-]?key|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)"
ASSIGNED = re.compile(rf"(?:^|[\s,{{\[(<_.\-\"'])({NAMES})[\"']?\s*[:=]\s*(.+)$", re.IGNORECASE)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----")
URL_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@\"']*:([^\s/@\"']+)@", re.IGNORECASE)
# What stands for a value that comes from elsewhere: ${X}, $X, {{ x }}, <x>, @X@, %(x)s, %X%, { env = … }, and no value at all.
STANDS_FOR = re.compile(
    r"^(\$|\{|<|@[A-Z_]+@|%\(|%[A-Z_]+%|!|os\.|env\b|process\.env|null\b|none\b|true\b|false\b|~|\*+$|\||>|\[)", re.I
)
COMMENT = re.compile(r"^\s*(#|//|;)")


def literal_secrets(text: str, *, code: bool = False) -> list[tuple[int, str]]:
    """(line, what stands there) for each secret, lines from 1; comments do not count, other than private keys.

    An assignment to a name that ends in password, secret, token or key counts when its value is a literal; in `code`
    only what stands in quotes is one.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        what = _in_line(line, code)
        if what:
            found.append((number, what))
    return found


def _in_line(line: str, code: bool) -> str:
    if PRIVATE_KEY.search(line):
        return "a private key"
    if COMMENT.match(line):
        return ""
    url = URL_PASSWORD.search(line)
    if url and not STANDS_FOR.match(url[1]):
        return "a URL with a password"
    assigned = ASSIGNED.search(line)
    return f"a literal {assigned[1].lower()}" if assigned and _is_literal(assigned[2], code) else ""


def _is_literal(written: str, code: bool) -> bool:
    written = written.strip()
    quote = written[:1] if written[:1] in "\"'" else ""
    if code and not quote:
        return False
    value = written[1:].partition(quote)[0] if quote else re.split(r"[\s,}\])]", written, maxsplit=1)[0]
    return len(value) >= 3 and not STANDS_FOR.match(value)
