"""The floor of `ingest.push`: the same stack (uvicorn's loop and parser, FastAPI, as many processes at one port), and nothing but reading.

`python -m tests.bench.bare PORT PROCESSES`.
"""

import os
import sys

from fastapi import FastAPI, Request, Response

from shared import spread
from shared.process import LOOPBACK
from shared.settings import ServiceSettings

ANSWER = b'{"status":true,"statusCode":"SYS000","message":"stored","result":null}'


def application() -> FastAPI:
    app = FastAPI()

    @app.post("/v1/push/{feed}")
    async def push(request: Request, feed: str) -> Response:
        await request.body()
        return Response(ANSWER, media_type="application/json")

    @app.get("/readyz")
    async def ready() -> Response:
        return Response(b"{}", media_type="application/json")

    return app


if __name__ == "__main__":
    nowhere = {"database_url": "postgresql://u:p@127.0.0.1:9/none", "kafka_bootstrap": "127.0.0.1:9", "jwks": os.devnull}
    spread.serve("tests.bench.bare:application", ServiceSettings(port=int(sys.argv[1]), **nowhere), int(sys.argv[2]), LOOPBACK)
