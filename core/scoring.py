"""Where scores come from: a family, a Python file, or a program; opened for as long as they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager

from divmatch import targets
from divmatch.errors import SettingError
from divmatch.target_kinds import Target


@contextmanager
def known(target: str | None, command: str | None, timeout: float, d: int) -> Iterator[Target]:
    """The target of rows with ``d`` columns; what runs for it ends with it."""
    if (target is None) == (command is None):
        which = "neither is" if target is None else "both are"
        raise SettingError(f"sample: give --target NAME or --score-command CMD, {which} given")
    if target is not None:
        yield targets.opened(target, d)
