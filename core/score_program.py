"""A program that is asked for scores: started once, kept alive between questions, gone afterwards."""

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import tempfile
import time
from typing import IO

import numpy as np

from divmatch.errors import SettingError, counted
from divmatch.samples import Points
from divmatch.target_kinds import Target

PATIENCE = 0.5  # seconds that a program has to end by itself
CHUNK = 1 << 16
WORD = 64  # bytes of one number, at the most


class Program(Target):
    """Scores by a program: n lines of d numbers and an empty line in, n lines of d numbers out."""

    def __init__(self, command: str, timeout: float) -> None:
        self.name, self.timeout = f"--score-command {command}", timeout
        try:
            words = shlex.split(command)
        except ValueError as problem:
            raise SettingError(f"{self.name}: {problem}") from None
        if not words:
            raise SettingError("--score-command: names no program")
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the program)
        try:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                start_new_session=True,  # so that all that it starts can be ended with it
            )
        except OSError as problem:
            self.errors.close()
            raise SettingError(f"{self.name}: cannot be started ({problem.strerror})") from None
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.input, False)
        os.set_blocking(self.output, False)
        self.rest = b""  # of a line that has begun

    def scores(self, points: Points) -> Points:
        """Ask, and check the answer."""
        lines = self._answer(_text(points), len(points), points.shape[1])
        rows = [line.replace(b",", b" ").split() for line in lines]
        for k, row in enumerate(rows):
            if len(row) != points.shape[1]:
                raise self._error(
                    f"line {k} of its answer has {counted(len(row), 'number')}, expected "
                    f"{points.shape[1]}: one for each column"
                )
        try:
            made = np.array(rows).astype(np.float64)
        except ValueError:
            k, word = next((k, word) for k, row in enumerate(rows) for word in row if not _is(word))
            raise self._error(
                f"line {k} of its answer: {_shown(word)} is no number; it must write scores alone"
            ) from None
        bad = np.argwhere(~np.isfinite(made))
        if len(bad):
            row, column = bad[0]
            raise self._error(f"the score of row {row}, column {column} is {made[row, column]}")
        return made

    def finish(self) -> None:
        """Let it end by itself: what it still says is the answer to no question."""
        assert self.process.stdin is not None  # noqa: S101
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        until = time.monotonic() + PATIENCE
        left = self.rest
        with selectors.DefaultSelector() as ready:
            ready.register(self.output, selectors.EVENT_READ)
            while not left.strip() and ready.select(max(0.0, until - time.monotonic())):
                chunk = os.read(self.output, CHUNK)
                if not chunk:
                    return
                left += chunk
        if left.strip():
            raise self._error("wrote more lines than the rows that it was asked for")

    def close(self) -> None:
        """End the program and all that it has started."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        for end in (None, signal.SIGTERM, signal.SIGKILL):
            if end is not None:
                self._signal(end)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
                break
        self._signal(signal.SIGKILL)
        self.errors.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def _answer(self, question: bytes, n: int, d: int) -> list[bytes]:
        """The lines of one answer: reads while it writes, so that neither waits for the other."""
        until = time.monotonic() + self.timeout
        lines: list[bytes] = []
        told = 0
        with selectors.DefaultSelector() as ready:
            ready.register(self.output, selectors.EVENT_READ)
            if self._read(lines, d, told == len(question)) or lines:
                raise self._error("wrote lines before it was asked, or more lines than rows")
            ready.register(self.input, selectors.EVENT_WRITE)
            while len(lines) < n or told < len(question):
                events = ready.select(max(0.0, until - time.monotonic()))
                if not events:
                    raise self._error(
                        f"gave {counted(len(lines), 'line')} for {counted(n, 'row')} within "
                        f"{self.timeout:g} s (--timeout); it must flush its output"
                    )
                for key, _ in events:
                    if key.fd == self.output:
                        self._read(lines, d, told == len(question))
                        continue
                    told += self._write(question[told : told + CHUNK])
                    if told == len(question):
                        ready.unregister(self.input)
        if len(lines) > n or self.rest.strip():
            raise self._error(
                f"wrote more lines than the {counted(n, 'row')} that it was asked for; the empty line after "
                "them has no answer"
            )
        return lines

    def _read(self, lines: list[bytes], d: int, asked: bool) -> bool:
        """Take what is there; whether there was anything but empty lines."""
        try:
            chunk = os.read(self.output, CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            raise self._death()
        *whole, self.rest = (self.rest + chunk).split(b"\n")
        lines += [line for line in whole if line.strip()]
        if len(self.rest) > WORD * (d + 1):
            raise self._error(f"wrote {_shown(self.rest)}...: a line that does not end")
        return not asked and bool(self.rest.strip())

    def _write(self, part: bytes) -> int:
        try:
            return os.write(self.input, part)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise self._death() from None

    def _death(self) -> SettingError:
        """It has ended, or closed its output: with its own last words."""
        try:
            code = self.process.wait(PATIENCE)
            how = f"killed by signal {-code}" if code < 0 else f"exit {code}"
            text = f"ended before it had answered ({how})"
        except subprocess.TimeoutExpired:
            text = "closed its input or output before it had answered"
        self.errors.seek(0)
        said = self.errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        return self._error(text + (f": {said[-1].strip()}" if said else ""))

    def _error(self, text: str) -> SettingError:
        return SettingError(f"{self.name}: {text}")


def _text(points: Points) -> bytes:
    """Lines of numbers, every digit of them, and an empty line."""
    lines = [" ".join(map(repr, row)) for row in points.tolist()]
    return "\n".join([*lines, "\n"]).encode()


def _is(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _shown(word: bytes) -> str:
    return repr(word[:40].decode(errors="replace"))
