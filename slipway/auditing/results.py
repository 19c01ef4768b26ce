"""The rules of the checklist: which items pass, and which failures are new. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.auditing.report import Audit, AuditItem, PagesRead
from slipway.config.audit_codes import AuditCode
from slipway.core.finding import Finding

MAX_EVIDENCE = 20


def checked(
    code: AuditCode, pass_summary: str, fail_summary: str, problems: Sequence[str], fix: str, notes: Sequence[str] = ()
) -> AuditItem:
    """Return a checked item. It fails if there are problems, which are its evidence. Notes do not make it fail."""
    if problems:
        return AuditItem(code=code, result="fail", summary=fail_summary, evidence=_bounded(problems), mend=fix)
    return AuditItem(code=code, result="pass", summary=pass_summary, evidence=_bounded(notes))


def not_checked(code: str, reason: str, evidence: Sequence[str] = ()) -> AuditItem:
    """Return an item that could not be checked, with the reason."""
    return AuditItem(code=code, result="not checked", summary=reason, evidence=_bounded(evidence))


def unless_unread(item: AuditItem, pages: PagesRead) -> AuditItem:
    """Fail closed: return "not checked" instead of a pass if some pages could not be read."""
    if item.result != "pass" or not pages.unread:
        return item
    return not_checked(item.code, "Some pages could not be read. The other pages pass.", pages.unread)


def mark_new_failures(audit: Audit, last: Audit | None) -> Audit:
    """Return the audit with new failures marked: items that did not fail in the last audit, or now fail in more places.

    Without a last audit, no failure is new.
    """
    if last is None:
        return audit
    failed = {item.code: set(item.evidence) for item in last.of("fail")}
    items = tuple(item.model_copy(update={"new": _is_new(item, failed)}) for item in audit.items)
    return audit.model_copy(update={"items": items})


def unfit(audit: Audit, required: Sequence[AuditCode]) -> str:
    """Return the reason why a change cannot be shipped to the service, or "" if every required item passes.

    An item that was not checked has not passed.
    """
    not_passed = [item for item in audit.items if item.code in required and item.result != "pass"]
    results = " ".join(f"{item.code} ({item.result}): {item.summary}" for item in not_passed)
    return (
        f"{audit.service} does not pass the audit items that the change requires. {results} Nothing was changed."
        if results
        else ""
    )


def findings_of(audit: Audit) -> tuple[Finding, ...]:
    """Return the failed items as findings of a change that is shipped nevertheless."""
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
    unique = list(dict.fromkeys(lines))
    more = len(unique) - MAX_EVIDENCE
    return tuple(unique[:MAX_EVIDENCE]) + ((f"and {more} more",) if more > 0 else ())
