from slipway.outcomes import Plan
from slipway.settings import Settings
from slipway.steps import validate as steps
from tasks.durable import durable


@durable("validate")
def validate(change: str, on_staging: bool = False) -> Plan:
    """Hold a change against its service, database and cache. Repeated, it only reads again: it changes nothing."""
    return steps.validate(change, Settings.from_environment(), on_staging=on_staging)


@durable("read plan")
def read_plan(change: str, on_staging: bool = False) -> Plan:
    """Read a change and its service from their files. Repeated, it only reads again: it changes nothing."""
    return steps.read_plan(change, Settings.from_environment(), on_staging=on_staging)
