"""The audits that Slipway remembers, on a real PostgreSQL."""

from __future__ import annotations

from slipway.auditing.report import Audit, AuditItem
from slipway.auditing.store import Audits
from slipway.runs.store import Store


def audit(service: str, summary: str) -> Audit:
    """An audit that failed."""
    item = AuditItem(code="vary", result="fail", summary=summary, evidence=("/a", "/b"), mend="mend it", new=True)
    return Audit(service=service, items=(item,))


def test_the_last_audit_of_a_service(store: Store) -> None:
    """The newest one of the same service, whole, and never the run's own."""
    audits = Audits(store)
    assert audits.last_before("run-1", "shop") is None
    audits.note("run-1", audit("shop", "first"))
    audits.note("run-2", audit("shop", "second"))
    audits.note("run-3", audit("mail", "another service"))
    assert audits.last_before("run-4", "shop") == audit("shop", "second")
    assert audits.last_before("run-2", "shop") == audit("shop", "first")
    assert audits.last_before("run-3", "mail") is None


def test_a_repeat_replaces_its_own_note(store: Store) -> None:
    """A step that is repeated after a crash leaves one audit, the newer."""
    audits = Audits(store)
    for summary in ("before the crash", "after it"):
        audits.note("run-1", audit("shop", summary))
    assert audits.last_before("run-2", "shop") == audit("shop", "after it")
