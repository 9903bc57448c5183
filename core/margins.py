"""Margins: known totals of a population, from a TOML file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divmatch.errors import FileError, SettingError, suggestion

NUMERIC = ("mean", "sd")


@dataclass(frozen=True)
class Margins:
    """``shares`` of the categories of a column, summing to 1; ``moments``: mean, and sd, of a number."""

    shares: Mapping[str, Mapping[str, float]]
    moments: Mapping[str, Mapping[str, float]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that has a margin."""
        return (*self.shares, *self.moments)


def read_margins(path: str) -> Margins:
    """One table a column: ``[age] mean = 41.2`` with ``sd`` if wanted; ``[region] north = 1200 ...``.

    Parameters
    ----------
    path : str
        A TOML file. Totals or shares of categories are divided by their sum.

    Returns
    -------
    Margins
        Shares and moments by column.

    Raises
    ------
    FileError, SettingError
        One line that names the column.
    """
    import tomllib

    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"--margins {path}: no such file") from None
    except OSError as problem:
        raise FileError(f"--margins {path}: cannot be read ({problem.strerror})") from None
    except ValueError as problem:
        raise FileError(f"--margins {path}: not valid TOML: {problem}") from None
    if not content:
        raise SettingError(f"--margins {path}: is empty; give one table a column, such as [region]")
    shares, moments = {}, {}
    for column, given in content.items():
        values = _numbers(path, column, given)
        if set(values) <= set(NUMERIC):
            if "mean" not in values:
                raise SettingError(f"--margins {path}: [{column}] has sd without mean; give both")
            if values.get("sd", 1.0) <= 0:
                raise SettingError(
                    f"--margins {path}: [{column}] sd {values['sd']:g}: expected above 0"
                )
            moments[column] = values
        else:
            shares[column] = _shares(path, column, values)
    return Margins(shares, moments)


def _numbers(path: str, column: str, given: Any) -> dict[str, float]:
    if not isinstance(given, dict) or not given:
        raise SettingError(
            f"--margins {path}: '{column}' is no table; write [{column}] and one line a category, or mean"
        )
    made = {}
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
            raise SettingError(f"--margins {path}: [{column}] {key} is {value}, expected a number")
        made[str(key)] = float(value)
    return made


def _shares(path: str, column: str, values: dict[str, float]) -> dict[str, float]:
    low = next((key for key, value in values.items() if value < 0), None)
    if low is not None:
        near = suggestion(low, NUMERIC)
        raise SettingError(
            f"--margins {path}: [{column}] {low} is {values[low]:g}, expected a share or total of at "
            f"least 0{near}"
        )
    total = sum(values.values())
    if not total > 0:
        raise SettingError(f"--margins {path}: [{column}] all totals are 0")
    return {key: value / total for key, value in values.items()}
