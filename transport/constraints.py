"""What weights have to reproduce: moments of Q's columns and given margins, as features of P's rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError, counted, suggestion
from divmatch.margins import Margins
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.scaling import own_units
from divmatch.transport.feasibility import least_slack

Array = NDArray[np.float64]
EDGE = 1e-12  # in standard deviations: a target this near to the end of P's values is at it
SHOWN = 3  # constraints that a message names


@dataclass(frozen=True)
class Feature:
    """A product of powers of columns: z of column 3 squared is ((3, 2),)."""

    powers: tuple[tuple[int, int], ...]

    @property
    def plain(self) -> bool:
        """Whether it is a column itself."""
        return len(self.powers) == 1 and self.powers[0][1] == 1

    def named(self, names: Sequence[str], mean: Array) -> str:
        """`age`, `(age - 41.2)^2`, `(age - 41.2)(income - 30)`."""
        if self.plain:
            return names[self.powers[0][0]]
        parts = [
            f"({names[j]} {'-' if mean[j] >= 0 else '+'} {abs(mean[j]):.4g})"
            + (f"^{power}" if power > 1 else "")
            for j, power in self.powers
        ]
        return "".join(parts)

    def units(self, mean: Array, unit: Array) -> tuple[float, float]:
        """What is added to, and multiplied with, a value of the feature in the columns' own units."""
        offset = float(mean[self.powers[0][0]]) if self.plain else 0.0
        return offset, float(np.prod([unit[j] ** power for j, power in self.powers]))


@dataclass(frozen=True, eq=False)
class Constraints:
    """Features of mean 0 and deviation 1 under P's own weights, and what their mean has to be.

    ``of`` gives the features of other rows. ``allowed`` marks the rows that may have weight at all:
    where Q has no row of a category, no row of P keeps any. ``asked`` are all features with their
    targets, those too that are settled by whose rows are allowed.
    """

    names: tuple[str, ...]
    features: Array
    targets: Array
    offset: Array
    scale: Array
    allowed: NDArray[np.bool_]
    of: Callable[[Samples], tuple[Array, NDArray[np.bool_]]]
    notes: tuple[Note, ...] = ()
    asked: tuple[Array, Array] | None = None

    def gaps(self, weights: Array) -> Array:
        """How far every mean is from its target, in deviations: of settled features too."""
        features, targets = self.asked or (self.features, self.targets)
        made: Array = weights @ features - targets
        return made

    def shown(self, k: int, value: float) -> str:
        """A value of the k-th feature in its own unit."""
        part, offset = value * self.scale[k], self.offset[k]
        rounded = abs(part + offset) <= 1e-12 * (abs(part) + abs(offset))
        return "0" if rounded else f"{part + offset:.4g}"


def constraints_of(
    x: Samples,
    y: Samples | None,
    moments: int,
    interactions: bool,
    margins: Margins | None,
    delta: float,
) -> Constraints:
    """Moments of Q up to an order for the columns without a margin; the margins for the others."""
    own = own_units(x)
    names = x.columns or tuple(str(j) for j in range(x.d))
    q = x.masses()
    mean = q @ own
    spread = np.sqrt(np.maximum(q @ (own - mean) ** 2, 0.0))
    spread = np.where(spread <= 1e-12 * np.abs(mean), 0.0, spread)
    flat = spread == 0.0
    unit = np.where(flat, 1.0, spread)
    given, fixed = _margins(names, mean, unit, margins)
    wanted: list[Feature] = [*fixed]
    if y is not None:
        free = [j for j in range(x.d) if names[j] not in given]
        wanted += _moments(free, flat, moments, interactions)
    if not wanted:
        raise SettingError(
            "--moments 0: nothing is left to reproduce; give --moments 1 or more, or --margins"
            if moments == 0
            else "--moments: no column is left to constrain; give Q or --margins"
        )

    def raw(samples: Samples) -> Array:
        z = np.array(own_units(samples).T, order="C")  # a feature is a row: passes are along it
        z -= mean[:, None]
        z /= unit[:, None]
        made = np.empty((len(wanted), samples.n))
        for row, feature in zip(made, wanted, strict=True):
            _multiply(z, feature, row)
        return made.T

    values = raw(x)
    targets = np.array([fixed.get(feature, np.nan) for feature in wanted])
    if y is not None:
        targets = np.where(np.isnan(targets), y.masses() @ raw(y), targets)
    labels = [feature.named(names, mean) for feature in wanted]
    units = np.array([feature.units(mean, unit) for feature in wanted])
    return _standardised(x, values, targets, labels, units, raw, delta)


