"""Tests of the rules for caching headers."""

from __future__ import annotations

import pytest

from slipway.caching.header_rules import directives, header_findings, may_be_stored
from slipway.measurement.cache_class import cache_class
from slipway.measurement.samples import CacheClass

RFC_9211 = [
    ('Origin; fwd=miss, "Edge, Paris; fwd=miss"; hit', "hit"),
    ('"Edge; hit"; fwd=uri-miss', "miss"),
    ('Edge; hit; detail="a, b; fwd=miss"', "hit"),
    ("10.0.0.7; hit", "hit"),  # not a valid name of a cache
    ("Netlify Edge; hit", "hit"),
    ("10.0.0.7; fwd=stale", "miss"),
    # the examples of RFC 9211, section 3
    ("ExampleCache; hit; ttl=376", "hit"),
    ("ExampleCache; hit; ttl=-412", "hit"),
    ("ExampleCache; fwd=uri-miss; collapsed", "miss"),
    ("ExampleCache; fwd=uri-miss; stored", "miss"),
    ("ExampleCache; fwd=stale; fwd-status=304", "miss"),
    ("ExampleCache; fwd=bypass", "pass"),
    ("ExampleCache; fwd=request; detail=no-cache", "pass"),
    ('OriginCache; hit; ttl=1100, "CDN Company Here"; hit; ttl=545', "hit"),
    ('OriginCache; hit; ttl=1100, "CDN Company Here"; fwd=uri-miss; stored', "miss"),
    ("OriginCache; fwd=uri-miss, CDN; hit", "hit"),
    # forms that structured fields allow (RFC 9651)
    ("ExampleCache;hit", "hit"),
    ("ExampleCache;hit=?1;ttl=3", "hit"),
    ("ExampleCache; hit=?0; fwd=vary-miss", "miss"),
    ("ExampleCache; fwd=method", "pass"),
    ("ExampleCache; fwd=partial", "miss"),
    ("ExampleCache", "pass"),
    ("hit", "pass"),
    ("", "pass"),
]
BY_CUSTOM = [
    ({"X-Cache": "HIT"}, "hit"),
    ({"x-cache": "hit"}, "hit"),
    ({"X-Cache": " Hit from cloudfront "}, "hit"),
    ({"X-Cache": "RefreshHit from cloudfront"}, "miss"),  # the cache revalidated the page at the origin
    ({"X-Cache": "TCP_REFRESH_HIT from a23-1-2-3.deploy.akamaitechnologies.com"}, "miss"),
    ({"X-Cache": "HIT-FOR-PASS"}, "pass"),
    ({"X-Cache": "TCP_HIT from a23-1-2-3.deploy.akamaitechnologies.com"}, "hit"),
    ({"X-Cache": "TCP_MEM_HIT from a23-1-2-3.deploy.akamaitechnologies.com"}, "hit"),
    ({"X-Cache": "TCP_MISS from a23-1-2-3.deploy.akamaitechnologies.com"}, "miss"),
    ({"X-Cache": "MISS, HIT"}, "hit"),  # Fastly: the last one is nearest to the user
    ({"X-Cache": "HIT, MISS"}, "miss"),
    ({"X-Cache": "Miss from cloudfront"}, "miss"),
    ({"X-Cache": "EXPIRED"}, "miss"),
    ({"X-Cache": "STALE"}, "hit"),
    ({"X-Cache": "UPDATING"}, "hit"),
    ({"X-Cache": "REVALIDATED"}, "miss"),
    ({"X-Cache": "PASS"}, "pass"),
    ({"X-Cache": "BYPASS"}, "pass"),
    ({"X-Cache": "Error from cloudfront"}, "pass"),
    ({"CF-Cache-Status": "HIT"}, "hit"),
    ({"CF-Cache-Status": "DYNAMIC"}, "pass"),
    ({"CF-Cache-Status": "MISS"}, "miss"),
    ({"CDN-Cache": "HIT"}, "hit"),
    ({"CDN-Cache": "EXPIRED"}, "miss"),
    ({"CDN-Cache": "BYPASS"}, "pass"),
    ({"Cache-Status": "Edge; fwd=uri-miss", "X-Cache": "HIT"}, "miss"),
    ({"Age": "30"}, "pass"),
    ({}, "pass"),
]
STORABLE = [
    ("public, max-age=60", True),
    ("max-age=60", True),
    ("s-maxage=60, max-age=0", True),
    ("public", True),
    ("MAX-AGE=60", True),
    ('max-age="60"', True),
    ("max-age=60, no-cache", True),  # stored, but revalidated each time
    ("private, max-age=60", False),
    ("no-store", False),
    ("no-store, public, max-age=60", False),
    ("s-maxage=0, max-age=60", False),
    ("max-age=0", False),
    ("max-age=", False),
    ("no-cache", False),
    ("", False),
]


