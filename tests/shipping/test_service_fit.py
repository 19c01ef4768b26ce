"""Check that a change fits its service."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.config.change import Change
from slipway.config.service import Migrations, Service
from slipway.core.errors import InvalidInput
from slipway.shipping.service_fit import check_fit, misfits

MIGRATE = {"from": "0007", "to": "0008"}
MEASURE = {"targets": [{"route": "/orders", "identity": "customer"}], "control": {"route": "/products/1"}}
PARTS: dict[str, Any] = {
    "database": {"url": {"env": "SHOP_DATABASE_URL"}},
    "migrations": {"preset": "alembic"},
    "cache": {"kind": "varnish", "url": "http://127.0.0.1:6081", "token": {"env": "SHOP_PURGE_TOKEN"}},
}


def service(*parts: str) -> Service:
    """Return a shop with these parts."""
    customer = {
        "name": "customer",
        "sign_in": {"path": "/sign-in", "form": {}},
        "marker": "Alice",
        "marker_route": "/account",
    }
    entry = {
        "name": "shop",
        "url": "http://127.0.0.1:8000",
        "routes": ["/orders", "/products/*"],
        "identities": [customer],
    }
    return Service.model_validate(entry | {part: PARTS[part] for part in parts})


COMPLETE = service(*PARTS)
WITHOUT_MIGRATIONS = service("cache")
DJANGO = COMPLETE.model_copy(update={"migrations": Migrations(preset="django")})
WITHOUT_CACHE = service("database", "migrations")


def change(**parts: Any) -> Change:
    """Return a change of the shop."""
    texts = {"owner": "orders team", "reason": "it is slow", "expected": "it is faster", "rollback": "nothing is lost"}
    return Change.model_validate({"service": "shop", **texts, "measure": MEASURE} | parts)


def measure(route: str, identity: str, control: str, control_identity: str = "anonymous") -> dict[str, Any]:
    """Return a measure section with one target."""
    return {
        "targets": [{"route": route, "identity": identity}],
        "control": {"route": control, "identity": control_identity},
    }


CASES = {
    "it fits": (change(migrate=MIGRATE, purge={"routes": ["/orders"], "tags": ["orders"]}), COMPLETE, True, []),
    "a revision of an app": (change(migrate={"from": "orders.zero", "to": "orders.0001"}), DJANGO, True, []),
    "revisions without an app": (
        change(migrate=MIGRATE),
        DJANGO,
        True,
        [
            "The revision 0007 names no app. Write app.name, or app.zero for the empty state.",
            "The revision 0008 names no app. Write app.name, or app.zero for the empty state.",
        ],
    ),
    "an app without a revision": (
        change(migrate={"from": "orders.0001", "to": "orders."}),
        DJANGO,
        True,
        ["The revision orders. names no app. Write app.name, or app.zero for the empty state."],
    ),
    "revisions of two apps": (
        change(migrate={"from": "orders.0001", "to": "customers.0002"}),
        DJANGO,
        True,
        ["The migration goes from one app to another: orders.0001 and customers.0002."],
    ),
    "only measured": (change(), WITHOUT_MIGRATIONS, False, []),
    "a target outside": (
        change(measure=measure("/admin", "customer", "/products/1")),
        COMPLETE,
        True,
        ["The route /admin is outside the service shop."],
    ),
    "a control outside": (
        change(measure=measure("/orders", "customer", "/health")),
        COMPLETE,
        True,
        ["The route /health is outside the service shop."],
    ),
    "a purge outside, named once": (
        change(purge={"routes": ["/", "/"]}),
        COMPLETE,
        True,
        ["The route / is outside the service shop."],
    ),
    "an unknown identity, named once": (
        change(measure=measure("/orders", "editor", "/products/1", "editor")),
        COMPLETE,
        True,
        ["Service shop has no identity editor."],
    ),
    "tags on a cache without tags": (
        change(purge={"tags": ["orders"]}),
        COMPLETE,
        False,
        ["The cache of shop cannot purge by tag."],
    ),
    "routes on a cache without tags": (change(purge={"routes": ["/orders"]}), COMPLETE, False, []),
    "a purge without a cache": (
        change(purge={"tags": ["orders"]}),
        WITHOUT_CACHE,
        False,
        ["Service shop has no cache to purge."],
    ),
    "a migration without a way": (
        change(migrate=MIGRATE),
        WITHOUT_MIGRATIONS,
        True,
        ["Service shop has no [service.migrations] in slipway.toml."],
    ),
    "a migration to itself": (
        change(migrate={"from": "0007", "to": "0007"}),
        COMPLETE,
        True,
        ["The migration goes from 0007 to itself."],
    ),
    "its own control": (
        change(measure=measure("/orders", "customer", "/orders", "customer")),
        COMPLETE,
        True,
        ["/orders as customer is its own control."],
    ),
    "the same route as another identity is a control": (
        change(measure=measure("/orders", "customer", "/orders")),
        COMPLETE,
        True,
        [],
    ),
}


@pytest.mark.parametrize(("case", "shop", "tags", "sentences"), CASES.values(), ids=CASES.keys())
def test_each_mismatch_is_one_sentence(case: Change, shop: Service, tags: bool, sentences: list[str]) -> None:
    """Each part that a change needs and its service does not have is one sentence."""
    assert misfits(case, shop, cache_has_tags=tags) == sentences


def test_a_change_that_fits_passes() -> None:
    """A change that fits has no mismatches, and raises no error."""
    assert misfits(change(), COMPLETE, cache_has_tags=True) == []
    check_fit(change(), COMPLETE, cache_has_tags=True)


def test_one_error_lists_every_mismatch() -> None:
    """A single InvalidInput contains all mismatches."""
    unfit = change(migrate=MIGRATE, purge={"routes": ["/x"]}, measure=measure("/y", "editor", "/y", "editor"))
    with pytest.raises(InvalidInput) as refused:
        check_fit(
            unfit, Service.model_validate(WITHOUT_MIGRATIONS.model_dump() | {"cache": None}), cache_has_tags=False
        )
    assert refused.value.failed == (
        "The route /x is outside the service shop. The route /y is outside the service shop. "
        "Service shop has no identity editor. Service shop has no [service.migrations] in slipway.toml. "
        "Service shop has no cache to purge. /y as editor is its own control."
    )
    assert refused.value.expected == "A change that fits the entry of shop in slipway.toml."
    assert refused.value.retry_is_safe