def unconstrained(x: Samples) -> Constraints:
    """Nothing to reproduce."""

    def of(samples: Samples) -> tuple[Array, NDArray[np.bool_]]:
        return np.empty((samples.n, 0)), np.ones(samples.n, dtype=bool)

    none = np.empty(0)
    return Constraints((), of(x)[0], none, none, none, x.masses() > 0, of)


def _multiply(z: Array, feature: Feature, made: Array) -> None:
    (first, power), *others = feature.powers
    np.power(z[first], power, out=made) if power > 1 else np.copyto(made, z[first])
    for column, more in others:
        made *= z[column] ** more


def _moments(free: list[int], flat: NDArray[np.bool_], order: int, pairs: bool) -> list[Feature]:
    """Powers of every column; products of two columns. A constant column keeps its mean alone."""
    made = []
    for power in range(1, order + 1):
        made += [Feature(((j, power),)) for j in free if power == 1 or not flat[j]]
    if pairs:
        varied = [j for j in free if not flat[j]]
        made += [Feature(((i, 1), (j, 1))) for a, i in enumerate(varied) for j in varied[a + 1 :]]
    return made


def _margins(
    names: tuple[str, ...], mean: Array, unit: Array, margins: Margins | None
) -> tuple[set[str], dict[Feature, float]]:
    """The columns that margins are of, and each margin as a feature with its target."""
    taken: set[str] = set()
    made: dict[Feature, float] = {}
    if margins is None:
        return taken, made
    place = {name: j for j, name in enumerate(names)}
    for column, values in margins.moments.items():
        if column not in place:
            raise SettingError(
                f"--margins: P has no column of numbers '{column}'{suggestion(column, names)}"
            )
        j = place[column]
        offset = (values["mean"] - mean[j]) / unit[j]
        made[Feature(((j, 1),))] = offset
        if "sd" in values:
            made[Feature(((j, 2),))] = (values["sd"] / unit[j]) ** 2 + offset**2
        taken.add(column)
    for column, shares in margins.shares.items():
        labels = [name for name in names if name.startswith(f"{column}=")]
        known = {label.partition("=")[2] for label in labels}
        if not labels:
            columns = dict.fromkeys(name.partition("=")[0] for name in names)
            raise SettingError(
                f"--margins: P has no categories '{column}'{suggestion(column, columns)}"
            )
        absent = [word for word in shares if word not in known and shares[word] > 0]
        if absent:
            raise InconclusiveError(
                f"--margins: [{column}] {absent[0]}: no row of P is '{absent[0]}', but its share is "
                f"{shares[absent[0]]:.3g}; merge it with another category, or leave the column out"
            )
        for label in labels:
            j = place[label]
            share = shares.get(label.partition("=")[2], 0.0)
            made[Feature(((j, 1),))] = (share - mean[j]) / unit[j]
            taken.add(label)
    return taken, made


