"""A1 notation and rectangles of cells: column letters, quoted titles, areas. Knows no sheet."""

import re
from dataclasses import dataclass

RANGE = re.compile(r"\$?([A-Za-z]{1,3})?\$?(\d+)?(?::\$?([A-Za-z]{1,3})?\$?(\d+)?)?$")  # the part of a range behind its sheet


@dataclass(frozen=True)
class Area:
    """A rectangle of the sheet with this id: indices from 0, ends excluded."""

    sheet: int
    row: int
    row_end: int
    column: int
    column_end: int

    @property
    def single(self) -> bool:
        """Whether it is one cell: then it is where writing starts, not a limit."""
        return self.row_end - self.row == 1 and self.column_end - self.column == 1


def letters(column: int) -> str:
    """A column's name: 0 is A, 26 is AA."""
    text = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text


def column_number(name: str) -> int:
    """A column's index from 0."""
    number = 0
    for letter in name.upper():
        number = number * 26 + ord(letter) - 64
    return number - 1


def quoted(title: str) -> str:
    """A sheet's title as written in a range."""
    return title if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", title) else "'" + title.replace("'", "''") + "'"


def unquoted(title: str) -> str:
    """A title as a range has it, without its quotes."""
    if len(title) >= 2 and title.startswith("'") and title.endswith("'"):
        return title[1:-1].replace("''", "'")
    return title
