"""The leak probe: one page read in turn by one user, anonymous, another user, anonymous. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.auditing.items.shared_caching import unprotected
from slipway.auditing.report import AuditItem, Observation
from slipway.auditing.results import checked
from slipway.measurement.cache_class import cache_class

FIX = (
    "Purge the page, send Cache-Control: private, and make the cache bypass requests with a session cookie (RFC 9111)."
)


def leak_item(turns: Sequence[Sequence[Observation]], *, pairs: bool) -> AuditItem:
    """Return one item about all probed pages; each inner sequence has the readings of one URL in their order.

    `pairs` means that two users took part. The item fails if a page shows another user's marker, if a user gets a cached
    copy of a personal page, if a personal page is not protected from caches, or if a hit sets a cookie.
    """
    problems = [problem for turn in turns for problem in _problems_of(turn)]
    readers = "two users and anonymous" if pairs else "one user and anonymous"
    pass_summary = f"{len(turns)} pages were read in turn by {readers}. No personal page reached another reader."
    return checked("leak-probe", pass_summary, "A page of one user can reach another.", problems, FIX)


def _problems_of(turn: Sequence[Observation]) -> list[str]:
    personal = any(observation.shows for observation in turn)
    problems = []
    for observation in turn:
        hit = cache_class(dict(observation.headers)) == "hit"
        others = [name for name in observation.shows if name != observation.identity]
        if others:
            problems.append(f"{observation.place} shows the page of {', '.join(others)}")
        if hit and personal and observation.identity != "anonymous":
            problems.append(f"{observation.place} is a hit, and the page is personal")
        if hit and observation.values("set-cookie"):
            problems.append(f"{observation.place} is a hit that sets a cookie")
        if problem := unprotected(observation):
            problems.append(problem)
    return problems
