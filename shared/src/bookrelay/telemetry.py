"""Structured logs (one JSON line for each unit of work) and trace context. Neither contains tokens or patients' names."""

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import structlog
from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Span, SpanKind

SECRET = re.compile(r"(?i)(authorization|bearer|client[-_]?secret|refresh_token|access_token|password|verifier)")
_VALUE = re.compile(r"(?i)(bearer\s+|basic\s+)[A-Za-z0-9._~+/=-]{8,}|postgres(?:ql)?://[^:@\s/]+:[^@\s]+@")


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact anything that looks like a secret, by field name or value: the last line of defence, not the first."""
    for key, value in list(event.items()):
        if SECRET.search(key) and not key.endswith(("_configured", "_expires_at", "_expires_in", "_endpoint", "_url")):
            event[key] = "[redacted]"
        elif isinstance(value, str) and len(value) > 8:
            event[key] = _VALUE.sub("[redacted]", value)
    return event


def _trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid and not event.get("trace_id"):
        event["trace_id"] = format(context.trace_id, "032x")
    return event


def setup_logging(service: str, level: str = "INFO") -> None:
    """Send all logs of the process to stdout as JSON lines with time, level, event, service and fields."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        _trace,
        _redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("aiokafka", "faststream", "httpx", "httpcore", "uvicorn", "google", "urllib3", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    structlog.contextvars.bind_contextvars(service=service)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; name events after what happened ("command.settled") and put the details into fields."""
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger(name))


_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C's, of version 00


class _Tracing:
    """Whether spans are exported: if not, hot paths propagate the context without creating spans."""

    exporting = False


def setup_tracing(service: str, endpoint: str | None) -> None:
    """Export spans over OTLP/HTTP if an endpoint is set; trace ids are created and propagated in any case."""
    _Tracing.exporting = bool(endpoint)
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)


def traceparent() -> dict[str, str]:
    """Return the headers that propagate the current trace; empty without one."""
    headers: dict[str, str] = {}
    inject(headers)
    return headers


@contextmanager
def span(
    name: str, *, parent: Mapping[str, str] | None = None, kind: SpanKind = SpanKind.INTERNAL, **fields: str | int
) -> Iterator[Span]:
    """Open a span; `parent` are headers with a traceparent. Fields must not contain secrets or names."""
    tracer = trace.get_tracer("bookrelay")
    context = extract(parent) if parent else None
    with tracer.start_as_current_span(name, context=context, kind=kind, attributes=fields) as current:
        yield current


@contextmanager
def step(
    name: str, trace_parent: str | None, fields: Mapping[str, str | int], kind: SpanKind = SpanKind.INTERNAL
) -> Iterator[dict[str, str]]:
    """One step of a document's trace, on a hot path: a span if spans are exported, else only its context.

    Yields the headers that propagate the trace.
    """
    valid = _valid(trace_parent)
    parent = {"traceparent": valid} if valid else {}
    if _Tracing.exporting:
        context = extract(parent) if parent else None
        with trace.get_tracer("bookrelay").start_as_current_span(name, context=context, kind=kind, attributes=fields):
            yield traceparent()
        return
    with trace.use_span(trace.get_current_span(extract(parent)), end_on_exit=False):
        yield parent


def step_done(name: str, trace_parent: str | None, fields: Callable[[], Mapping[str, str | int]], kind: SpanKind) -> str | None:
    """Note a step that takes no time worth measuring; return the traceparent that carries the trace on from it.

    Where spans are not exported this costs next to nothing: opening the context alone was a fifth of recording a command.
    """
    if not _Tracing.exporting:
        return _valid(trace_parent)
    with step(name, trace_parent, fields(), kind) as headers:
        return headers.get("traceparent")


def _valid(trace_parent: str | None) -> str | None:
    """Return the header if it is one: anybody may have written it, and what is handed on is stored."""
    return trace_parent if trace_parent and _TRACEPARENT.fullmatch(trace_parent) else None


@contextmanager
def steps(name: str, trace_parents: Sequence[str | None], fields: Mapping[str, str | int], kind: SpanKind) -> Iterator[None]:
    """One call for several documents: a span in each one's trace, with the same start and end."""
    if not _Tracing.exporting:
        yield
        return
    tracer = trace.get_tracer("bookrelay")
    with ExitStack() as stack:
        for parent in trace_parents:
            context = extract({"traceparent": parent}) if parent else None
            stack.callback(tracer.start_span(name, context=context, kind=kind, attributes=fields).end)
        yield


def trace_id_of(trace_parent: str | None) -> str | None:
    """Return the trace id of a `traceparent` header; None without a valid one."""
    if not trace_parent:
        return None
    context = trace.get_current_span(extract({"traceparent": trace_parent})).get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


def messaging(topic: str, message_id: object) -> dict[str, str | int]:
    """Return a Kafka message's span attributes, by OpenTelemetry's messaging conventions."""
    return {"messaging.system": "kafka", "messaging.destination.name": topic, "messaging.message.id": str(message_id)}
