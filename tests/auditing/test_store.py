"""Tests of the saved audits on a real PostgreSQL."""

from __future__ import annotations

from slipway.auditing.report import Audit, AuditItem
from slipway.auditing.store import Audits
from slipway.runs.store import Store


def audit(service: str, summary: str) -> Audit:
    """Return an audit with a failed item."""
    item = AuditItem(code="vary", result="fail", summary=summary, evidence=("/a", "/b"), mend="fix it", new=True)
    return Audit(service=service, items=(item,))


def test_the_last_audit_of_a_service(store: Store) -> None:
    """The last audit is the newest one of the same service by another run, with all its fields."""
    audits = Audits(store)
    assert audits.last_before("run-1", "shop") is None
    audits.save("run-1", audit("shop", "first"))
    audits.save("run-2", audit("shop", "second"))
    audits.save("run-3", audit("mail", "another service"))
    assert audits.last_before("run-4", "shop") == audit("shop", "second")
    assert audits.last_before("run-2", "shop") == audit("shop", "first")
    assert audits.last_before("run-3", "mail") is None


def test_saving_again_replaces_the_audit_of_a_run(store: Store) -> None:
    """A step that is repeated after a crash leaves only the newer audit."""
    audits = Audits(store)
    for summary in ("before the crash", "after it"):
        audits.save("run-1", audit("shop", summary))
    assert audits.last_before("run-2", "shop") == audit("shop", "after it")
