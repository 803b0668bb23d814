"""An EMR that answers what a test tells it, byte for byte: what the stand-in, whose quotes are real JSON, cannot."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Told:
    """An EMR that answers bytes, whatever they are: the list of quotes, and the detail of each, with its status."""

    url: str = ""
    listed: bytes = b"[]"
    details: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)

    def answer(self, path: str) -> tuple[int, bytes]:
        asked = urlsplit(path)
        if asked.path.endswith("/quotes/list"):
            return 200, self.listed
        return self.details.get(parse_qs(asked.query)["quoteNumber"][0], (404, b"{}"))


@contextmanager
def emr_told() -> Iterator[Told]:
    """Run such an EMR."""
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = told.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}/api/public"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
