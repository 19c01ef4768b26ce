"""Markdown as HTML that is safe to show: nobody's HTML passes, no link leads into nowhere, wide tables scroll."""

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
    """HTML whose headings stand below the page's own; its images are read from `images`, its files are not linked."""
    tokens = _without_empty_heads(_with_labels(_MARKDOWN.parse(markdown)))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 1)}"
        if token.children is not None:
            token.children = [_shown(child, images) for child in token.children if not _leads_nowhere(child)]
            token.children = _balanced(token.children)
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _with_labels(tokens: list[Token]) -> list[Token]:
    """Each table called by the heading that it stands under, so that who hears the page can tell them apart."""
    heading, seen = "Table", Counter[str]()
    for before, token in pairwise([*tokens[:1], *tokens]):
        if before.type == "heading_open":
            heading = token.content
        if token.type == "table_open":
            seen[heading] += 1
            token.meta["label"] = heading if seen[heading] == 1 else f"{heading}, {seen[heading]}"
    return tokens


def _leads_nowhere(token: Token) -> bool:
    """Whether it opens a link to a file beside the record, which the page does not have."""
    return token.type == "link_open" and not str(token.attrGet("href")).startswith(("http://", "https://", "#"))


def _balanced(tokens: list[Token]) -> list[Token]:
    """Without the ends of links whose beginnings were left out; links do not nest."""
    kept: list[Token] = []
    is_open = False
    for token in tokens:
        if token.type == "link_close" and not is_open:
            continue
        is_open = token.type == "link_open" or (is_open and token.type != "link_close")
        kept.append(token)
    return kept


def _shown(token: Token, images: str) -> Token:
    if token.type == "image":
        token.attrSet("src", images)
    return token


def _without_empty_heads(tokens: list[Token]) -> list[Token]:
    """A table of two columns with an empty head is a list of names and values: a head of nothing is read out by nobody."""
    kept: list[Token] = []
    head: list[Token] | None = None
    for token in tokens:
        if token.type == "thead_open":
            head = []
        if head is None:
            kept.append(token)
            continue
        head.append(token)
        if token.type == "thead_close":
            kept += head if any(each.type == "inline" and each.content for each in head) else []
            head = None
    return kept
