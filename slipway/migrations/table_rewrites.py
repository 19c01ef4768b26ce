"""Find the tables that VACUUM FULL and CLUSTER rewrite, from their text: the SQL parser does not parse them. Pure."""

from __future__ import annotations

import re
import string
from collections.abc import Container, Iterator

EVERY_TABLE = ""
LETTERS = string.ascii_letters
PART = r'(?:"(?:[^"]|"")+"|[\w$]+)'
NAME = re.compile(rf"{PART}(?:\s*\.\s*{PART})*")
COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
OPTIONS = re.compile(r"\s*\(([^)]*)\)")
WORDS = re.compile(r"\s*(FULL|FREEZE|VERBOSE|ANALYZE|ANALYSE)\b", re.IGNORECASE)
FULL = re.compile(r"full(\s+(true|on|1))?", re.IGNORECASE)


def rewritten_tables(sql: str, tables: Container[str]) -> list[str]:
    """Return the names of the `tables` that the statement rewrites; EVERY_TABLE if the statement names no table.

    Names are as in the catalogue: lower case unless quoted, with their schema unless that is public.
    """
    text = COMMENT.sub(" ", sql).strip().rstrip(";")
    is_vacuum, rest = text[:6].upper() == "VACUUM", text.lstrip(LETTERS)
    full, rest = _options(rest)
    if is_vacuum and not full:
        return []
    if not rest.strip():
        return [EVERY_TABLE]
    return [name for name in dict.fromkeys(_names(rest)) if name in tables]


def _options(rest: str) -> tuple[bool, str]:
    """Return whether FULL is an option, with or without parentheses, and the text after the options."""
    if bracketed := OPTIONS.match(rest):
        full = any(FULL.fullmatch(option.strip()) for option in bracketed[1].split(","))
        return full, rest[bracketed.end() :]
    full = False
    while word := WORDS.match(rest):
        full, rest = full or word[1].upper() == "FULL", rest[word.end() :]
    return full, rest


def _names(rest: str) -> Iterator[str]:
    """Yield the table names of a list; column lists in parentheses are ignored."""
    for match in NAME.finditer(re.sub(r"\([^)]*\)", " ", rest)):
        parts: list[str] = re.findall(PART, match[0])
        folded = [part[1:-1].replace('""', '"') if part.startswith('"') else part.lower() for part in parts]
        yield ".".join(folded[1:] if len(folded) > 1 and folded[0] == "public" else folded)
