"""An audit: a checklist over one live service. Each item passed, failed, or was not checked, with the reason."""

from __future__ import annotations

from typing import Literal

from slipway.core.frozen import FrozenModel, IdentityName, ServiceName

Result = Literal["pass", "fail", "not checked"]


class AuditItem(FrozenModel):
    """One item: what was found in one sentence, the evidence a line each, and how to mend it.

    `new` marks a failure that the last audit of the service did not have.
    """

    code: str  # an AuditCode; an audit that was kept may have one that is no more
    result: Result
    summary: str
    evidence: tuple[str, ...] = ()
    mend: str = ""
    new: bool = False


class Audit(FrozenModel):
    """The whole checklist of one service."""

    service: ServiceName
    items: tuple[AuditItem, ...]

    def of(self, result: Result) -> tuple[AuditItem, ...]:
        """The items with one result."""
        return tuple(item for item in self.items if item.result == result)

    @property
    def sentence(self) -> str:
        """`3 fail (1 new), 12 pass, 4 not checked`."""
        failed = self.of("fail")
        new = sum(item.new for item in failed)
        told = f" ({new} new)" if new else ""
        return f"{len(failed)} fail{told}, {len(self.of('pass'))} pass, {len(self.of('not checked'))} not checked"


class Observation(FrozenModel):
    """One HTTP response, looked at. `headers` are in their order, names in lower case, and one name may stand twice.

    `target` is what people read of the address: a random query stands there as `…`. `shows` names the identities whose
    marker the body shows.
    """

    target: str
    identity: IdentityName
    status: int
    headers: tuple[tuple[str, str], ...]
    body: str = ""
    shows: tuple[IdentityName, ...] = ()

    @property
    def place(self) -> str:
        """`/orders as customer`."""
        return f"{self.target} as {self.identity}"

    def header(self, name: str) -> str:
        """All values of a header, joined by commas (RFC 9110, section 5.3); empty without one."""
        return ", ".join(self.values(name))

    def values(self, name: str) -> tuple[str, ...]:
        """The values of a header one by one, as Set-Cookie needs it."""
        return tuple(value for own, value in self.headers if own == name)

    @property
    def is_page(self) -> bool:
        """Whether a browser would show it as a document."""
        return "html" in self.header("content-type").lower()


class PagesRead(FrozenModel):
    """All that was read of the pages, and in words what could not be."""

    observations: tuple[Observation, ...]
    unread: tuple[str, ...] = ()
