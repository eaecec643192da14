"""A TCP door before PostgreSQL that a test can shut, let hang, or have swallow an answer."""

import asyncio


class Gate:
    """A TCP door before PostgreSQL that a test can shut."""

    def __init__(self, dsn: str) -> None:
        self._credentials, _, rest = dsn.rpartition("@")
        address, _, self._name = rest.partition("/")
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self._shut = False
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.answers_dropped = 0
        self._drop_after: bytes | None = None
        self._deaf: set[asyncio.StreamWriter] = set()  # clients that hear nothing any more

    async def __aenter__(self) -> "Gate":
        self._server = await asyncio.start_server(self._through, "127.0.0.1", 0)
        self.dsn = f"{self._credentials}@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/{self._name}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close_all()
        self._server.close()

    def close_all(self) -> None:
        self._shut = True
        for writer in self._writers:
            writer.transport.abort()

    def hang(self) -> None:
        """Connections stay, and are taken; nothing passes."""
        self._passes.clear()

    def answer_again(self) -> None:
        self._passes.set()

    def open_again(self) -> None:
        self._shut = False

    def drop_the_answer_to(self, query: bytes) -> None:
        """The next time a client sends `query`, PostgreSQL gets it and the client never hears."""
        self._drop_after = query

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._shut:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, up_writer}
        try:
            await asyncio.gather(self._carry(reader, up_writer, writer), self._carry(up_reader, writer, None))
        except OSError:
            pass
        finally:
            writer.transport.abort()
            up_writer.transport.abort()
            self._writers -= {writer, up_writer}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asker: asyncio.StreamWriter | None) -> None:
        while data := await reader.read(65536):
            await self._passes.wait()
            if writer in self._deaf:
                continue
            dropped = asker and self._drop_after and self._drop_after in data
            if asker and dropped:
                self._drop_after = None
                self._deaf.add(asker)
            writer.write(data)
            await writer.drain()
            if asker and dropped:
                self.answers_dropped += 1
                await asyncio.sleep(0.2)  # PostgreSQL commits
                asker.transport.abort()
                return
        writer.transport.abort()
