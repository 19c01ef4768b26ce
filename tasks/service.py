from slipway.caching import purge as steps
from slipway.config.service import Service, load_service
from slipway.core.settings import Settings
from slipway.tasks.engine.durable import durable


@durable("read service")
def read_service(service: str) -> Service:
    """Read a service's entry in slipway.toml. If repeated, it only reads again."""
    return load_service(Settings.from_environment().config, service)


@durable("read service to purge")
def read_service_to_purge(service: str, routes: list[str], tags: list[str]) -> Service:
    """Read a service's entry and check the purge against it. If repeated, it only reads again."""
    entry = load_service(Settings.from_environment().config, service)
    steps.check_purge(entry, routes, tags)
    return entry
