from slipway.auditing import runner as steps
from slipway.auditing.report import Audit
from slipway.auditing.results import compared
from slipway.auditing.store import Audits
from slipway.config.service import Service
from slipway.core.settings import Settings
from slipway.tasks.engine.attempts import own_store, run_id
from slipway.tasks.engine.durable import durable


@durable("audit")
def audit_service(service: Service) -> Audit:
    """Go through the checklist, mark the failures that are new, and note it. Repeated, it looks anew and replaces its note."""
    audits = Audits(own_store())
    found = steps.audit_service(service, Settings.from_environment().config.parent)
    audit = compared(found, audits.last_before(run_id(), service.name))
    audits.note(run_id(), audit)
    return audit
