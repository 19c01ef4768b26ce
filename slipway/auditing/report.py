"""An audit: the checklist of one live service. Each item passed, failed, or was not checked, with the reason."""

from __future__ import annotations

from typing import Literal

from slipway.core.frozen import FrozenModel, IdentityName, ServiceName

Result = Literal["pass", "fail", "not checked"]


class AuditItem(FrozenModel):
    """One item: a summary sentence, lines of evidence, and the fix (`mend`).

    `new` marks a failure that the last audit of the service did not have.
    """

    code: str  # an AuditCode; a saved audit may have a code that no longer exists
    result: Result
    summary: str
    evidence: tuple[str, ...] = ()
    mend: str = ""
    new: bool = False


class Audit(FrozenModel):
    """The complete checklist of one service."""

    service: ServiceName
    items: tuple[AuditItem, ...]

    def of(self, result: Result) -> tuple[AuditItem, ...]:
        """Return the items with one result."""
        return tuple(item for item in self.items if item.result == result)

    @property
    def sentence(self) -> str:
        """Return the numbers of results: `3 fail (1 new), 12 pass, 4 not checked`."""
        failed = self.of("fail")
        new = sum(item.new for item in failed)
        new_count = f" ({new} new)" if new else ""
        return f"{len(failed)} fail{new_count}, {len(self.of('pass'))} pass, {len(self.of('not checked'))} not checked"


class Observation(FrozenModel):
    """One HTTP response. `headers` keep their order, have lower-case names, and may repeat a name.

    `target` is the path and query for the report, with `…` for a random query. `shows` names the identities whose markers
    are in the body.
    """

    target: str
    identity: IdentityName
    status: int
    headers: tuple[tuple[str, str], ...]
    body: str = ""
    shows: tuple[IdentityName, ...] = ()

    @property
    def place(self) -> str:
        """Return target and identity: `/orders as customer`."""
        return f"{self.target} as {self.identity}"

    def header(self, name: str) -> str:
        """Return all values of a header, joined by commas (RFC 9110, section 5.3), or ""."""
        return ", ".join(self.values(name))

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of a header separately, as Set-Cookie requires."""
        return tuple(value for header, value in self.headers if header == name)

    @property
    def is_page(self) -> bool:
        """Return whether a browser would show the response as a document."""
        return "html" in self.header("content-type").lower()


class PagesRead(FrozenModel):
    """The observations of all pages that were read, and descriptions of the pages that could not be read."""

    observations: tuple[Observation, ...]
    unread: tuple[str, ...] = ()
