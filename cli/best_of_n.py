"""`divmatch best-of-n`: how far choosing the best of n outputs moves a model from its base."""

from collections.abc import Iterator, Mapping
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from divmatch.cli.command import Command
from divmatch.cli.options import (
    choice,
    compute_options,
    gate_options,
    inference_options,
    input_options,
    option,
    output_options,
)
from divmatch.cli.session import Session
from divmatch.errors import FileError, SampleError, SettingError
from divmatch.estimator import Quantity
from divmatch.estimators.best_of_n import bound, divergence_of_chosen, exact
from divmatch.estimators.row_means import TOLERANCES, Mean, block_size, fault
from divmatch.intervals import normal_quantile
from divmatch.kernels.rows import Rows, distributions
from divmatch.matrices import Matrix, open_matrix
from divmatch.record import Interval, Note, Result

BEST = Quantity(
    "best-of-n",
    title="KL(best of {n} || base)",
    unit="nats",
    direction="symmetric",
    default="chosen",
    examples=(),
)


def run(**options: Any) -> int:
    """A result for each n, from one pass over the file."""
    from divmatch.files import check_readable

    session, counts = prepared(options)
    exactly = options["source"] == "probabilities"
    inputs = [options["file"], *([options["rewards"]] if options["rewards"] else [])]
    check_readable(inputs)
    session.spare(inputs)
    matrix = open_matrix(
        options["file"], columns=options["columns"], stdin_format=options["stdin_format"]
    )
    rewards = open_matrix(options["rewards"]) if options["rewards"] else None
    with session.running():
        if exactly:
            means, wins = exact_means(matrix, rewards, counts)
        else:
            means, wins = chosen_means(matrix, counts, logs=options["source"] == "log-epsilon"), []
    results = [
        result(n, mean, wins[k] if wins else None, matrix, options)
        for k, (n, mean) in enumerate(zip(counts, means, strict=True))
    ]
    session.settings |= {"level": options["level"]}
    for one in results:
        session.warn(one.warnings)
    inputs_of = [{"role": "p", "name": matrix.name}]
    if session.needs_inputs():
        inputs_of = [described(matrix)]
    return session.report(inputs_of, results, session.verdict(results))


def prepared(options: Mapping[str, Any]) -> tuple[Session, list[int]]:
    """What can be said before any data are read."""
    counts = [] if options["n"] is None else numbers_of(options["n"])
    if options["rewards"] and options["source"] != "probabilities":
        raise SettingError("--rewards: has an effect only with --from probabilities")
    return Session("best-of-n", {**options, "seed": "0"}), counts


