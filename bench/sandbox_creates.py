"""The speed of the QuickBooks stand-in: creates, batch items and queries per second of its own CPU time, and its memory.

The load comes from this process; the server process's CPU time is measured, so that other load does not distort the figures.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil

LINES = 2


def invoice(number: int) -> bytes:
    """A two-line invoice as the writer sends it."""
    lines = [
        {
            "DetailType": "SalesItemLineDetail",
            "Amount": 150.5,
            "Description": "Procedure",
            "SalesItemLineDetail": {"ItemRef": {"value": "1010000021"}, "Qty": 1, "UnitPrice": 150.5},
        }
        for _ in range(LINES)
    ]
    return json.dumps(
        {
            "CustomerRef": {"value": "1"},
            "DocNumber": f"B{number}",
            "TxnDate": "2026-06-01",
            "PrivateNote": f"bench {number}",
            "Line": lines,
        }
    ).encode()


class Client:
    """HTTP/1.1 over one socket with pipelined requests: cheap enough not to affect the measurement."""

    def __init__(self, greeting: dict[str, str]) -> None:
        host, port = greeting["base_url"].removeprefix("http://").split(":")
        self.sockets = [socket.create_connection((host, int(port))) for _ in range(8)]
        self.buffers = [b""] * len(self.sockets)
        self.base = f"/v3/company/{greeting['realm_id']}"
        self.head = (
            f"host: {host}\r\nauthorization: Bearer {greeting['access_token']}\r\naccept: application/json\r\ncontent-type: "
        )

    def run(self, requests: Iterator[tuple[str, str, bytes, str]]) -> int:
        """Send all; returns how many were answered with 200."""
        done = 0
        for chunk in _chunks(requests, len(self.sockets)):
            for sock, (method, path, body, kind) in zip(self.sockets, chunk, strict=False):
                head = f"{method} {self.base}{path} HTTP/1.1\r\n{self.head}{kind}\r\ncontent-length: {len(body)}\r\n\r\n"
                sock.sendall(head.encode() + body)
            for index in range(len(chunk)):
                done += self._read(index)
        return done

    def _read(self, index: int) -> bool:
        sock, data = self.sockets[index], self.buffers[index]
        while b"\r\n\r\n" not in data:
            data += sock.recv(262144)
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(rest) < length:
            rest += sock.recv(262144)
        self.buffers[index] = rest[length:]
        return head.startswith(b"HTTP/1.1 200") and b'"Fault"' not in rest[:length]


def _chunks(items: Iterator[tuple[str, str, bytes, str]], size: int) -> Iterator[list[tuple[str, str, bytes, str]]]:
    chunk = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def measured(
    process: psutil.Process, name: str, count: int, requests: Iterator[tuple[str, str, bytes, str]], client: Client, per: int = 1
) -> float:
    """Return units per second of the server's CPU time; exits if a request was refused."""
    before, started = process.cpu_times(), time.perf_counter()
    done = client.run(requests)
    after, seconds = process.cpu_times(), time.perf_counter() - started
    if done * per != count:
        sys.exit(f"{name}: {count - done * per} of {count} were refused")
    cpu = max(after.user + after.system - before.user - before.system, 0.01)  # the system's resolution is a hundredth of a second
    print(f"{name:12} {count:>7} in {seconds:6.2f} s = {count / seconds:8.0f}/s by the clock, {count / cpu:8.0f}/s of CPU time")
    return count / cpu


def main() -> None:
    """Run all and print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000, help="documents at which memory is measured")
    parser.add_argument("--queries", type=int, default=10_000, help="measured queries")
    options = parser.parse_args()
    command = [sys.executable, "-m", "sandbox.qbo", "--port", "0", "--no-limits"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            greeting = json.loads(server.stdout.readline())
            figures = bench(greeting, psutil.Process(server.pid), options.documents, options.queries)
        finally:
            server.terminate()
    print(json.dumps(figures))


def bench(greeting: dict[str, str], process: psutil.Process, documents: int, count: int) -> dict[str, float]:
    """Creates with requestid, batches of 30, queries by DocNumber and by Id; then memory at `documents`."""
    client = Client(greeting)
    json_type, singles = "application/json", max(1, min(10_000, documents // 2))
    creates = measured(
        process,
        "creates",
        singles,
        (("POST", f"/invoice?requestid=s{n}&minorversion=75", invoice(n), json_type) for n in range(singles)),
        client,
    )
    batches = max(1, (documents - singles) // 30)

    def batch(n: int) -> bytes:
        first = singles + n * 30
        items = [b'{"bId":"%d","operation":"create","Invoice":%s}' % (i, invoice(first + i)) for i in range(30)]
        return b'{"BatchItemRequest":[' + b",".join(items) + b"]}"

    items = measured(
        process,
        "batch items",
        batches * 30,
        (("POST", f"/batch?requestid=b{n}&minorversion=75", batch(n), json_type) for n in range(batches)),
        client,
        per=30,
    )
    queries = measured(
        process,
        "queries",
        count,
        (
            (
                "POST",
                "/query?minorversion=75",
                f"select * from Invoice where DocNumber = 'B{n % singles}'".encode(),
                "application/text",
            )
            for n in range(count)
        ),
        client,
    )
    megabytes = process.memory_info().rss / 1e6
    print(f"memory at {singles + batches * 30} documents: {megabytes:.0f} MB")
    return {
        "creates_per_second_per_core": round(creates),
        "batch_items_per_second_per_core": round(items),
        "queries_per_second_per_core": round(queries),
        "megabytes_at_100000_documents": round(megabytes),
    }


if __name__ == "__main__":
    main()
