"""Finished rows, on standard output and on disk: a batch that was interrupted goes on where it stopped."""

import csv
import math
import os
from collections.abc import Mapping
from typing import Any

from divmatch.cli.render import delimited, delimited_header, flat, ndjson_row
from divmatch.cli.session import show
from divmatch.errors import FileError, OutputError
from divmatch.record import Interval, Note, Result, Test

DELIMITERS = {"csv": ",", "tsv": "\t"}


class Journal:
    """The rows of a .csv file by fingerprint; new ones are added as soon as they are there."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.known: dict[str, Mapping[str, str]] = {}
        if path is not None:
            self._read(path)

    @staticmethod
    def check(path: str | None) -> None:
        """Refuse what is no table before any data are read: a device has no end."""
        if path is not None and not path.endswith(".csv"):
            raise FileError(f"--resume {path}: expected a name that ends with .csv")
        if path is not None and os.path.exists(path) and not os.path.isfile(path):
            raise FileError(f"--resume {path}: is no ordinary file; choose another name")

    def _read(self, path: str) -> None:
        """What is there; a last row that was cut off is written anew."""
        header = delimited_header(",")
        try:
            with open(path, encoding="utf-8", newline="") as file:
                text = file.read()
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"--resume {path}: cannot be read ({error})") from None
        whole = text[: text.rfind("\n") + 1]
        if whole and not whole.startswith(header):
            raise FileError(
                f"--resume {path}: is not a table of `divmatch score -f csv` of this version; "
                "choose another name"
            )
        for row in csv.DictReader(whole.splitlines(keepends=True)):
            if row["fingerprint"] and row["status"] in ("ok", "warn", "inconclusive"):
                self.known[row["fingerprint"]] = row
        if text != whole or not whole:
            self._write(whole or header, "w")

    def _write(self, text: str, mode: str) -> None:
        assert self.path is not None  # noqa: S101
        try:
            with open(self.path, mode, encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"--resume {self.path}: {error.strerror}") from None

    def result(self, fingerprint: str | None) -> Result | None:
        """The finished row as a result, or none."""
        row = self.known.get(fingerprint or "")
        return None if row is None else _result(row)

    def add(self, result: Result) -> None:
        """Write a row now, unless it is there."""
        if self.path is not None and result.extra["fingerprint"] not in self.known:
            self._write(delimited(flat(result.as_dict()), ","), "a")


def _result(row: Mapping[str, str]) -> Result:
    low, high, level = (_number(row[name]) for name in ("low", "high", "level"))
    p = _number(row["p_value"])
    value = _number(row["value"])
    extra: dict[str, Any] = {"fingerprint": row["fingerprint"], "resumed": True}
    if row["message"]:
        extra["message"] = row["message"]
    return Result(
        metric=row["metric"],
        method=row["method"],
        value=_unwritten(row["status"]) if value is None else value,
        unit=row["unit"],
        direction=row["direction"],
        n=(int(row["n"]), int(row["m"])),
        d=0,
        se=_number(row["se"]),
        ci=None if low is None or high is None else Interval(level or 0.0, low, high, "resumed"),
        test=None if p is None else Test(p, "resumed", 0, {}),
        status=row["status"],
        sample=row["sample"],
        id=row["id"],
        warnings=tuple(
            Note(code, "said when the row was made") for code in row["warnings"].split()
        ),
        extra=extra,
    )


def _unwritten(status: str) -> float:
    """What a row without a value had: no number at all, or one too large to be written."""
    return math.nan if status == "inconclusive" else math.inf


def _number(text: str) -> float | None:
    return float(text) if text else None


class Stream:
    """Rows on standard output as they finish, for the formats that allow it."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.active = form in ("ndjson", *DELIMITERS)
        if form in DELIMITERS:
            show(delimited_header(DELIMITERS[form]))

    def row(self, result: Result) -> None:
        """Print one row now."""
        if self.form == "ndjson":
            show(ndjson_row(result.as_dict()))
        elif self.active:
            show(delimited(flat(result.as_dict()), DELIMITERS[self.form]))
