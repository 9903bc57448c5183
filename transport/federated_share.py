"""The federated distance between two processes that share a folder and nothing else.

The first party keeps ξ: round k begins with its file `xi-k.npz`; the second answers with `H-k.npz`, the
measure between ξ and its own, and how far ξ is from its own. What the first finds stays with it. Files
appear whole, by a rename, hold numbers alone, and carry the marks that both parties drew at the start,
so that no file of another run is taken for one of this.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.arrays import load_array
from divmatch.errors import FileError, InconclusiveError, SampleError, SettingError
from divmatch.outputs import whole_file
from divmatch.places import Place
from divmatch.transport.federated import Array, Course, Measure, Terms, met, moved

Role = Literal["first", "second"]
Mark = NDArray[np.uint8]

OTHER: dict[str, Role] = {"first": "second", "second": "first"}
OURS = ("first.npz", "second.npz", "result.npz", "xi-", "H-")
MARK = 16  # bytes
EVERY = 0.1  # seconds between two looks


@dataclass
class Share:
    """A folder in which two parties leave files for each other; ``look`` is told what is waited for.

    ``passed`` is called after every round.
    """

    folder: str
    role: Role
    timeout: float = 600.0
    look: Callable[[str], None] = lambda _: None
    passed: Callable[[], None] = lambda: None
    marks: Mark = field(default_factory=lambda: np.zeros(0, np.uint8))

    def meet(self, terms: Terms, d: int) -> None:
        """Refuse what an earlier run has left; then agree with the other party."""
        self._fresh()
        own = np.frombuffer(os.urandom(MARK), np.uint8)
        spoken = json.dumps({**asdict(terms), "columns": d}, sort_keys=True)
        self._write(
            f"{self.role}.npz", {"mark": own, "terms": np.frombuffer(spoken.encode(), np.uint8)}
        )
        name = f"{OTHER[self.role]}.npz"
        self.wait(name)
        mark, heard = self._bytes(name, "mark"), self._bytes(name, "terms")
        if len(mark) != MARK:
            raise FileError(f"{self._path(name)}: is no file of this exchange; empty the folder")
        self._agreed(name, spoken, heard.tobytes())
        pair = (own, mark) if self.role == "first" else (mark, own)
        self.marks = np.concatenate(pair)

    def _fresh(self) -> None:
        if not os.path.isdir(self.folder):
            raise FileError(
                f"--share {self.folder}: no such folder; make one that both parties see"
            )
        theirs = f"{OTHER[self.role]}.npz"  # nobody goes on before both have begun
        held = sorted(n for n in os.listdir(self.folder) if n.startswith(OURS) and n != theirs)
        if held:
            raise FileError(
                f"--share {self.folder}: holds {held[0]} of an earlier run; empty the folder"
            )

    def _agreed(self, name: str, spoken: str, heard: bytes) -> None:
        """Both parties must mean the same."""
        try:
            theirs = json.loads(heard)
        except ValueError:
            raise FileError(
                f"{self._path(name)}: is no file of this exchange; empty the folder"
            ) from None
        for key, own in json.loads(spoken).items():
            other = theirs.get(key) if isinstance(theirs, dict) else None
            if other == own:
                continue
            if key == "columns":
                raise SampleError(
                    f"--share {self.folder}: the {OTHER[self.role]} party has {other} columns, this one "
                    f"{own}; both need the same"
                )
            raise SettingError(
                f"--share {self.folder}: the {OTHER[self.role]} party has {key} {other}, this one {own}; "
                "both need the same settings"
            )

    def put(self, name: str, measure: Measure, **more: float) -> None:
        """A measure, and numbers beside it."""
        numbers = {key: np.float64(value) for key, value in more.items()}
        held = {"points": measure.points, "masses": measure.masses, **numbers}
        self._write(name, {"marks": self.marks, **held})

    def get(self, name: str, columns: int) -> Measure:
        """The measure in a file of this run."""
        self._check(name)
        points, masses = self._numbers(name, "points"), self._numbers(name, "masses")
        whole = points.ndim == 2 and points.shape == (len(masses), columns) and len(masses) > 0
        if not whole or not (masses >= 0).all() or abs(float(masses.sum()) - 1.0) > 1e-12:
            raise FileError(f"{self._path(name)}: holds no measure of {columns} columns")
        return Measure(points, masses)  # the bits that the other party has

    def finish(self, bounds: list[float], sizes: list[int]) -> None:
        """The end, for the other party."""
        held = {"bounds": np.array(bounds), "sizes": np.array(sizes, dtype=np.float64)}
        self._write("result.npz", {"marks": self.marks, **held})

    def result(self) -> tuple[list[float], list[int]]:
        """What the first party found."""
        self._check("result.npz")
        bounds, sizes = (self._numbers("result.npz", key) for key in ("bounds", "sizes"))
        if bounds.ndim != 1 or bounds.shape != sizes.shape or not len(bounds):
            raise FileError(f"{self._path('result.npz')}: holds no result")
        return bounds.tolist(), [int(size) for size in sizes]

    def number(self, name: str, key: str) -> float:
        """A number beside a measure."""
        found = self._numbers(name, key)
        if found.size != 1 or not found.reshape(()) >= 0:
            raise FileError(f"{self._path(name)}: '{key}' is no distance")
        return float(found.reshape(()))

    def wait(self, *names: str) -> str:
        """The first of these files that is there."""
        until = time.monotonic() + self.timeout
        while True:
            for name in names:
                if os.path.exists(self._path(name)):
                    return name
            if time.monotonic() > until:
                raise InconclusiveError(
                    f"--share {self.folder}: no {names[0]} from the {OTHER[self.role]} party within "
                    f"{self.timeout:g} s; start it with the same --share, or raise --timeout"
                )
            self.look(f"waiting for {names[0]}")
            time.sleep(EVERY)

    # ---------------------------------------------------------------------------------- files

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _write(self, name: str, arrays: dict[str, Any]) -> None:
        with whole_file(self._path(name)) as file:
            np.savez(file, **arrays)

    def _check(self, name: str) -> None:
        if not np.array_equal(self._bytes(name, "marks"), self.marks):
            raise FileError(
                f"{self._path(name)}: is of another run; empty the folder and begin again"
            )

    def _bytes(self, name: str, key: str) -> Mark:
        found = self._array(name, key)
        if found.dtype != np.uint8 or found.ndim != 1:
            raise FileError(f"{self._path(name)}: '{key}' is no text")
        return np.asarray(found, np.uint8)

    def _numbers(self, name: str, key: str) -> Array:
        found = self._array(name, key)
        if found.dtype.kind != "f" or not np.isfinite(found).all():
            raise FileError(f"{self._path(name)}: '{key}' does not hold finite numbers")
        return np.ascontiguousarray(found, dtype=np.float64)

    def _array(self, name: str, key: str) -> NDArray[Any]:
        path = self._path(name)
        return load_array(Place(path, "npz", (path,), key), "npz", path)


def as_first(share: Share, own: Measure, terms: Terms) -> tuple[Course, Measure]:
    """The party that keeps ξ."""
    d = own.points.shape[1]
    share.meet(terms, d)
    course, support = Course(terms), terms.first(d)
    for at, (at_own, _, at_met) in enumerate(terms.times()):
        share.put(f"xi-{at}.npz", support)
        step = moved(support, own, at_own, terms)
        name = share.wait(f"H-{at}.npz")
        answer = share.get(name, d)
        course.add(support, step)
        course.bounds[-1] += share.number(name, "distance")
        share.passed()
        if course.done:
            break
        support = met(answer, step.between, at_met, terms, course)
    share.finish(course.bounds, course.sizes)
    return course, support


def as_second(share: Share, own: Measure, terms: Terms) -> tuple[Course, Measure]:
    """The party that answers."""
    d = own.points.shape[1]
    share.meet(terms, d)
    course = Course(terms)
    support = own
    for at, (_, at_own, _) in enumerate(terms.times()):
        if share.wait(f"xi-{at}.npz", "result.npz") == "result.npz":
            break
        support = share.get(f"xi-{at}.npz", d)
        step = moved(support, own, at_own, terms)
        course.capped |= step.capped
        course.proven &= step.proven
        share.put(f"H-{at}.npz", step.between, distance=step.distance)
        share.passed()
    course.bounds, course.sizes = share.result()
    return course, support
