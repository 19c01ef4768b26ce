"""Run a script in a fork of the server of a folder, as if it ran here: `client.py FOLDER SCRIPT [arguments]`.

Only modules that are part of the interpreter, because everything else takes longer to import than the rest takes.
"""

import marshal
import posix
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

SIGKILL = 9


def main(folder: str, *argv: str) -> int:
    """Return the exit code of the child; if the child was killed, this process is killed too."""
    command = marshal.dumps((argv, posix.getcwd(), posix.environ))
    posix.chdir(folder)  # the path of a socket may have 107 characters, which the folder's can be longer than
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
