"""Real caches in front of a site: the shop's caches, an nginx with the purge module, and Squid."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from slipway.deployments.ports import free_ports
from slipway.deployments.processes import Part
from slipway.deployments.shop import answers, cache_part
from tests.sites import Site

TOKEN = "right-token"
NGINX_WITH_THE_MODULE = """
load_module /usr/lib/nginx/modules/ngx_http_cache_purge_module.so;
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/pages levels=1:2 keys_zone=pages:1m;
    map $request_uri $key_to_purge {{ default ""; "~^/purge(?<rest>/.*)$" $rest; }}
    server {{
        listen 127.0.0.1:{port};
        add_header X-Cache $upstream_cache_status always;
        location / {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_set_header Accept-Encoding "";
            proxy_cache pages;
            proxy_cache_key $request_uri;
        }}
        location /purge/ {{
            if ($http_x_purge_token != "{token}") {{ return 403; }}
            proxy_cache_purge pages $key_to_purge;
        }}
    }}
}}
"""
SQUID = """
http_port 127.0.0.1:{port} accel vhost
cache_peer 127.0.0.1 parent {origin} 0 no-query originserver no-digest
acl purging method PURGE
acl knows_the_token req_header X-Purge-Token ^{token}$
http_access deny purging !knows_the_token
http_access allow all
cache_mem 16 MB
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
access_log none
coredump_dir {folder}
netdb_filename none
pinger_enable off
visible_hostname cache.test
shutdown_lifetime 0 seconds
"""


@contextmanager
def run_cache(kind: str, folder: Path, origin: Site, change: tuple[str, str] = ("", "")) -> Iterator[str]:
    """Run a cache with the shop's configuration in front of a site. `change` is (old, new) text in the configuration."""
    [port] = free_ports([0])
    cache = cache_part(kind, folder, port, origin.port, TOKEN, folder / "log")
    config = folder / ("varnish.vcl" if kind == "varnish" else "nginx.conf")
    text = config.read_text()
    assert change[0] in text
    config.write_text(text.replace(*change))
    with running(cache):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def run_nginx_with_the_module(origin: Site) -> Iterator[str]:
    """Run Debian's nginx with libnginx-mod-http-cache-purge in front of a site."""
    with _configured(NGINX_WITH_THE_MODULE, origin, ["nginx", "-p", "{folder}", "-c", "{config}"]) as url:
        yield url


@contextmanager
def run_squid(origin: Site) -> Iterator[str]:
    """Run Squid as a reverse proxy in one foreground process, with its cache in memory."""
    # Each Squid needs its own name: two with the same name would share memory, and tests run in several processes.
    with _configured(SQUID, origin, ["squid", "-N", "-n", "slipway{port}", "-f", "{config}"]) as url:
        yield url


@contextmanager
def running(cache: Part) -> Iterator[None]:
    """Start the process, wait until it is ready, and always stop it at the end."""
    cache.start()
    try:
        cache.wait_until_ready(Event())
        yield
    finally:
        cache.stop()


@contextmanager
def _configured(text: str, origin: Site, argv: list[str]) -> Iterator[str]:
    """Run a program with this configuration. Its folder is not pytest's: started by root, these caches run as another user."""
    [port] = free_ports([0])
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        folder.chmod(0o777)
        config = folder / "config"
        config.write_text(text.format(folder=folder, port=port, origin=origin.port, token=TOKEN))
        part = Part(
            name=argv[0],
            argv=[argument.format(folder=folder, config=config, port=port) for argument in argv],
            environment={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            log=folder / "log",
            ready=lambda: answers(f"http://127.0.0.1:{port}/health"),
        )
        with running(part):
            yield f"http://127.0.0.1:{port}"
