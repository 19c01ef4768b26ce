from slipway.adapters.audits import Audits
from slipway.audit import Audit
from slipway.rules.auditing import compared
from slipway.service import Service
from slipway.settings import Settings
from slipway.steps import audit as steps
from tasks.attempts import own_store, run_id
from tasks.durable import durable


@durable("audit")
def audit_service(service: Service) -> Audit:
    """Go through the checklist, mark the failures that are new, and note it. Repeated, it looks anew and replaces its note."""
    audits = Audits(own_store())
    found = steps.audit_service(service, Settings.from_environment().config.parent)
    audit = compared(found, audits.last_before(run_id(), service.name))
    audits.note(run_id(), audit)
    return audit
