"""Render Markdown as safe HTML: raw HTML is escaped, relative links are removed, wide tables scroll."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def _table_open(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    label = escapeHtml(str(tokens[at].meta["label"]))
    return f'<div class="wide" role="region" aria-label="{label}" tabindex="0"><table>'


def _table_close(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
    return "</table></div>"


_MARKDOWN.add_render_rule("table_open", _table_open)
_MARKDOWN.add_render_rule("table_close", _table_close)


def to_html(markdown: str, *, images: str = "") -> str:
    """Return HTML with headings one level down, all images loaded from `images`, and no links to files."""
    tokens = _without_empty_heads(_with_labels(_MARKDOWN.parse(markdown)))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 1)}"
        if token.children is not None:
            token.children = [_with_source(child, images) for child in token.children if not _is_file_link(child)]
            token.children = _balanced(token.children)
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _with_labels(tokens: list[Token]) -> list[Token]:
    """Label each table with its heading, so that screen-reader users can distinguish the tables."""
    heading, counts = "Table", Counter[str]()
    for before, token in pairwise([*tokens[:1], *tokens]):
        if before.type == "heading_open":
            heading = token.content
        if token.type == "table_open":
            counts[heading] += 1
            token.meta["label"] = heading if counts[heading] == 1 else f"{heading}, {counts[heading]}"
    return tokens


def _is_file_link(token: Token) -> bool:
    """Whether a token opens a link to a file next to the record. The page cannot serve such a file."""
    return token.type == "link_open" and not str(token.attrGet("href")).startswith(("http://", "https://", "#"))


def _balanced(tokens: list[Token]) -> list[Token]:
    """Remove the closing tokens of links whose opening tokens were removed. Links do not nest."""
    result: list[Token] = []
    is_open = False
    for token in tokens:
        if token.type == "link_close" and not is_open:
            continue
        is_open = token.type == "link_open" or (is_open and token.type != "link_close")
        result.append(token)
    return result


def _with_source(token: Token, images: str) -> Token:
    if token.type == "image":
        token.attrSet("src", images)
    return token


def _without_empty_heads(tokens: list[Token]) -> list[Token]:
    """Remove empty table heads: a two-column table without a head is a list of names and values."""
    result: list[Token] = []
    head: list[Token] | None = None
    for token in tokens:
        if token.type == "thead_open":
            head = []
        if head is None:
            result.append(token)
            continue
        head.append(token)
        if token.type == "thead_close":
            result += head if any(part.type == "inline" and part.content for part in head) else []
            head = None
    return result
