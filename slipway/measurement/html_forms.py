"""Forms of HTML pages: the hidden fields that a sign-in has to send back. Pure."""

from __future__ import annotations

from html.parser import HTMLParser


def field_value(html: str, name: str) -> str | None:
    """The value of the first `<input>` of that name; None when the page has none. (HTML, section 4.10.5.)"""
    finder = _Finder(name)
    finder.feed(html)
    return finder.found


class _Finder(HTMLParser):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.found: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and self.found is None and given.get("name") == self._name:
            self.found = given.get("value") or ""
