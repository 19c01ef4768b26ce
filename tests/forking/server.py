"""Import modules, then fork a child for each command that a client sends: `server.py [modules]`, in its folder.

It prints `ready` when clients can connect, and exits when its standard input is closed. It runs in the virtual
environment of the service, so it imports only the standard library.
"""

from __future__ import annotations

import gc
import importlib
import marshal
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
import traceback
from typing import NoReturn


def main(modules: list[str]) -> None:
    """Serve until standard input ends."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children share the pages of these objects
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps the children
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                run_command(connection)
            connection.close()


def run_command(connection: socket.socket) -> NoReturn:
    """Become the client's command, run it, send its exit code and exit."""
    length, streams, _, _ = socket.recv_fds(connection, 8, 3)
    argv, folder, environment = marshal.loads(_receive(connection, int.from_bytes(length, "big")))
    threading.Thread(target=_die_with_client, args=(connection,), daemon=True).start()
    for target, received in enumerate(streams):  # not new objects in sys: Alembic keeps a reference to sys.stdout
        os.dup2(received, target)
        os.close(received)
    os.chdir(folder)
    os.environb.clear()
    os.environb.update(environment)
    time.tzset()
    code = _run_script(list(argv))
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([code]))
    os._exit(code)


def _receive(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        part = connection.recv(length - len(received))
        if not part:
            os._exit(1)  # the client was killed
        received += part
    return received


def _die_with_client(connection: socket.socket) -> None:
    connection.recv(1)  # the client sends nothing more, so this returns when the client is gone
    os.kill(os.getpid(), signal.SIGKILL)


def _run_script(argv: list[str]) -> int:
    """Return the exit code of the script, as the interpreter would."""
    sys.argv = argv
    sys.path.insert(0, os.path.dirname(os.path.abspath(argv[0])))
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