@pytest.mark.parametrize(("value", "expected"), RFC_9211)
def test_cache_status(value: str, expected: CacheClass) -> None:
    """Cache-Status is read as RFC 9211 defines: the last member is the cache nearest to the user."""
    assert cache_class({"Cache-Status": value}) == expected


@pytest.mark.parametrize(("headers", "expected"), BY_CUSTOM)
def test_non_standard_cache_headers(headers: dict[str, str], expected: CacheClass) -> None:
    """The usual non-standard headers are understood. No header, or only Age, is the class "pass"."""
    assert cache_class(headers) == expected


def test_directives() -> None:
    """Case, spaces, quotes and empty parts of Cache-Control do not matter (RFC 9111, section 5.2)."""
    assert directives('Public,, max-age = 60 , private="Set-Cookie"') == {
        "public": "",
        "max-age": "60",
        "private": "Set-Cookie",
    }


@pytest.mark.parametrize(("cache_control", "stored"), STORABLE)
def test_storable_responses(cache_control: str, stored: bool) -> None:
    """A shared cache may store a fresh response that is not private and not no-store (RFC 9111, section 3)."""
    assert may_be_stored({"Cache-Control": cache_control}) is stored


def test_a_response_without_cache_control_is_not_storable() -> None:
    """The missing Cache-Control is a separate finding."""
    assert not may_be_stored({})


PUBLIC = {"Cache-Control": "public, max-age=60"}
FINDINGS = {
    "a good public page": (PUBLIC, False, []),
    "a good personal page": ({"Cache-Control": "private"}, True, []),
    "a good sign-in": ({"Cache-Control": "no-store", "Set-Cookie": "s=1"}, False, []),
    "nothing said": ({}, False, [("no-cache-control", "warning", "/a as customer sends no Cache-Control.")]),
    "a personal page in public": (
        PUBLIC,
        True,
        [("personal-storable", "error", "/a as customer is personal and may be stored by a shared cache.")],
    ),
    "a cookie in public": (
        PUBLIC | {"set-cookie": "s=1"},
        False,
        [("cookie-storable", "error", "/a as customer sets a cookie on a response that may be stored.")],
    ),
    "vary by everything": (
        PUBLIC | {"Vary": " * "},
        False,
        [("vary-star", "warning", "/a as customer sends Vary: * and can never be a hit.")],
    ),
    "vary by everything, not stored": ({"Cache-Control": "no-store", "Vary": "*"}, False, []),
    "all at once": (
        PUBLIC | {"Set-Cookie": "s=1", "Vary": "*"},
        True,
        [
            ("personal-storable", "error", "/a as customer is personal and may be stored by a shared cache."),
            ("cookie-storable", "error", "/a as customer sets a cookie on a response that may be stored."),
            ("vary-star", "warning", "/a as customer sends Vary: * and can never be a hit."),
        ],
    ),
}


@pytest.mark.parametrize(("headers", "personal", "expected"), FINDINGS.values(), ids=FINDINGS.keys())
def test_findings(headers: dict[str, str], personal: bool, expected: list[tuple[str, str, str]]) -> None:
    """Each problem of a response's headers is a finding with code, level and summary."""
    findings = header_findings("/a", "customer", headers, personal=personal)
    assert [(finding.code, finding.level, finding.summary) for finding in findings] == expected


def test_every_finding_names_its_source() -> None:
    """The explanation of each finding has the reason and the section of the RFC."""
    everything = {"Set-Cookie": "s=1", "Vary": "*"}
    findings = [
        *header_findings("/a", "customer", everything | PUBLIC, personal=True),
        *header_findings("/a", "customer", {}, personal=False),
    ]
    assert {finding.code for finding in findings} == {
        "personal-storable",
        "cookie-storable",
        "vary-star",
        "no-cache-control",
    }
    assert all("RFC 9111, section" in finding.explanation for finding in findings)
