"""The documentation: its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_to_files_of_the_project(file: Path) -> None:
    """Every relative link of a document leads to a file or folder that exists."""
    links = re.findall(
        r"\]\(([^)#\s]+)", re.sub(r"```.*?```|`[^`]*`", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (file.parent / link).exists()] == []


def test_every_document_is_in_the_index() -> None:
    """The index of the documentation names every document."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    documents = {
        str(file.relative_to(ROOT / "docs")) for file in ROOT.glob("docs/*/*.md") if file.parent.name != "decisions"
    }
    assert documents and {name for name in documents if f"({name})" not in index} == set()
