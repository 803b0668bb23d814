"""One Google Cloud project as the stand-in keeps it: spreadsheets, who may do what with them, what is expected of their rows."""

from typing import Any

from sandbox.sheets.accounts import Accounts
from sandbox.sheets.cells import Cell
from sandbox.sheets.drive import Drive
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.generating import HEADERS, LabelledRow
from sandbox.sheets.grid import Spreadsheet
from sandbox.sheets.quotas import Quotas
from sandbox.standin import Clock, Watcher

WORKSHEET = "inv_tbl"


class Google:
    """One project with its spreadsheets. `limits`: whether the quotas of 300 and 60 a minute hold."""

    def __init__(self, *, spreadsheet_id: str, limits: bool = True) -> None:
        self.clock = Clock()
        self.accounts = Accounts(self.clock)
        self.quotas = Quotas(enforced=limits)
        self.origin = ""
        self.spreadsheet_id = spreadsheet_id
        self.books: dict[str, Spreadsheet] = {}
        self.roles: dict[str, str] = {}  # spreadsheet id -> what service accounts may do with it: writer, reader, none
        self.labels: dict[str, LabelledRow] = {}
        self.drive = Drive(self.clock, self.books)
        self.watcher: Watcher
        self.reset()

    def reset(self) -> None:
        """An empty inv_tbl with its headers, nobody locked out. Accounts and tokens stay."""
        self.books.clear()
        self.labels.clear()
        self.roles.clear()
        self.quotas.clear()
        self.drive.channels.clear()
        self.accounts.token_seconds = 3600
        book = Spreadsheet(self.spreadsheet_id, "Invoices")
        sheet = book.add_sheet(WORKSHEET, 1000, 45, sheet_id=0)
        for column, header in enumerate(HEADERS):
            sheet.set(0, column, Cell(header))
        self.books[book.id] = book

    def state(self) -> dict[str, Any]:
        """What outlives a restart: the spreadsheets and what was expected of their rows. Accounts are new each time."""
        return {
            "spreadsheet_id": self.spreadsheet_id,
            "books": self.books,
            "roles": self.roles,
            "labels": self.labels,
            "modified": self.drive.modified,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the result of `state`."""
        self.spreadsheet_id = state["spreadsheet_id"]
        for mine, kept in (
            (self.books, "books"),
            (self.roles, "roles"),
            (self.labels, "labels"),
            (self.drive.modified, "modified"),
        ):
            mine.clear()
            mine.update(state[kept])

    @property
    def token_uri(self) -> str:
        """Where tokens are given; the audience of the assertion."""
        return f"{self.origin}/token"

    def book(self, spreadsheet_id: str, *, writing: bool) -> Spreadsheet:
        """Return a spreadsheet that service accounts may read or write; raises SheetsError (404, 403)."""
        book = self.books.get(spreadsheet_id)
        if book is None:
            raise SheetsError("Requested entity was not found.", 404, "NOT_FOUND")
        role = self.roles.get(spreadsheet_id, "writer")
        if role == "none" or (writing and role != "writer"):
            raise SheetsError("The caller does not have permission", 403, "PERMISSION_DENIED")
        return book

    def keep(self, book: Spreadsheet, trial: Spreadsheet) -> None:
        """Take over a copy on which everything succeeded, and count a change."""
        book.title, book.sheets, book.metadata = trial.title, trial.sheets, trial.metadata
        book.next_metadata_id = trial.next_metadata_id
        self.drive.changed(book)