def numbers_of(text: str) -> list[int]:
    """The values of -n, each once."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not part.isdecimal() or not 1 <= int(part) <= 10**12:
            raise SettingError(f"-n {part}: expected a whole number from 1 to 1e12")
    if len(set(map(int, parts))) < len(parts):
        raise SettingError(f"-n {text}: a number is named twice")
    return [int(part) for part in parts]


def blocks_of(matrix: Matrix) -> Iterator[tuple[int, NDArray[Any]]]:
    """First row and numbers of each block."""
    size = block_size(matrix)
    for k, load in enumerate(matrix.blocks(size)):
        yield k * size, load()


def chosen_means(matrix: Matrix, counts: list[int], *, logs: bool) -> list[Mean]:
    """Means of the estimates from ε, or ln ε, of the output chosen for each prompt."""
    if matrix.classes > 1 and matrix.rows > 1:
        raise FileError(
            f"{matrix.name}: has {matrix.classes} columns, expected one number a prompt; pick a "
            "column, or choose --from probabilities"
        )
    means = [Mean() for _ in counts]
    for start, block in blocks_of(matrix):
        values = block.reshape(-1).astype(np.float64)
        wrong = np.flatnonzero(~((values <= 0) if logs else (values >= 0) & (values <= 1)))
        if len(wrong):
            expected = "a logarithm, at most 0" if logs else "a probability"
            raise SampleError(
                f"{matrix.name}: prompt {start + wrong[0]} has {values[wrong[0]]:.6g}, expected "
                f"{expected}"
            )
        with np.errstate(divide="ignore"):
            log_eps = values if logs else np.log(values)
        rows = start + np.arange(len(values))
        for mean, n in zip(means, counts, strict=True):
            mean.add(divergence_of_chosen(log_eps, n), np.ones(len(values)), rows)
    return means


def exact_means(
    matrix: Matrix, rewards: Matrix | None, counts: list[int]
) -> tuple[list[Mean], list[Mean]]:
    """Means of the divergences and of the win rates of every row."""
    shared = rewards is not None and rewards.rows == 1
    if rewards is not None and (
        rewards.classes != matrix.classes or rewards.rows not in (1, matrix.rows)
    ):
        raise SampleError(
            f"{rewards.name} has {rewards.rows} x {rewards.classes} rewards, {matrix.name} has "
            f"{matrix.rows} x {matrix.classes} outputs; give one reward an output, or one row of them"
        )
    rows = Rows(tolerance=TOLERANCES.get(matrix.bits, TOLERANCES[64]))
    means, wins = [Mean() for _ in counts], [Mean() for _ in counts]
    others = None if rewards is None else blocks_of(rewards)
    reward: NDArray[np.float64] | None = None
    for start, block in blocks_of(matrix):
        base, sound = distributions(block, rows)
        if not sound.all():
            row = int(np.flatnonzero(~sound)[0])
            raise SampleError(f"{matrix.name}: row {start + row} {fault(block[row], rows)}")
        if rewards is not None and others is not None and (start == 0 or not shared):
            reward = next(others)[1].astype(np.float64)
            if np.isnan(reward).any():
                row = int(np.flatnonzero(np.isnan(reward).any(axis=1))[0])
                raise SampleError(f"{rewards.name}: row {start + row} has NaN")
        numbers, ones = start + np.arange(len(base)), np.ones(len(base))
        for k, n in enumerate(counts):
            values, won = exact(base, n, reward)
            means[k].add(values, ones, numbers)
            wins[k].add(won, ones, numbers)
    return means, wins


def result(n: int, mean: Mean, win: Mean | None, matrix: Matrix, options: dict[str, Any]) -> Result:
    """One n as a record; the bound and the win rate stand among its parameters."""
    notes: tuple[Note, ...] = ()
    interval = None
    if mean.se is not None:
        half = normal_quantile(0.5 + options["level"] / 2) * mean.se
        interval = Interval(options["level"], mean.mean - half, mean.mean + half, "influence")
    else:
        notes = (Note("W10", f"{mean.count} prompts: too few for a standard error"),)
    rate = {} if win is None else {"win_rate": win.mean, "win_rate_bound": n / (n + 1)}
    return Result(
        metric="best-of-n",
        method="chosen" if win is None else "exact",
        value=mean.mean,
        unit="nats",
        direction="symmetric",
        n=(mean.count,),
        d=matrix.classes if win is not None else 1,
        se=mean.se,
        ci=interval,
        params={"n": n, "from": options["source"], "bound": bound(n), **rate},
        exact=win is not None,
        id=f"best-of-n:n={n}",
        status="warn" if notes else "ok",
        warnings=notes,
    )


def described(matrix: Matrix) -> dict[str, Any]:
    """The input of the record."""
    from hashlib import blake2b

    digest = blake2b(repr((matrix.rows, matrix.classes)).encode(), digest_size=8)
    for _, block in blocks_of(matrix):
        digest.update(np.ascontiguousarray(block).view(np.uint8).data)
    return {
        "role": "p",
        "name": matrix.name,
        "kind": matrix.kind,
        "rows": matrix.rows,
        "cols": matrix.classes,
        "fingerprint": f"blake2b:{digest.hexdigest()}",
    }


_SECTIONS: dict[str, list[click.Parameter]] = {
    "Reading": [p for p in input_options(pair=False) if p.name in ("columns", "stdin_format")],
    "Uncertainty": [p for p in inference_options() if p.name == "level"],
    "Limits": gate_options(),
    "Output": output_options(),
    "Machine": compute_options(),
}
HELP = """How far choosing the best of n outputs moves a model from its base: KL(best of n || base).

FILE holds, for each prompt, the probability eps (or its logarithm) that the base model gives to the
output that was chosen; the divergence is estimated from these numbers alone and averaged over the
prompts. It never exceeds ln n - (n - 1)/n, which is printed beside it: the bound is reached only
where no output has a probability of its own, and it grows with n while the divergence ends at -ln eps
of the best output.

With --from probabilities, FILE holds one row of base probabilities a prompt, outputs in ascending
order of reward (or --rewards), and divergence and win rate are exact: sum of pi_n (F - pi/2), at most
n/(n + 1). Outputs of equal reward count as one, which is the same as breaking ties at random."""

COMMANDS: dict[str, click.Command] = {
    "best-of-n": Command(
        "best-of-n",
        callback=run,
        params=[
            click.Argument(["file"], metavar="FILE"),
            option(
                "-n",
                "--n",
                "n",
                metavar="N,...",
                required=True,
                envvar=None,
                help="Outputs to choose from; several with commas.",
            ),
            option(
                "--from",
                "source",
                type=choice("epsilon", "log-epsilon", "probabilities"),
                default="epsilon",
                show_default=True,
                envvar=None,
                help="What the file holds.",
            ),
            option(
                "--rewards",
                metavar="FILE",
                help="Rewards of the outputs, in one row or as many as FILE has.",
            ),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch best-of-n eps.npy -n 4,16",
            "divmatch best-of-n teacher.npy -n 4 --from probabilities",
        ),
        help=HELP,
        short_help="KL between the best of n outputs and the base model.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-best-of-n has more.",
    )
}
