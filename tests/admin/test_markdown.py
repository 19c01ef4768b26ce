"""Convert records and reports to HTML: text that users wrote is escaped."""

import pytest

from slipway.admin.markdown import to_html


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("# Kept", "<h2>Kept</h2>\n"),
        ("###### Deep", "<h6>Deep</h6>\n"),
        ("a <script>alert(1)</script>", "<p>a &lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
        ("<div onclick=x>", "<p>&lt;div onclick=x&gt;</p>\n"),
        ("[a](javascript:alert)", "<p>[a](javascript:alert)</p>\n"),
        ("[a](record.staging.md) and [b](https://example.com/)", '<p>a and <a href="https://example.com/">b</a></p>\n'),
        ("Ada <ada@example.com>", "<p>Ada ada@example.com</p>\n"),
        ('![Before "and" after](before-after.svg)', '<p><img src="/p.svg" alt="Before &quot;and&quot; after" /></p>\n'),
    ],
)
def test_markdown_is_converted_and_html_is_escaped(markdown: str, html: str) -> None:
    """Headings start at level 2, HTML becomes text, only absolute links stay links, and pictures are those of the run."""
    assert to_html(markdown, images="/p.svg") == html


def test_tables_scroll_and_have_a_label() -> None:
    """A table scrolls, can have the keyboard focus, and has its heading as label. An empty table head is left out."""
    table = to_html("| | |\n|---|---|\n| service | shop |\n")
    assert table.startswith('<div class="wide" role="region" aria-label="Table" tabindex="0"><table><tbody>')
    assert "<thead>" not in table and "<td>service</td>" in table
    several = to_html("# A <b>\n\n| a |\n|---|\n| b |\n\n| c |\n|---|\n| d |\n")
    assert 'aria-label="A &lt;b&gt;"' in several and 'aria-label="A &lt;b&gt;, 2"' in several
    assert "<th>name</th>" in to_html("| name |\n|---|\n| a |\n")
