"""A proxy that signs people in (OIDC) and names them in a header: believed from its own addresses, refused from others."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from slipway.accounts.grants import NAME, Grant
from slipway.admin.problems import Forbidden
from slipway.core.errors import InvalidInput
from slipway.core.settings import Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Named:
    """Whom the proxy names; `grants` is None where accounts decide what they may."""

    name: str
    grants: tuple[Grant, ...] | None


class Proxy:
    """What the settings say about the proxy; by default there is none."""

    def __init__(self, settings: Settings) -> None:
        self._networks: list[Network] = [_network(each) for each in _listed(settings.trusted_proxy)]
        self._user = settings.proxy_user
        self._groups = settings.proxy_groups
        self._roles = dict(_role(each) for each in _listed(settings.proxy_roles))

    def is_peer(self, scope: Any) -> bool:
        """Whether a request comes from the proxy itself."""
        if not self._networks or not scope.get("client"):
            return False
        try:
            address = ipaddress.ip_address(scope["client"][0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def named(self, scope: Any) -> Named | None:
        """Whom the proxy names, or None. Raises Forbidden for its headers from anywhere else, twice, or ill-formed."""
        if not self._networks:
            return None
        headers = Headers(scope=scope)
        users = headers.getlist(self._user)
        groups = headers.getlist(self._groups) if self._groups else []
        if not users and not groups:
            return None
        if not self.is_peer(scope):
            raise Forbidden(
                f"The header {self._user} comes from an address that is not the proxy's.",
                expected="A request through the proxy, or one without the header.",
            )
        name = users[0].strip().lower() if len(users) == 1 else ""
        if len(groups) > 1 or not re.fullmatch(NAME, name):
            raise Forbidden(
                f"The proxy's header {self._user} names nobody who can be known here.",
                expected="It once, with a name of letters, digits and . _ @ + -",
            )
        return Named(name, self._grants(groups[0] if groups else "") if self._groups else None)

    def address_of(self, scope: Any) -> str:
        """From where a request comes: the peer, or whom the proxy says that it has asked for."""
        peer = str(scope["client"][0]) if scope.get("client") else "unknown"
        if not self.is_peer(scope):
            return peer
        told = (
            Headers(scope=scope).get("x-forwarded-for", "").rpartition(",")[2].strip()
        )  # the last is the proxy's own word
        try:
            return str(ipaddress.ip_address(told))
        except ValueError:
            return peer

    def is_https(self, scope: Any) -> bool:
        """Whether the browser came by TLS, to us or to the proxy."""
        return scope.get("scheme") == "https" or (
            self.is_peer(scope) and Headers(scope=scope).get("x-forwarded-proto", "") == "https"
        )

    def _grants(self, groups: str) -> tuple[Grant, ...]:
        return tuple(self._roles[group] for group in _listed(groups) if group in self._roles)


def _listed(written: str) -> list[str]:
    return [each.strip() for each in written.split(",") if each.strip()]


def _network(written: str) -> Network:
    try:
        return ipaddress.ip_network(written, strict=False)
    except ValueError:
        raise InvalidInput(
            f"SLIPWAY_TRUSTED_PROXY names no address: {written!r}.",
            expected="Addresses or networks with commas between.",
        ) from None


def _role(written: str) -> tuple[str, Grant]:
    group, _, granted = written.partition("=")
    role, _, services = granted.partition(":")
    try:
        return group, Grant.model_validate({"role": role, "services": services.split("+") if services else None})
    except ValueError:
        raise InvalidInput(
            f"SLIPWAY_PROXY_ROLES has no role in {written!r}.", expected="group=role or group=role:service+service."
        ) from None
