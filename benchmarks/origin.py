"""A web server for benches, in a process of its own: `python -m benchmarks.origin PORT` serves until its input ends.

`/health` and `/fast` answer at once, `/1ms` after a millisecond, `/hit/…` may be stored by a cache; and whatever is asked,
once somebody has asked for `/stall` everything stands still for 300 ms every two seconds.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

STALL_S, EVERY_S = 0.3, 2.0


async def _serve(port: int) -> None:
    stalling = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1]
                if target == b"/1ms":
                    await asyncio.sleep(0.001)
                if target == b"/stall":
                    stalling.set()
                stored = b"public, max-age=3600" if target.startswith(b"/hit") else b"no-store"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: " + stored + b"\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def stall() -> None:
        await stalling.wait()
        while True:
            await asyncio.sleep(EVERY_S)
            time.sleep(STALL_S)

    standing = asyncio.create_task(stall())
    server = await asyncio.start_server(talk, "127.0.0.1", port)
    await asyncio.to_thread(sys.stdin.read)
    standing.cancel()
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
