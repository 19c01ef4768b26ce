"""A web server for benchmarks, in its own process: `python -m benchmarks.origin PORT` serves until its standard input ends.

`/health` and `/fast` answer at once, and `/1ms` after one millisecond. A cache may store `/hit/…`. After a request for
`/stall`, the server stalls for 300 ms every two seconds, whatever is requested.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

STALL_S, EVERY_S = 0.3, 2.0


async def _serve(port: int) -> None:
    stalling = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1]
                if target == b"/1ms":
                    await asyncio.sleep(0.001)
                if target == b"/stall":
                    stalling.set()
                cache_control = b"public, max-age=3600" if target.startswith(b"/hit") else b"no-store"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: " + cache_control + b"\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def stall() -> None:
        await stalling.wait()
        while True:
            await asyncio.sleep(EVERY_S)
            time.sleep(STALL_S)

    stall_task = asyncio.create_task(stall())
    server = await asyncio.start_server(handle, "127.0.0.1", port)
    await asyncio.to_thread(sys.stdin.read)
    stall_task.cancel()
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
