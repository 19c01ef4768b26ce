"""A proxy that signs people in (OIDC) and names them in a header. The header is accepted only from the proxy's addresses."""

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
class ProxyUser:
    """The user that the proxy reports. `grants` is None if the user's account defines the rights."""

    name: str
    grants: tuple[Grant, ...] | None


class Proxy:
    """The proxy that the settings name; by default none."""

    def __init__(self, settings: Settings) -> None:
        self._networks: list[Network] = [_network(entry) for entry in _split(settings.trusted_proxy)]
        self._user = settings.proxy_user
        self._groups = settings.proxy_groups
        self._roles = dict(_role(entry) for entry in _split(settings.proxy_roles))

    def is_peer(self, scope: Any) -> bool:
        """Return whether a request comes from an address of the proxy."""
        if not self._networks or not scope.get("client"):
            return False
        try:
            address = ipaddress.ip_address(scope["client"][0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def user(self, scope: Any) -> ProxyUser | None:
        """Return the user that the proxy reports, or None.

        Raises `Forbidden` if the headers come from another address, appear twice, or are malformed.
        """
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
                expected="A request through the proxy, or a request without the header.",
            )
        name = users[0].strip().lower() if len(users) == 1 else ""
        if len(groups) > 1 or not re.fullmatch(NAME, name):
            raise Forbidden(
                f"The proxy's header {self._user} does not contain exactly one valid name.",
                expected="The header once, with a name of letters, digits and . _ @ + -",
            )
        return ProxyUser(name, self._grants(groups[0] if groups else "") if self._groups else None)

    def address_of(self, scope: Any) -> str:
        """Return the address of the client: the peer, or for the proxy the last address in its X-Forwarded-For."""
        peer = str(scope["client"][0]) if scope.get("client") else "unknown"
        if not self.is_peer(scope):
            return peer
        forwarded = (
            Headers(scope=scope).get("x-forwarded-for", "").rpartition(",")[2].strip()
        )  # the proxy itself adds the last address
        try:
            return str(ipaddress.ip_address(forwarded))
        except ValueError:
            return peer

    def is_https(self, scope: Any) -> bool:
        """Return whether the browser uses TLS, to this service or to the proxy."""
        return scope.get("scheme") == "https" or (
            self.is_peer(scope) and Headers(scope=scope).get("x-forwarded-proto", "") == "https"
        )

    def _grants(self, groups: str) -> tuple[Grant, ...]:
        return tuple(self._roles[group] for group in _split(groups) if group in self._roles)


def _split(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def _network(entry: str) -> Network:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        raise InvalidInput(
            f"SLIPWAY_TRUSTED_PROXY contains an invalid address: {entry!r}.",
            expected="Addresses or networks, separated by commas.",
        ) from None


def _role(entry: str) -> tuple[str, Grant]:
    group, _, grant = entry.partition("=")
    role, _, services = grant.partition(":")
    try:
        return group, Grant.model_validate({"role": role, "services": services.split("+") if services else None})
    except ValueError:
        raise InvalidInput(
            f"SLIPWAY_PROXY_ROLES contains an invalid entry: {entry!r}.",
            expected="Entries such as group=role or group=role:service+service.",
        ) from None
