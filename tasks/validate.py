from slipway.config.plan import Plan
from slipway.core.settings import Settings
from slipway.shipping import validate as steps
from slipway.tasks.engine.durable import durable


@durable("validate")
def validate(change: str, on_staging: bool = False) -> Plan:
    """Check a change against its service, database and cache. If repeated, it only reads again."""
    return steps.validate(change, Settings.from_environment(), on_staging=on_staging)


@durable("read plan")
def read_plan(change: str, on_staging: bool = False) -> Plan:
    """Read a change and its service from their files. If repeated, it only reads again."""
    return steps.read_plan(change, Settings.from_environment(), on_staging=on_staging)
