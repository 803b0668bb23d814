"""The `sandbox` command: one stand-in alone, over real HTTP. Its first line on stdout is one JSON object."""

import argparse
import sys
from collections.abc import Sequence

HELP = """\
Local stand-ins over real HTTP, for experiments and tests. Nothing leaves this machine.

  sandbox qbo     QuickBooks Online and Intuit's OAuth
  sandbox emr     4D EMR
  sandbox sheets  Google Sheets and Drive

The first line on stdout is one JSON object with what a client needs (addresses, credentials). SIGTERM or Ctrl-C stops it.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sandbox", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="standin", metavar="qbo|emr|sheets", required=True)
    commands.add_parser("qbo", help="QuickBooks Online; `sandbox qbo --help` shows its options", add_help=False)
    emr = commands.add_parser("emr", help="4D EMR: quotes, patients, look-ups")
    _common(emr)
    emr.add_argument("--quotes", type=int, default=60, metavar="N", help="number of initial quotes (default 60)")
    emr.add_argument("--every-version", action="store_true", help="list a row for each version of a quote, not only the newest")
    emr.add_argument("--rate-limit", type=int, default=0, metavar="N", help="calls a minute before 429 (default 0: no limit)")
    sheets = commands.add_parser("sheets", help="Google Sheets and Drive: one spreadsheet with the tab inv_tbl")
    _common(sheets)
    sheets.add_argument("--rows", type=int, default=60, metavar="N", help="number of initial rows in inv_tbl (default 60)")
    sheets.add_argument("--no-limits", action="store_true", help="without Google's quotas of 300 and 60 a minute")
    sheets.add_argument("--credentials", metavar="FILE", help="where to write the service account (default: a temporary file)")
    sheets.add_argument("--spreadsheet-id", metavar="ID", help="the spreadsheet's id (default: derived from the seed)")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port to listen on (default: any free one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1; containers need 0.0.0.0)")
    parser.add_argument("--public-url", metavar="URL", help="the URL that clients use, if it is not http://127.0.0.1:PORT")
    parser.add_argument("--state-file", metavar="FILE", help="read the state from this file at start, write it at the end")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed gives the same data (default 1)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stand-in and end with its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["qbo"]:  # it has its own command line
        import signal

        from sandbox.qbo.door.server import main as qbo

        # uvicorn raises a caught SIGTERM again after its shutdown: a requested stop is not a failure
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        sys.exit(qbo(given[1:]))
    options = _parser().parse_args(given)
    names = ("host", "port", "seed", "public_url", "state_file")
    common = {name: getattr(options, name) for name in names}
    if options.standin == "emr":
        from sandbox.emr import serve as serve_emr

        sys.exit(serve_emr(quotes=options.quotes, every_version=options.every_version, rate_limit=options.rate_limit, **common))
    from sandbox.sheets import serve as serve_sheets

    sys.exit(
        serve_sheets(
            rows=options.rows,
            limits=not options.no_limits,
            credentials_file=options.credentials,
            spreadsheet_id=options.spreadsheet_id,
            **common,
        )
    )


if __name__ == "__main__":
    main()
