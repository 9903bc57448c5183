"""A function in a Python file as a target: the file is run, its function asked for numbers."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import FileError, SettingError
from divmatch.samples import Points
from divmatch.target_kinds import Target

NAMED = re.compile(r"(?P<path>.+\.py):(?P<name>[^:]*)")
SCORING = ("score", "grad")  # words in the name of a function that returns ∇ ln p
DIFFERENCE = float(np.finfo(np.float64).eps) ** (1 / 3)  # of a central difference
LEAST = 1e-8  # of a number: a difference that still changes half of its digits


def is_file(text: str) -> bool:
    """Whether a target is a function in a Python file."""
    return NAMED.fullmatch(text) is not None


def file_named(text: str) -> str:
    """Refuse what cannot be run; nothing is run yet."""
    path, name = _parts(text)
    if not name.isidentifier():
        raise SettingError(
            f"--target '{text}': '{name}' is no name of a function, expected {path}:NAME"
        )
    if not os.path.isfile(path):
        raise FileError(f"--target {text}: {path}: no such file")
    return text


class FromFunction(Target):
    """A function of rows (n, d): ln p + constant, (n,), or scores, (n, d), as its name says."""

    path: str | None = None  # of the file that holds it

    def __init__(self, function: Callable[[Any], Any], name: str, text: str) -> None:
        self.function, self.text = function, text
        self.scoring = any(word in name.lower() for word in SCORING)

    def scores(self, points: Points) -> Points:
        """What the function returns, or central differences of it."""
        if self.scoring:
            return self._asked(points, points.shape)
        made = np.empty(points.shape)
        n = len(points)
        spread = points.std(axis=0)
        steps = DIFFERENCE * np.where(spread > 0, spread, 1.0)
        steps = np.maximum(steps, LEAST * np.abs(points))
        for c in range(points.shape[1]):
            both = np.concatenate([points, points])
            both[:n, c] += steps[:, c]
            both[n:, c] -= steps[:, c]
            heights = self._asked(both, (2 * n,))
            made[:, c] = (heights[:n] - heights[n:]) / (both[:n, c] - both[n:, c])
        return made

    def log_density(self, points: Points) -> NDArray[np.float64] | None:
        """What the function returns, unless these are scores."""
        return None if self.scoring else self._asked(points, (len(points),))

    def _asked(self, points: Points, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The function's numbers, checked."""
        with self._running():
            given = self.function(points.copy())
            try:
                made = np.array(given, dtype=np.float64)
            except (TypeError, ValueError):
                raise SettingError(
                    f"--target {self.text}: returned {type(given).__name__}, expected numbers"
                ) from None
        if made.shape == (shape[0], 1) and shape[1:] in ((), (1,)):
            made = made.reshape(shape)
        if made.shape != shape:
            other = "" if self.scoring else "; a function that returns ∇ ln p has score in its name"
            what = "scores" if self.scoring else "values of ln p"
            raise SettingError(
                f"--target {self.text}: returned numbers of shape {made.shape}, expected {what} of shape "
                f"{shape}{other}"
            )
        bad = np.argwhere(~np.isfinite(made))
        if len(bad):
            place = ", column ".join(map(str, bad[0]))
            raise SettingError(
                f"--target {self.text}: {made[tuple(bad[0])]} at row {place}, expected finite numbers "
                "wherever particles come"
            )
        return made

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """What the file prints goes to standard error; what it raises becomes one line."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except SettingError:
            raise
        except (Exception, SystemExit) as problem:
            said = (str(problem).strip() or "no message").splitlines()[0]
            place = self._line(problem)
            raise SettingError(
                f"--target {self.text}: {type(problem).__name__}{place}: {said}"
            ) from None

    def _line(self, problem: BaseException) -> str:
        """Where in the file it was raised."""
        found = None
        step = problem.__traceback__
        while step is not None:
            found = step.tb_lineno if step.tb_frame.f_code.co_filename == self.path else found
            step = step.tb_next
        return "" if found is None else f" in line {found}"


class FromFile(FromFunction):
    """The function of a file, which is run when this is made."""

    def __init__(self, text: str) -> None:
        self.text = text
        path, name = _parts(text)
        self.path = path
        self.module = ModuleType("divmatch_target")
        self.module.__file__ = path
        try:
            source = Path(path).read_bytes()
        except OSError as problem:
            raise FileError(f"{path}: cannot be read ({problem.strerror})") from None
        with self._running(), _beside(path):
            exec(compile(source, path, "exec"), self.module.__dict__)
        found = getattr(self.module, name, None)
        if not callable(found):
            raise SettingError(f"--target {text}: {path} has no function '{name}'")
        super().__init__(found, name, text)


def _parts(text: str) -> tuple[str, str]:
    found = NAMED.fullmatch(text)
    assert found is not None  # noqa: S101
    return found["path"], found["name"]


@contextlib.contextmanager
def _beside(path: str) -> Iterator[None]:
    """Modules in the file's folder can be imported, as if it were run by itself."""
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
