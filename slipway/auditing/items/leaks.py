"""The leak probe: one page read in turn by one person, nobody, another person, nobody. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.auditing.items.shared_caching import unprotected
from slipway.auditing.report import AuditItem, Observation
from slipway.auditing.results import checked
from slipway.measurement.cache_class import cache_class

MEND = (
    "Purge the page, send Cache-Control: private, and let the cache pass by requests with a session cookie (RFC 9111)."
)


def leak_item(turns: Sequence[Sequence[Observation]], *, pairs: bool) -> AuditItem:
    """One item over all probed pages; each inner sequence is one address in the order in which it was read.

    `pairs` says that two people took part. It fails when a page shows somebody else's marker, when a second reader gets
    a stored copy of a personal page, when a personal page is not kept from caches, or when a hit sets a cookie.
    """
    problems = [problem for turn in turns for problem in _of_turn(turn)]
    people = "two people and nobody" if pairs else "one person and nobody"
    fine = f"{len(turns)} pages were read in turn by {people}, and none was shown to another."
    return checked("leak-probe", fine, "A page of one person can reach another.", problems, MEND)


def _of_turn(turn: Sequence[Observation]) -> list[str]:
    personal = any(one.shows for one in turn)
    problems = []
    for one in turn:
        hit = cache_class(dict(one.headers)) == "hit"
        others = [name for name in one.shows if name != one.identity]
        if others:
            problems.append(f"{one.place} shows the page of {', '.join(others)}")
        if hit and personal and one.identity != "anonymous":
            problems.append(f"{one.place} is a hit, and the page is personal")
        if hit and one.values("set-cookie"):
            problems.append(f"{one.place} is a hit that sets a cookie")
        if told := unprotected(one):
            problems.append(told)
    return problems
