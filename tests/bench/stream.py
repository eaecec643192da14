"""A client as thin as it can be, since it shares the machine: bodies are made before, an answer is looked at and forgotten."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


async def send(url: str, head: str, bodies: Sequence[bytes], senders: int, seen: Callable[[bytes], None]) -> float:
    """Requests a second over `senders` connections. `head`: request line and headers, `%d` where the length of the body belongs."""
    waiting, address, start = iter(bodies), urlsplit(url), head.replace("\n", "\r\n").encode()

    async def sender() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for body in waiting:
            writer.write(start % len(body) + body)
            top = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(top)
            if not top.startswith(b"HTTP/1.1 200") or length is None:
                raise RuntimeError(f"not acknowledged: {top[:100]!r}")
            seen(await reader.readexactly(int(length[1])))
        writer.close()
        await writer.wait_closed()

    started = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(senders)))
    return len(bodies) / (time.perf_counter() - started)
