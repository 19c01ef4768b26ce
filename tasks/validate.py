from slipway.outcomes import Plan
from slipway.settings import Settings
from slipway.steps import validate as steps
from tasks.durable import durable


@durable("validate")
def validate(change: str) -> Plan:
    """Hold a change against its service, database and cache. Repeated, it only reads again: it changes nothing."""
    return steps.validate(change, Settings.from_environment())


@durable("read plan")
def read_plan(change: str) -> Plan:
    """Read a change and its service from their files. Repeated, it only reads again: it changes nothing."""
    return steps.read_plan(change, Settings.from_environment())
