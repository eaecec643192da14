"""The scans log over HTTP."""

from services.ingest.routes import ingest
from shared.contracts.scan import TOPIC
from shared.log_api import log_router

router = log_router(TOPIC, writing=lambda request: ingest(request).database, reading=lambda request: ingest(request).reader)
