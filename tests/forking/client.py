"""Run a script in a fork of the server in a folder, as if it ran here: `client.py FOLDER SCRIPT [arguments]`.

It uses only modules that are built into the interpreter. Importing others would take longer than everything else.
"""

import marshal
import posix
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

SIGKILL = 9


def main(folder: str, *argv: str) -> int:
    """Return the exit code of the child. If the child was killed, kill this process too."""
    command = marshal.dumps((argv, posix.getcwd(), posix.environ))
    posix.chdir(folder)  # the path of a socket has at most 107 characters, and the folder's path can be longer
    server = socket(AF_UNIX, SOCK_STREAM)
    server.connect("socket")
    streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
    server.sendmsg([len(command).to_bytes(8, "big")], [(SOL_SOCKET, SCM_RIGHTS, streams)])
    server.sendall(command)
    code = server.recv(1)
    if not code:
        posix.kill(posix.getpid(), SIGKILL)
    return code[0]


if __name__ == "__main__":
    posix._exit(main(*sys.argv[1:]))
