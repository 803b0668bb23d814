"""Logs: JSON lines, and nothing in them that looks like a secret."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from bookrelay import telemetry


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Set logging up as a service does, onto a stream of the test's own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    telemetry.setup_logging("test-service")
    stream = io.StringIO()
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


def read(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_event_and_service(logged: io.StringIO) -> None:
    telemetry.get_logger("x").info("command.settled", end="posted", attempts=2)
    (line,) = read(logged)
    assert (line["event"], line["level"], line["service"], line["end"], line["attempts"]) == (
        "command.settled", "info", "test-service", "posted", 2,
    )  # fmt: skip
    assert str(line["time"]).endswith("Z")


def test_logs_of_libraries_are_json_too(logged: io.StringIO) -> None:
    logging.getLogger("some.library").warning("it is %s", "late")
    (line,) = read(logged)
    assert (line["event"], line["level"]) == ("it is late", "warning")


def test_noisy_libraries_are_quiet(logged: io.StringIO) -> None:
    for name in ("aiokafka.consumer", "faststream", "httpx", "uvicorn.error"):
        logging.getLogger(name).info("chatter")
    assert read(logged) == []


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "access_token",
        "refresh_token",
        "client_secret",
        "client-secret",
        "password",
        "verifier_token",
    ],
)
def test_a_field_that_is_called_like_a_secret_is_redacted(logged: io.StringIO, name: str) -> None:
    telemetry.get_logger("x").info("event", **{name: "hidden-value"})
    output = logged.getvalue()
    assert "hidden-value" not in output
    assert "[redacted]" in output


@pytest.mark.parametrize(
    "value",
    [
        "Bearer abcdefghijkl.mnop", "header: bearer  eyJhbGciOi", "Basic QUJDOmhpZGRlbg==",
        "cannot connect to postgresql://someone:hiddenpassword@db:5432/books", "postgres://u:hiddenpassword@h/d",
    ],
)  # fmt: skip
def test_a_value_that_looks_like_a_secret_is_redacted(logged: io.StringIO, value: str) -> None:
    telemetry.get_logger("x").info("event", error=value)
    (line,) = read(logged)
    assert "[redacted]" in str(line["error"])
    for secret in ("abcdefghijkl", "eyJhbGciOi", "QUJDOmhpZGRlbg", "hiddenpassword"):
        assert secret not in str(line)


def test_what_only_says_that_a_secret_is_there_is_shown(logged: io.StringIO) -> None:
    telemetry.get_logger("x").info("event", client_secret_configured=True, access_token_expires_at="2026-01-01")
    (line,) = read(logged)
    assert line["client_secret_configured"] is True
    assert line["access_token_expires_at"] == "2026-01-01"


def test_an_exception_stands_inside_its_line(logged: io.StringIO) -> None:
    try:
        raise ValueError("postgresql://u:hiddenpassword@h/d")
    except ValueError:
        telemetry.get_logger("x").exception("work.failed")
    (line,) = read(logged)
    assert "ValueError" in str(line["exception"])
    assert "hiddenpassword" not in str(line)


def test_a_trace_is_carried_on() -> None:
    telemetry.setup_tracing("test", None)
    with telemetry.span("outer"):
        carried = telemetry.traceparent()
    with telemetry.span("inner", parent=carried) as inner:
        assert format(inner.get_span_context().trace_id, "032x") == carried["traceparent"].split("-")[1]
    assert telemetry.traceparent() == {}