def _standardised(
    x: Samples,
    values: Array,
    targets: Array,
    labels: list[str],
    units: Array,
    raw: Callable[[Samples], Array],
    delta: float,
) -> Constraints:
    """Centre and scale the features; settle those at the ends of what P's rows have."""
    q = x.masses()
    carrying = q > 0
    allowed = carrying.copy()
    centre = q @ values
    spread = np.sqrt(np.maximum(q @ (values - centre) ** 2, 0.0))
    spread = np.where(spread <= 1e-10 * (1.0 + np.abs(centre)), 0.0, spread)
    unit = np.where(spread == 0.0, 1.0, spread)
    features, aims = (values - centre) / unit, (targets - centre) / unit
    low, high = features[carrying].min(axis=0), features[carrying].max(axis=0)
    beyond = (aims + delta < low - EDGE * (1 + np.abs(low))) | (
        aims - delta > high + EDGE * (1 + np.abs(high))
    )
    offset, scale = units[:, 0] + units[:, 1] * centre, units[:, 1] * unit
    made = Constraints(tuple(labels), features, aims, offset, scale, allowed, _nothing)
    if beyond.any():
        raise InconclusiveError(_unreachable(made, np.flatnonzero(beyond), low, high, x))
    ends: list[tuple[int, float]] = []
    for k in np.flatnonzero(spread > 0) if delta == 0 else ():
        for end in (low[k], high[k]):
            if abs(aims[k] - end) <= EDGE * (1 + abs(end)):
                ends.append((int(k), float(end)))
                allowed &= np.abs(features[:, k] - end) <= EDGE * (1 + abs(end))
    if not allowed.any():
        raise InconclusiveError(
            f"{x.name}: no row is left that meets {_listed([made.names[k] for k, _ in ends])} at once; "
            "give --delta to come near, or leave columns out"
        )
    kept = np.flatnonzero((spread > 0) & ~np.isin(np.arange(len(labels)), [k for k, _ in ends]))

    def of(samples: Samples) -> tuple[Array, NDArray[np.bool_]]:
        other = (raw(samples) - centre) / unit
        inside = np.ones(len(other), dtype=bool)
        for k, end in ends:
            inside &= np.abs(other[:, k] - end) <= EDGE * (1 + abs(end))
        return other[:, kept], inside

    return Constraints(
        tuple(labels[k] for k in kept),
        features if len(kept) == len(labels) else np.asfortranarray(features[:, kept]),
        aims[kept],
        offset[kept],
        scale[kept],
        allowed,
        of,
        _emptied(x, made, ends, carrying & ~allowed),
        (features, aims),
    )


def _nothing(samples: Samples) -> tuple[Array, NDArray[np.bool_]]:
    raise NotImplementedError


def _emptied(
    x: Samples, made: Constraints, ends: list[tuple[int, float]], gone: NDArray[np.bool_]
) -> tuple[Note, ...]:
    """Say that rows weigh nothing, because the target is the end of what P has."""
    if not gone.any():
        return ()
    names = _listed([made.names[k] for k, _ in ends])
    rows = counted(int(np.count_nonzero(gone)), "row")
    return (
        Note("W71", f"{rows} of {x.name} {'has' if gone.sum() == 1 else 'have'} weight 0: {names} must "
                    "be at the end of what its rows have"),
    )  # fmt: skip


def _unreachable(
    made: Constraints, which: NDArray[np.intp], low: Array, high: Array, x: Samples
) -> str:
    """Every target that lies outside the values of P's rows, one by one."""

    def reach(k: int) -> str:
        if "=" in made.names[k] and low[k] == high[k]:
            return "no row has it" if made.shown(k, high[k]) == "0" else "all rows have it"
        return f"rows of {x.name} have {made.shown(k, low[k])} .. {made.shown(k, high[k])}"

    parts = [
        f"{made.names[k]} = {made.shown(k, made.targets[k])} ({reach(int(k))})"
        for k in which[:SHOWN]
    ]
    more = f" and {len(which) - SHOWN} more" if len(which) > SHOWN else ""
    advice = remedy(made, np.flatnonzero(made.allowed))
    return f"no weights of {x.name} give {', '.join(parts)}{more}; {advice}"


def remedy(of: Constraints, rows: NDArray[np.intp], upper: Array | None = None) -> str:
    """What to do where no weights meet the constraints: the least --delta, two digits, rounded up."""
    least = least_slack(of.features[rows], of.targets, upper)
    value = ""
    if least is not None and least > 0:
        digits = 10.0 ** (np.floor(np.log10(least)) - 1)
        value = f" {np.ceil(least / digits * (1 + 1e-6)) * digits:.2g}"
    return f"give --delta{value}, or leave columns out"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
