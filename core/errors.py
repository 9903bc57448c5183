"""Every error a user can cause: the command line prints its one line and exits with its code."""

from collections.abc import Iterable


class DivmatchError(Exception):
    """Base of all errors raised on purpose; anything else is a bug."""

    exit_code = 2


class SettingError(DivmatchError):
    """A setting has a value that the estimator cannot use."""


class SampleError(DivmatchError):
    """A sample is empty, ragged, not finite, or does not match its partner."""


class GapError(SampleError):
    """Missing values, and the ways to treat them that --na knows."""

    def __init__(self, told: str, ways: tuple[str, ...]) -> None:
        super().__init__(told, ways)
        self.told, self.ways = told, ways

    def __str__(self) -> str:
        if not self.ways:
            return f"{self.told}; fill them in or remove these rows"
        return f"{self.told}; choose {' or '.join(f'--na {way}' for way in self.ways)}"


class FileError(DivmatchError):
    """A file is missing, unreadable, damaged, or lacks what was asked of it."""


class RoomError(DivmatchError):
    """A file needs more memory than there is."""

    exit_code = 4


class DeviceError(DivmatchError):
    """The device that was asked for is not there."""


class InconclusiveError(DivmatchError):
    """The data allow no number: too few rows, a singular covariance."""

    exit_code = 3


class OutputError(DivmatchError):
    """A result could not be written."""

    exit_code = 4


def counted(number: int, noun: str) -> str:
    """`1 row`, `3 rows`, `2 categories`."""
    return f"{number} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """`rows`, `categories`."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def at_row(number: int) -> str:
    """`at row 17 (from 0)`: rows are counted as NumPy and pandas count them, and messages say so."""
    return f"at row {number} (from 0)"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'energy'?` for a near miss, else the empty string."""
    near = nearest(name, known)
    return "" if near is None else f"; did you mean '{near}'?"


def nearest(name: str, known: Iterable[str], *, similar: float = 0.6) -> str | None:
    """The known name most like this one, if one is at least as similar as that."""
    from difflib import get_close_matches  # 5 ms, and only a mistake pays them

    return next(iter(get_close_matches(name, list(known), n=1, cutoff=similar)), None)
