"""`make bench-ledger`: the ledger's cost per document with a thousand commands in it, and with a million.

Three databases are filled and measured alternately, so that a busy machine slows all of them alike. The figures include client
and server: the writer's ledger statements for BATCH documents, including one status query. The last line is one JSON object:
milliseconds per document at each size, and the last divided by the first.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
from bookrelay import telemetry
from integration.qbo_writer.ledger_load import BATCH, HotPath, OneConnection, connect, fill
from sandbox.stack.postgres import Postgres

SIZES = (1_000, 100_000, 1_000_000)
WARM_UP = 10  # rounds that are not counted: plans are cached, pages are loaded


def tell(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


async def filled(url: str, size: int) -> OneConnection:
    """Create a database with this many commands."""
    name = f"ledger_{size}"
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
    finally:
        await admin.close()
    began = time.perf_counter()
    pool = await connect(url.rpartition("/")[0] + f"/{name}")
    await fill(pool, size)
    tell(f"{size:>9,} commands filled in {time.perf_counter() - began:.0f} s")
    return pool


async def measure(url: str, sizes: tuple[int, ...], turns: int) -> dict[str, float]:
    """Return the cost of a document at each size in milliseconds (the median of the rounds), and the growth."""
    paths = {size: HotPath(await filled(url, size)) for size in sizes}
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(WARM_UP + turns):
        if number == WARM_UP:
            for path in paths.values():
                path.seconds.clear()
        for size, path in paths.items():
            seconds = await path.turn()
            if number >= WARM_UP:
                taken[size].append(seconds)
    cost = {size: statistics.median(seconds) * 1000 / BATCH for size, seconds in taken.items()}
    tell(f"\nmilliseconds per document (median of {turns} rounds of {BATCH})")
    tell(f"{'':20}" + "".join(f"{size:>12,}" for size in sizes))
    for step in paths[sizes[0]].seconds:
        # A step can be several statements: their sum in a round.
        sums = (sum(path.seconds[step]) / turns * 1000 / BATCH for path in paths.values())
        tell(f"{step:20}" + "".join(f"{value:>12.3f}" for value in sums))
    result = {f"cost_ms_at_{size}": round(value, 3) for size, value in cost.items()}
    return result | {"growth": round(cost[sizes[-1]] / cost[sizes[0]], 2)}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=100, help="measured rounds at each size")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="commands in the largest ledger")
    arguments = parser.parse_args()
    telemetry.setup_logging("bench", level="ERROR")
    sizes = (*(size for size in SIZES if size < arguments.most), arguments.most)
    directory = Path(tempfile.mkdtemp(prefix="bookrelay-bench-"))
    directory.chmod(0o755)  # Postgres' own user enters it
    server = Postgres(directory / "postgres", ephemeral=True)
    try:
        result = asyncio.run(measure(server.start(), sizes, arguments.turns))
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    tell(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
