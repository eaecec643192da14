"""Logs, metrics and the list of metric names (the log's own: shared/log/metrics.py).

Logs are one JSON object a line on standard error, with route templates instead of paths: no token, waybill number or name of a
person is ever logged.
"""

import json
import logging
import os
import sys
from functools import lru_cache

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import Response

SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"  # names the directory in which several processes keep theirs; the library's own variable

HTTP_REQUESTS = Counter("tongcun_http_requests_total", "Requests by route template and status", ["method", "route", "status"])
HTTP_SECONDS = Histogram("tongcun_http_request_seconds", "Seconds from request to answer", ["route"])
INGEST_PUSHES = Counter("tongcun_ingest_pushes_total", "Pushes by feed and result", ["feed", "result"])
INGEST_EVENTS = Counter("tongcun_ingest_events_total", "Events by feed and verdict", ["feed", "verdict"])
INGEST_COMMIT = Histogram("tongcun_ingest_commit_pushes", "Pushes that shared one commit", buckets=(1, 2, 4, 8, 16, 32, 64))
INGEST_FEED_HELD = Gauge("tongcun_ingest_feed_held", "Feeds told to come later, since most of theirs cannot be read: an alarm", ["feed"])
INGEST_FEED_SILENT = Gauge("tongcun_ingest_feed_silent", "Feeds that have fallen silent: an alarm", ["feed"])
WORKER_EVENTS = Counter("tongcun_worker_events_total", "Events applied to the books")
WORKER_SECONDS = Histogram("tongcun_worker_batch_seconds", "Seconds of one batch transaction")
WORKER_KEY_VIOLATIONS = Counter("tongcun_worker_key_violations_total", "Batches that met evidence which was there: an alarm")
WORKER_REASSESSED = Counter("tongcun_worker_reassessed_total", "Parcels assessed again after a registry change")
WORKER_SET_ASIDE = Counter("tongcun_worker_set_aside_total", "Messages that could not be read, by reason: an alarm", ["reason"])
REGISTRY_CALENDAR_ENDS = Gauge("tongcun_registry_calendar_ends_timestamp_seconds", "When the known calendar of working days ends")
REGISTRY_REVISION = Gauge("tongcun_registry_revision_applied", "Registry revision that the books have applied")


@lru_cache(maxsize=1024)
def _of_route(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Looked up once: finding a child by its labels takes longer than counting."""
    return HTTP_REQUESTS.labels(method, route, status), HTTP_SECONDS.labels(route)


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    requests, took = _of_route(method, route, status)
    requests.inc()
    took.observe(seconds)


@lru_cache(maxsize=4096)
def pushes_of(feed: str, result: str) -> Counter:
    return INGEST_PUSHES.labels(feed, result)


@lru_cache(maxsize=4096)
def events_of(feed: str, verdict: str) -> Counter:
    return INGEST_EVENTS.labels(feed, verdict)


def configure(service: str, level: str = "info") -> None:
    """JSON lines for our own loggers; libraries' warnings go the same way."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs every retry of a broker that is away; we report that ourselves


class _JsonLines(logging.Formatter):
    """What a library says, in our form."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
        if record.exc_info and record.exc_info[1]:
            line["error"] = repr(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def exposition() -> Response:
    """`GET /metrics`: of all processes that serve together, whichever is asked."""
    registry = REGISTRY
    if directory := os.environ.get(SHARED_METRICS):
        registry = CollectorRegistry()
        MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
