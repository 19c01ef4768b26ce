"""The checklist's own rules: when an item passes, and which failures are new. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.auditing.report import Audit, AuditItem, PagesRead
from slipway.config.audit_codes import AuditCode
from slipway.core.finding import Finding

MOST_EVIDENCE = 20


def checked(
    code: AuditCode, fine: str, wrong: str, problems: Sequence[str], mend: str, notes: Sequence[str] = ()
) -> AuditItem:
    """An item that was looked at: it fails when there are problems, and they are its evidence; `notes` never fail it."""
    if problems:
        return AuditItem(code=code, result="fail", summary=wrong, evidence=_bounded(problems), mend=mend)
    return AuditItem(code=code, result="pass", summary=fine, evidence=_bounded(notes))


def not_checked(code: str, reason: str, evidence: Sequence[str] = ()) -> AuditItem:
    """An item that could not be looked at, and why."""
    return AuditItem(code=code, result="not checked", summary=reason, evidence=_bounded(evidence))


def unless_unread(item: AuditItem, visit: PagesRead) -> AuditItem:
    """Fail closed: an item about the pages does not pass while some of them could not be read."""
    if item.result != "pass" or not visit.unread:
        return item
    return not_checked(item.code, "Not every page could be read; those that were are fine.", visit.unread)


def compared(audit: Audit, last: Audit | None) -> Audit:
    """The audit with its new failures marked: an item that did not fail in the last one, or now fails at more places.

    Without a last audit nothing is new.
    """
    if last is None:
        return audit
    failed = {item.code: set(item.evidence) for item in last.of("fail")}
    items = tuple(item.model_copy(update={"new": _is_new(item, failed)}) for item in audit.items)
    return audit.model_copy(update={"items": items})


def unfit(audit: Audit, required: Sequence[AuditCode]) -> str:
    """Why a change cannot be made to the service now, as a sentence; empty when every required item passes.

    An item that was not checked has not passed.
    """
    missed = [item for item in audit.items if item.code in required and item.result != "pass"]
    told = " ".join(f"{item.code} ({item.result}): {item.summary}" for item in missed)
    return (
        f"The change asks that {audit.service} passes items of its audit. {told} Nothing was changed." if told else ""
    )


def findings_of(audit: Audit) -> tuple[Finding, ...]:
    """What fails, as findings of the change that is made all the same."""
    return tuple(
        Finding(
            code=item.code,
            level="warning",
            summary=f"The audit before the change: {item.summary}",
            explanation=item.mend,
        )
        for item in audit.of("fail")
    )


def _is_new(item: AuditItem, failed: dict[str, set[str]]) -> bool:
    return item.result == "fail" and not (item.code in failed and set(item.evidence) <= failed[item.code])


def _bounded(lines: Sequence[str]) -> tuple[str, ...]:
    once = list(dict.fromkeys(lines))
    more = len(once) - MOST_EVIDENCE
    return tuple(once[:MOST_EVIDENCE]) + ((f"and {more} more",) if more > 0 else ())
