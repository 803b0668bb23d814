"""uvicorn inside of a process that handles its signals itself."""

import contextlib
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette


class HttpServer(uvicorn.Server):
    """Serves an application on listening sockets until `should_exit` is set; signals are left alone."""

    def __init__(self, app: Starlette, *, shutdown_seconds: int) -> None:
        """After `shutdown_seconds` requests under way are cut off."""
        super().__init__(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=shutdown_seconds)
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to the process; uvicorn would take them, and raise them again after its shutdown."""
        yield
