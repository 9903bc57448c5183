"""Matching: fit a method to P and Q, and measure what it has done on rows that the fit has not seen.

Every command of `divmatch match` is a function here: ``divmatch.match.weights(x, y, moments=2)``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.catalogue import MATCHES
from divmatch.cautions import weight_notes
from divmatch.crossfit import combined
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimator, parse_metric
from divmatch.inference import infer
from divmatch.kernels.execution import one_blas_thread
from divmatch.matcher import Couples, Fit, Matcher, Task, Watch, task
from divmatch.randomness import stream
from divmatch.record import UNDECIDED, Note, Result
from divmatch.samples import Samples, as_samples, check_partners

FEWEST = 4  # rows of a sample that can be halved
NONE = "none"


@dataclass(frozen=True, eq=False)
class Matched:
    """What `divmatch match` made, and how near P is to Q before and after it.

    ``results`` are before, after and, of weights, their effective sample size. ``held_out`` says
    which rows the fits behind "after" have not seen: of "both" samples, of "Q" alone, or of "none".
    """

    task: str
    method: str
    settings: Mapping[str, Any]
    fit: Fit
    x: Samples
    results: tuple[Result, ...]
    held_out: str
    curve: tuple[Mapping[str, float], ...] = field(default=(), repr=False)

    @property
    def converged(self) -> bool:
        """Whether the fit to all rows was."""
        return self.fit.converged

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weights of the rows, sum 1."""
        return self.fit.applied(self.x).masses()

    @property
    def points(self) -> NDArray[np.float64]:
        """The rows as they are now."""
        return self.fit.applied(self.x).points

    @property
    def rows(self) -> NDArray[np.intp] | None:
        """The numbers of the rows chosen."""
        return self.fit.rows

    @property
    def couples(self) -> Couples | None:
        """The pairs of rows."""
        return self.fit.couples

    def map(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Where any rows would go, (N, d) to (N, d)."""
        if self.fit.mapping is None:
            raise SettingError(
                f"match {self.task} --method {self.method}: makes no map of other rows"
            )
        at = as_samples(rows, "rows")
        check_partners(self.x, at)
        with one_blas_thread(), np.errstate(all="ignore"):
            return self.fit.mapping(at.points)

    def of(self, name: str) -> Result | None:
        """The result called before, after or ess."""
        return next((result for result in self.results if result.id == name), None)

    @property
    def before(self) -> Result | None:
        """The divergence before."""
        return self.of("before")

    @property
    def after(self) -> Result | None:
        """The divergence after, on rows that the fit has not seen."""
        return self.of("after")


def matched(
    matcher: Matcher,
    x: Samples,
    y: Samples | None,
    settings: Mapping[str, Any],
    *,
    metric: str | None = None,
    level: float = 0.95,
    seed: int = 0,
    watch: Watch | None = None,
) -> Matched:
    """Fit to all rows; measure fits to a half of them on the other half.

    Parameters
    ----------
    matcher : Matcher
        The method of a task.
    x, y : Samples
        P and Q with the same columns; y is None where the method looks at P alone.
    settings : mapping
        Checked settings of the matcher.
    metric : str, optional
        What before and after are measured with, ``name[:key=value,...]``; "none" measures nothing.
    level : float
        Confidence level of the intervals.
    seed : int
        Seed of all randomness.
    watch : Watch, optional
        Is told of every iteration of the fit to all rows.

    Returns
    -------
    Matched
        The fit with its results. A fit that was not converged makes them inconclusive.
    """
    _check(matcher, x, y, level)
    watch = watch or Watch()
    fitted = partial(_fitted, matcher, settings=settings, seed=seed)
    with one_blas_thread(), np.errstate(all="ignore"):  # what is undefined is refused below
        fit = fitted(x, y, watch=watch, part="all").complete()
        results, held = _measured(matcher, fit, fitted, x, y, metric, level, seed)
    notes = _notes(matcher, fit, x)
    results += [replace(one, method=matcher.method) for one in fit.results]
    results = [one if one.id == "before" else _warned(one, notes) for one in results]
    if matcher.task.product == "weights":
        results.append(_warned(_size(matcher, fit.applied(x)), notes))
    made = {**settings, **fit.params}
    return Matched(
        matcher.task.name, matcher.method, made, fit, x, tuple(results), held, tuple(watch.curve)
    )


def _check(matcher: Matcher, x: Samples, y: Samples | None, level: float) -> None:
    check_partners(x, y)
    if not 0 < level < 1:
        raise SettingError(f"--level {level}: expected a number above 0, below 1")
    if y is None and matcher.candidate == "always":
        raise SettingError(f"{matcher.task.name} --method {matcher.method}: needs the rows of Q")
    if y is not None and matcher.candidate == "never":
        raise SettingError(
            f"{matcher.task.name} --method {matcher.method}: looks at P alone; leave Q out"
        )


def _fitted(
    matcher: Matcher,
    x: Samples,
    y: Samples | None,
    *,
    settings: Mapping[str, Any],
    seed: int,
    part: str,
    watch: Watch | None = None,
) -> Fit:
    """One fit; random methods draw from a stream of their own for each part of the rows."""
    hidden: dict[str, Any] = {}
    if matcher.random:
        hidden["rng"] = stream(seed, "match", matcher.task.name, part)
    if matcher.watched:
        hidden["watch"] = watch or Watch()
    return matcher(x, y, **settings, **hidden)


# ------------------------------------------------------------------------------ before and after


def _measured(
    matcher: Matcher,
    fit: Fit,
    fitted: Callable[..., Fit],
    x: Samples,
    y: Samples | None,
    metric: str | None,
    level: float,
    seed: int,
) -> tuple[list[Result], str]:
    """Before and after, and which rows were held out."""
    if metric == NONE or y is None or matcher.task.product == "pairs":
        return _of_figure(matcher, fit, x, y), "none"
    held = "Q" if fit.extend is None else "both"
    of = matcher.task
    try:
        measure, chosen = parse_metric(
            metric or (of.unheld if held == "Q" else of.metric), scoring=False
        )
    except SettingError as error:
        raise SettingError(f"--metric: {error}") from None
    if min(x.n, y.n) < FEWEST:
        note = Note("W70", f"n = {x.n}, {y.n}: too few rows to hold some out, so no figure after")
        return [_undecided(measure, chosen, x, y, note, name) for name in ("before", "after")], held
    together = partial(combined, level=level, n=(x.n, y.n), shared=held == "Q")
    undecided = partial(_undecided, measure, chosen, x, y)
    inferred = partial(infer, measure, settings=chosen, level=level, seed=seed)
    halves = _halves(x, y, seed, both=held == "both")
    try:
        first = together([inferred(x=other[0], y=other[1]) for _, other in halves], name="before")
    except InconclusiveError as error:
        note = Note("W70", f"no figure of a half of the rows: {error}")
        return [undecided(note, name) for name in ("before", "after")], held
    after = []
    try:
        for k, (known, other) in enumerate(halves):
            found = fitted(*known, part=f"half {k}")
            made = found.applied(other[0]) if found.extend is None else found.extend(other[0])
            after.append(_flagged(inferred(x=made, y=other[1]), found))
    except InconclusiveError as error:
        note = Note("W70", f"no fit to a half of the rows, so no figure after: {error}")
        return [first, undecided(note, "after")], held
    return [first, together(after, name="after")], held


Pair = tuple[Samples, Samples]


def _halves(x: Samples, y: Samples, seed: int, *, both: bool) -> list[tuple[Pair, Pair]]:
    """(Rows to fit to, rows to measure on), twice; P is whole in all of them unless ``both``."""
    rng = stream(seed, "match", "halves")
    parts = []
    for samples, split in ((x, both), (y, True)):
        if not split:
            parts.append((samples, samples))
            continue
        order = rng.permutation(samples.n)
        cut = samples.n // 2
        parts.append((samples.take(np.sort(order[:cut])), samples.take(np.sort(order[cut:]))))
    (x_first, x_second), (y_first, y_second) = parts
    first, second = (x_first, y_first), (x_second, y_second)
    return [(first, second), (second, first)]


def _flagged(result: Result, fit: Fit) -> Result:
    """A half that was not converged makes the figure of both inconclusive."""
    return (
        result if fit.converged else _warned(result, (_unconverged("a fit to a half of the rows"),))
    )


def _unconverged(what: str) -> Note:
    return Note("W68", f"{what} was not converged: the figure after decides no limit")


def _of_figure(matcher: Matcher, fit: Fit, x: Samples, y: Samples | None) -> list[Result]:
    """The method's own figure: of known targets, so that nothing is to be held out."""
    if fit.figure is None:
        return []
    of, n = fit.figure, (x.n,) if y is None else (x.n, y.n)
    return [
        Result(of.metric, matcher.method, value, of.unit, "P", n, x.d, better=of.better, id=name)
        for name, value in (("before", of.before), ("after", of.after))
    ]


def _undecided(
    measure: Estimator, settings: Mapping[str, Any], x: Samples, y: Samples, note: Note, name: str
) -> Result:
    of = measure.quantity
    return Result(
        of.name, measure.method, np.nan, of.unit_of(settings), of.direction_of(settings), (x.n, y.n),
        x.d, params=settings, better=of.better, status="inconclusive", id=name,
        warnings=(note,) if name == "after" else (),
    )  # fmt: skip


# --------------------------------------------------------------------------------------- weights


def sizes(x: Samples, base: Samples) -> dict[str, float]:
    """Kish's effective size, the largest weight as a multiple of 1/n, KL from the base weights.

    With rows that the base has not, a fit knows its own KL.
    """
    weights, before = x.masses(), base.masses()
    made = {
        "ess": float(1.0 / np.sum(weights**2)),
        "max_weight": float(weights.max()) * len(weights),
    }
    if len(weights) == len(before):
        kept = weights > 0
        ratio = np.divide(weights, before, out=np.ones_like(weights), where=kept & (before > 0))
        made["kl"] = float(np.sum(weights[kept] * np.log(ratio[kept]))) + 0.0
    return made


def _size(matcher: Matcher, x: Samples) -> Result:
    ess = float(1.0 / np.sum(x.masses() ** 2))
    return Result("ess", matcher.method, ess, "rows", "P", (x.n,), x.d, better="higher", id="ess")


def _notes(matcher: Matcher, fit: Fit, x: Samples) -> tuple[Note, ...]:
    """What the fit to all rows says, and the weights that it made."""
    notes = fit.notes
    if not fit.converged:
        notes = (_unconverged(f"{matcher.task.name} --method {matcher.method}"), *notes)
    return (*notes, *weight_notes(fit.applied(x), None))


def _warned(result: Result, notes: tuple[Note, ...]) -> Result:
    """The result with more warnings, each code once."""
    known = {note.code for note in notes}
    kept = (*notes, *(note for note in result.warnings if note.code not in known))
    status = result.status
    if any(note.code in UNDECIDED for note in kept):
        status = "inconclusive"
    elif kept and status == "ok":
        status = "warn"
    return replace(result, warnings=kept, status=status)


# ------------------------------------------------------------------------------ Python functions


def __getattr__(name: str) -> Any:
    """The function of a task: `divmatch.match.weights(x, y, method="entropy")`, or `mixture`."""
    if name in MATCHES:
        return _function_of(task(name))
    if name == "mixture":
        from divmatch.mixing import mixture

        return mixture
    raise AttributeError(f"module 'divmatch.match' has no attribute '{name}'")


def _function_of(of: Task) -> Any:
    def made(
        x: Any = None,
        y: Any = None,
        *,
        method: str | None = None,
        metric: str | None = None,
        weights_x: Any = None,
        weights_y: Any = None,
        level: float = 0.95,
        seed: int = 0,
        **settings: Any,
    ) -> Matched:
        method = settings.pop(of.choice, method) if of.choice else method
        chosen, settings = of.spelled(method, settings)
        checked = chosen.checked(settings)
        p = of.begin(checked, seed) if x is None and of.begin else as_samples(x, "x", weights_x)
        q = None if y is None else as_samples(y, "y", weights_y)
        return matched(chosen, p, q, checked, metric=metric, level=level, seed=seed)

    made.__name__ = made.__qualname__ = of.name
    made.__doc__ = of.methods[of.default].doc
    return made
