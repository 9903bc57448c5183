"""Entry point: exit codes, signals, and the one place where errors become one line.

0 done, 1 a gate failed, 2 the user's mistake, 3 inconclusive, 4 output or memory, 70 a bug; real
deaths by SIGINT, SIGPIPE and SIGTERM. Click alone exits 1 for a broken pipe, Ctrl-C and a crash.
"""

import errno
import os
import signal
import sys

COMPLETE = "_DIVMATCH_COMPLETE"  # the variable that a shell sets to ask for completions
OK, GATE, USAGE, INCONCLUSIVE, OUTPUT, BUG = 0, 1, 2, 3, 4, 70

# Only a write can end so, and every file but standard output is written under its name.
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF)

# One level of threads: ours. BLAS on several would change digits with their number.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
    os.environ[_name] = "1"


def main() -> None:
    """The `divmatch` program."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = _invoke(list(sys.argv[1:] if arguments is None else arguments))
        _flush()
        return code
    except KeyboardInterrupt:
        return _die(signal.SIGINT)
    except _Terminated:
        return _die(signal.SIGTERM)
    except BrokenPipeError:
        return _die(signal.SIGPIPE)
    except OSError as error:
        _mute_stdout()
        where = f"{error.filename}: " if error.filename else ""
        if not where and error.errno in CANNOT_WRITE:
            where = "standard output: "
        say(f"error: {where}{error.strerror or error}")
        return OUTPUT
    except MemoryError:
        say("error: out of memory (try --max-memory or --sample)")
        return OUTPUT
    except Exception as error:
        if os.environ.get("DIVMATCH_DEBUG"):
            import traceback

            traceback.print_exc()  # raising it would exit 1, which means a failed gate
            return BUG
        text = str(error).partition("\n")[0]
        say(f"internal error: {type(error).__name__}: {text}")
        say("rerun with DIVMATCH_DEBUG=1 for a traceback", prefix="    ")
        return BUG


def say(message: str, prefix: str = "divmatch: ") -> None:
    """One line on standard error; a closed or full standard error loses it and nothing else."""
    if sys.stderr is None:  # closed: print would write to standard output instead
        return
    try:
        print(prefix + printable(message), file=sys.stderr, flush=True)  # noqa: T201
    except (OSError, ValueError):
        _point_at_nothing(2)


def printable(text: str) -> str:
    """The text with control characters escaped: file names may hold newlines and colours."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _invoke(arguments: list[str]) -> int:
    import click

    from divmatch.cli.group import app, complain, complete
    from divmatch.errors import DivmatchError

    if sys.stdout is None:  # click would print nothing and call it done
        say("error: -: standard output is closed; give -o FILE and > /dev/null")
        return OUTPUT
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # odd file names must not end a run
    try:
        wanted = os.environ.get(COMPLETE)
        if wanted:
            return complete(wanted)
        with app.make_context("divmatch", arguments) as context:
            result = app.invoke(context)
        return result if isinstance(result, int) else OK
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        return complain(error)
    except DivmatchError as error:
        say(f"error: {error}")
        return error.exit_code


class _Terminated(BaseException):
    """SIGTERM, turned into an exception so that temporary files are removed on the way out."""


def _terminated(number: int, frame: object) -> None:
    raise _Terminated


def _flush() -> None:
    """Full disks and closed pipes must surface here, not while the interpreter shuts down."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _die(number: signal.Signals) -> int:
    """Die of the signal itself, so that the shell sees it and stops a pipeline or a loop."""
    _mute_stdout()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def _mute_stdout() -> None:
    """What is still in the buffer goes nowhere: writing it would fail again."""
    _point_at_nothing(1)


def _point_at_nothing(descriptor: int) -> None:
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, descriptor)
        os.close(nothing)
    except OSError:
        pass


if __name__ == "__main__":
    main()
