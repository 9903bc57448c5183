"""What a long match shows and keeps while it runs: a line of progress, its curve, its checkpoint."""

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cli.plans import archive
from divmatch.cli.progress import Progress
from divmatch.errors import FileError, SettingError
from divmatch.matcher import Watch
from divmatch.outputs import write_whole
from divmatch.samples import Samples

PERIOD = 20.0  # seconds between two checkpoints


class Watched(Watch):
    """A watch that draws, and keeps the state of the fit in ``checkpoint``."""

    def __init__(self, progress: Progress, checkpoint: str | None, identity: str) -> None:
        super().__init__()
        self.progress, self.checkpoint, self.identity = progress, checkpoint, identity
        self.written = time.monotonic()

    def step(self, iteration: int, **numbers: float) -> None:
        """One iteration more on the bar."""
        super().step(iteration, **numbers)
        self.progress.at(" ".join(f"{name} {value:.3g}" for name, value in numbers.items()))
        self.progress.done()

    def at(self, what: str) -> None:
        """A name for the bar, and one item more."""
        self.progress.at(what)
        self.progress.done()

    def kept(self) -> Mapping[str, NDArray[Any]] | None:
        """The state in the file, which must be of this very fit."""
        if self.checkpoint is None or not os.path.exists(self.checkpoint):
            return None
        from zipfile import BadZipFile

        try:
            state = _loaded(self.checkpoint)
        except (OSError, ValueError, EOFError, BadZipFile):
            raise FileError(
                f"--checkpoint {self.checkpoint}: is no checkpoint; remove it or choose another name"
            ) from None
        if str(state.pop("identity", "")) != self.identity:
            raise SettingError(
                f"--checkpoint {self.checkpoint}: belongs to other data or settings; remove it or choose "
                "another name"
            )
        return state

    def keep(self, state: Callable[[], Mapping[str, NDArray[Any]]]) -> None:
        """Write the state, not more often than every 20 seconds."""
        if self.checkpoint is None or time.monotonic() - self.written < PERIOD:
            return
        arrays = {**state(), "identity": np.array(self.identity)}
        write_whole(self.checkpoint, archive(arrays))
        self.written = time.monotonic()

    def finished(self) -> None:
        """The result is written: nothing to go on from."""
        if self.checkpoint is not None and os.path.exists(self.checkpoint):
            os.unlink(self.checkpoint)


def _loaded(path: str) -> dict[str, Any]:
    """The arrays of an .npz file that is whole."""
    with open(path, "rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def curve_csv(curve: tuple[Mapping[str, float], ...]) -> str:
    """One line an iteration."""
    if not curve:
        return "iteration\n"
    names = list(dict.fromkeys(name for row in curve for name in row))
    rows = [",".join(repr(row[name]) if name in row else "" for name in names) for row in curve]
    return "\n".join([",".join(names), *rows, ""])


def named_files(settings: Mapping[str, Any]) -> list[str]:
    """Files that a target names: no output may replace them."""
    parts = re.split("[:,]", str(settings.get("target") or ""))
    return [part.strip() for part in parts if os.path.isfile(part.strip())]


def identity(
    session: Any, chosen: Any, x: Samples, y: Samples | None, settings: Mapping[str, Any]
) -> str:
    """What a checkpoint must agree with."""
    if not session.options.get("checkpoint"):
        return ""
    from zlib import crc32

    from divmatch.provenance import fingerprint

    prints = [fingerprint(one) for one in (x, y) if one is not None]
    prints += [str(crc32(Path(name).read_bytes())) for name in named_files(settings)]
    return repr((session.command, chosen.method, sorted(settings.items()), session.seed, prints))
