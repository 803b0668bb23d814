"""Runs the stand-in over HTTP: binds, prints its address on stdout, then serves until SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import uvicorn

from sandbox.qbo.company.schema import PLANS
from sandbox.qbo.control.states import load_state, save_state
from sandbox.qbo.control.world import Config
from sandbox.qbo.door.app import App, create_app


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError when the port is taken."""
    # asyncio disables Nagle's algorithm only if the protocol is given; else each response on a keep-alive connection waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def build(
    listener: socket.socket,
    *,
    seed: int = 0,
    plan: str = "plus",
    limits: bool = True,
    state_file: str | None = None,
    host: str = "127.0.0.1",
) -> App:
    """The app for a bound socket, with the state of the state file where there is one."""
    port = listener.getsockname()[1]
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else host
    app = create_app(Config(seed=seed, plan=plan, limits=limits, base_url=f"http://{shown}:{port}", state_file=state_file))
    if state_file and Path(state_file).exists():
        load_state(app.world, Path(state_file))
    return app


class Server(uvicorn.Server):
    """uvicorn that returns on SIGTERM and SIGINT; otherwise it raises the signal again, and the state would not be saved."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def obey_signals(self) -> None:
        """Handle signals from now on, before the first line is printed, so that an early signal is not a crash."""

        def stop(signum: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit and signum == signal.SIGINT
            self.should_exit = True

        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, stop)


def server_for(app: App) -> Server:
    """uvicorn as fast as it goes: uvloop where there is one, httptools, no logs."""
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="auto",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="critical",
        timeout_keep_alive=75,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=2,
    )
    return Server(config)


def serve(
    port: int = 0,
    seed: int = 0,
    *,
    plan: str = "plus",
    limits: bool = True,
    state_file: str | None = None,
    host: str = "127.0.0.1",
) -> int:
    """Serve until SIGTERM or Ctrl-C; the first line on stdout is one JSON object with what a client needs.

    Returns the exit status: 0, or 1 with a reason on stderr when the port is taken or the state file cannot be read.
    """
    try:
        listener = bind(host, port)
    except OSError as error:
        print(f"sandbox qbo: cannot listen on {host}:{port}: {error.strerror}. Choose another with --port.", file=sys.stderr)
        return 1
    try:
        app = build(listener, seed=seed, plan=plan, limits=limits, state_file=state_file, host=host)
    except (OSError, ValueError, EOFError, AttributeError, KeyError) as error:
        print(
            f"sandbox qbo: cannot read the state file {state_file}: {error}. Remove it to start with an empty state.",
            file=sys.stderr,
        )
        return 1
    server = server_for(app)
    server.obey_signals()
    print(json.dumps(app.world.greeting()), flush=True)
    # Documents hold no cycles; frequent full collections over 100,000 of them would only cost time.
    gc.set_threshold(50_000, 50, 100)
    try:
        server.run(sockets=[listener])
    finally:
        if state_file:
            save_state(app.world, Path(state_file))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """`python -m sandbox.qbo`."""
    parser = argparse.ArgumentParser(prog="sandbox qbo", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plan", choices=PLANS, default="plus")
    parser.add_argument("--no-limits", action="store_true", help="no 429s: for benchmarks and fast tests")
    parser.add_argument("--state-file", help="read the state from here at start, write it here at the end")
    options = parser.parse_args(arguments)
    return serve(
        options.port,
        options.seed,
        plan=options.plan,
        limits=not options.no_limits,
        state_file=options.state_file,
        host=options.host,
    )
