"""Check files for phrasings that this project does not use: `python -m tests.prose [files]`. Default: all files in git.

Of Python files, it checks comments and string literals, which include docstrings. Other files are checked completely. It
prints one line per phrasing with the usual words, and exits with 1 if there is any. codespell checks the spelling.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

USUAL_WORDS = {
    r"anew": "again",
    r"whoever": "anyone who",
    r"somebody(?: else)?": "another user, another session",
    r"(?:not )?to be had|is had|can be had": "could not acquire, is not available",
    r"(?:still )?stands? (?:at|there)|stood at": "is at",
    r"(?:the|no|a|its) way back": "the downgrade, the rollback",
    r"who(?:ever)? asks|who asked": "the caller",
    r"(?:what|whatever) came of (?:it|that|them)": "the outcome",
    r"hangs? up at": "add to",
    r"(?:is|are|was|were|be|been|being) told": "is reported, is returned",
    r"go(?:es)? on (?:with|from|at|where|after|behind)": "continue",
    r"at work": "running",
    r"how to mend|mended?s?(?= it| them| the)": "fix",
    r"left behind|leaves? behind": "left over, kept, stored",
    r"behind (?:its|the|a|each|that) (?:batch|step|run|window|window's|move|deadline)": "after",
    r"(?:the|all|both|these|its|HTTP|JSON|made-up) doors?": "the endpoint, the entry point",
    r"comes? to nothing|come to (?:it|them)": "has no effect, is reached",
    r"that which": "what",
    r"for who": "for callers that",
    r"is wanted of": "is requested",
    r"in vain": "cannot succeed",
    r"of (?:one's|its|their) own accord": "automatically",
}
BANNED = re.compile("|".join(rf"(?P<p{n}>\b(?:{phrase})\b)" for n, phrase in enumerate(USUAL_WORDS)), re.IGNORECASE)
SUFFIXES = (".md", ".html", ".py", ".toml", ".yaml")


class Hit(NamedTuple):
    """A phrasing that this project does not use: its line, its words, and the usual words."""

    line: int
    phrase: str
    usual: str


def hits(path: str, text: str) -> list[Hit]:
    """Return the banned phrasings in a file, in order."""
    return [
        Hit(line + piece.count("\n", 0, match.start()), " ".join(match[0].split()), _usual(match))
        for line, piece in _prose(path, text)
        for match in BANNED.finditer(piece)
    ]


def _usual(match: re.Match[str]) -> str:
    assert match.lastgroup is not None
    return list(USUAL_WORDS.values())[int(match.lastgroup[1:])]


def _prose(path: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield the prose of a file in parts, each with the number of its first line."""
    if not path.endswith(".py"):
        yield 1, text
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield token.start[0], token.string


def main(paths: Sequence[str]) -> int:
    """Check these files, or all files in git. Return the exit code."""
    listed = (
        paths or subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    )
    code = 0
    for path in listed:
        file = Path(path)
        if path.endswith(SUFFIXES) and file.exists() and not file.samefile(__file__):
            for hit in hits(path, file.read_text(encoding="utf-8")):
                print(f'{path}:{hit.line}: "{hit.phrase}"; usual words: {hit.usual}')
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
