"""Read HTML forms: the hidden fields that a sign-in must send back. Pure."""

from __future__ import annotations

from html.parser import HTMLParser


def field_value(html: str, name: str) -> str | None:
    """Return the value of the first `<input>` with that name, or None if there is none (HTML, section 4.10.5)."""
    parser = _FieldParser(name)
    parser.feed(html)
    return parser.value


class _FieldParser(HTMLParser):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.value: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "input" and self.value is None and attributes.get("name") == self._name:
            self.value = attributes.get("value") or ""
