"""Where scores come from: a family, a Python file, or a program; opened for as long as they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from divmatch import targets
from divmatch.errors import SettingError
from divmatch.score_file import FromFile, FromFunction, file_named, is_file
from divmatch.target_kinds import Target


def sampled_named(text: str) -> str:
    """Refuse what names neither a family nor a function in a Python file; nothing is run."""
    if text.endswith(".py"):
        raise SettingError(f"--target {text}: name a function of the file, {text}:NAME")
    return file_named(text) if is_file(text) else targets.target_named(text)


def columns_of(target: Any) -> int | None:
    """How many columns rows of the target have, if it says so."""
    return None if not isinstance(target, str) or is_file(target) else targets.columns_of(target)


@contextmanager
def known(target: Any, command: str | None, timeout: float, d: int) -> Iterator[Target]:
    """The target of rows with ``d`` columns, a name or a function; what runs for it ends with it."""
    if (target is None) == (command is None):
        which = "neither is" if target is None else "both are"
        raise SettingError(f"sample: give --target NAME or --score-command CMD, {which} given")
    if callable(target):
        name = getattr(target, "__name__", "function")
        yield FromFunction(target, name, name)
        return
    if target is not None:
        yield FromFile(target) if is_file(target) else targets.opened(target, d)
        return
    from divmatch.score_program import Program

    program = Program(str(command), timeout)
    try:
        yield program
        program.finish()
    finally:
        program.close()
