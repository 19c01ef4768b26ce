from slipway.auditing import runner as steps
from slipway.auditing.report import Audit
from slipway.auditing.results import mark_new_failures
from slipway.auditing.store import Audits
from slipway.config.service import Service
from slipway.core.settings import Settings
from slipway.tasks.engine.attempts import own_store, run_id
from slipway.tasks.engine.durable import durable


@durable("audit")
def audit_service(service: Service) -> Audit:
    """Go through the checklist, mark new failures, and save the audit. If repeated, it audits again and replaces its audit."""
    audits = Audits(own_store())
    audit = steps.audit_service(service, Settings.from_environment().config.parent)
    audit = mark_new_failures(audit, audits.last_before(run_id(), service.name))
    audits.save(run_id(), audit)
    return audit
