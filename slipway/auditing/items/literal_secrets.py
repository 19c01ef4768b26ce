"""Find literal secrets in configuration text. The results never contain the secret. Pure."""

from __future__ import annotations

import re

NAMES = r"(?:password|passwd|pwd|secret|secret[_-]?key|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)"
ASSIGNED = re.compile(rf"(?:^|[\s,{{\[(<_.\-\"'])({NAMES})[\"']?\s*[:=]\s*(.+)$", re.IGNORECASE)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----")
URL_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@\"']*:([^\s/@\"']+)@", re.IGNORECASE)
# References and empty values: ${X}, $X, {{ x }}, <x>, @X@, %(x)s, %X%, { env = … }, and no value at all.
REFERENCE = re.compile(
    r"^(\$|\{|<|@[A-Z_]+@|%\(|%[A-Z_]+%|!|os\.|env\b|process\.env|null\b|none\b|true\b|false\b|~|\*+$|\||>|\[)", re.I
)
COMMENT = re.compile(r"^\s*(#|//|;)")


def literal_secrets(text: str, *, code: bool = False) -> list[tuple[int, str]]:
    """Return (line number from 1, kind) for each secret. Comments are skipped, except for private keys.

    An assignment to a name that ends in password, secret, token or key is a secret if its value is a literal. In `code`,
    only quoted values are literals.
    """
    secrets = []
    for number, line in enumerate(text.splitlines(), start=1):
        kind = _secret_kind(line, code)
        if kind:
            secrets.append((number, kind))
    return secrets


def _secret_kind(line: str, code: bool) -> str:
    if PRIVATE_KEY.search(line):
        return "a private key"
    if COMMENT.match(line):
        return ""
    url = URL_PASSWORD.search(line)
    if url and not REFERENCE.match(url[1]):
        return "a URL with a password"
    assigned = ASSIGNED.search(line)
    return f"a literal {assigned[1].lower()}" if assigned and _is_literal(assigned[2], code) else ""


def _is_literal(expression: str, code: bool) -> bool:
    expression = expression.strip()
    quote = expression[:1] if expression[:1] in "\"'" else ""
    if code and not quote:
        return False
    value = expression[1:].partition(quote)[0] if quote else re.split(r"[\s,}\])]", expression, maxsplit=1)[0]
    return len(value) >= 3 and not REFERENCE.match(value)
