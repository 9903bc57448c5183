"""Targets that `--target` names: built-in families, with numbers of the text or of files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import DivmatchError, FileError, SettingError, suggestion
from divmatch.mixtures import PARTS, StoredMixture, read_mixture
from divmatch.samples import Points
from divmatch.target_kinds import Dirichlet, Gaussian, Logistic, Mixture, Smoothed, Student, Target

SYMMETRIC = 1e-8  # how far a covariance may be from its transpose, relative to its largest number


@dataclass(frozen=True)
class Kind:
    """One family: what follows its colon, the check of that, and the target of rows of d columns.

    ``columns`` tells d from the text, where the text says it.
    """

    grammar: str
    check: Callable[[str], bool]
    make: Callable[[str, int], Target]
    columns: Callable[[str], int | None]


def target_named(text: str) -> str:
    """Refuse what names no target before any data are read."""
    kind, _, rest = text.partition(":")
    if text == "gaussian":
        return "gaussian:0,1"
    if kind not in KINDS and text.endswith(".npz"):
        return target_named(f"mixture:{text}")
    try:
        if kind in KINDS and rest and KINDS[kind].check(rest):
            return text
    except SettingError as error:
        raise SettingError(f"--target {text}: {error}") from None
    grammar = f"expected gaussian:MEAN,COV (numbers or .npy files), {OTHERS}"
    if kind in KINDS:
        grammar = f"expected {kind}:{KINDS[kind].grammar}"
    near = "" if kind in KINDS else suggestion(kind, KINDS)
    raise SettingError(f"--target {text}: {grammar}{near}")


def everywhere_named(text: str) -> str:
    """Refuse what names no target on all rows of numbers as well."""
    name = target_named(text)
    if name.startswith("dirichlet:"):
        raise SettingError(
            f"--target {text}: lives on a simplex alone, expected a density everywhere"
        )
    return name


def opened(text: str, d: int) -> Target:
    """The target of rows with ``d`` columns."""
    kind, _, rest = text.partition(":")
    return KINDS[kind].make(rest, d)


def columns_of(text: str) -> int | None:
    """How many columns rows of the target have, if the text or its files say so."""
    kind, _, rest = text.partition(":")
    return KINDS[kind].columns(rest)


def scores(text: str, points: Points) -> Points:
    """∇ ln p of the target at every row, (n, d)."""
    return opened(text, points.shape[1]).scores(points)


# ---------------------------------------------------------------------- gaussian and student


def _two(rest: str) -> bool:
    return _several(rest, 2)


def _several(rest: str, number: int) -> bool:
    """Whether the text is so many numbers or files."""
    parts = [part.strip() for part in rest.split(",")]
    if len(parts) != number or not all(parts):
        return False
    for part in parts:
        value = _number(part)
        if value is None:
            _array(part)
        elif not np.isfinite(value):
            raise SettingError(f"'{part}' is not a finite number")
    return True


def _freedom(rest: str) -> bool:
    first = _number(rest.partition(",")[0])
    return _several(rest, 3) and first is not None and first > 0


def _gaussian(rest: str, d: int) -> Gaussian:
    mean, covariance = (part.strip() for part in rest.split(","))
    return _component(_given(mean), _given(covariance), d, (mean, covariance))


def _student(rest: str, d: int) -> Target:
    freedom, _, shape = rest.partition(",")
    return Student(_gaussian(shape, d), float(freedom))


def _wide(rest: str) -> int | None:
    """The columns of the arrays of a text."""
    for part in rest.split(","):
        if _number(part) is None:
            shape = _array(part.strip()).shape
            if shape:
                return int(shape[-1])
    return None


def _component(
    mean: NDArray[Any], covariance: NDArray[Any], d: int, names: tuple[str, str]
) -> Gaussian:
    """A Gaussian from a mean of shape () or (d,) and a covariance of shape (), (d,) or (d, d)."""
    if mean.shape not in ((), (d,)) or covariance.shape not in ((), (d,), (d, d)):
        wrong, shape = (
            (names[0], mean.shape) if mean.shape not in ((), (d,)) else (names[1], covariance.shape)
        )
        raise SettingError(
            f"--target: {wrong} has shape {shape}, but the rows have {d} columns; expected a number, "
            f"{d} numbers" + (f" or {d} x {d}" if wrong == names[1] else "")
        )
    centre = np.broadcast_to(mean, (d,)).astype(np.float64)
    if covariance.ndim < 2:
        variances = np.broadcast_to(covariance, (d,)).astype(np.float64)
        if not (variances > 0).all():
            raise SettingError(f"--target: {names[1]} has a variance that is not above 0")
        return Gaussian(centre, -0.5 * float(np.log(variances).sum()), lambda x: x / variances)
    gap = float(np.abs(covariance - covariance.T).max())
    if gap > SYMMETRIC * float(np.abs(covariance).max()):
        raise SettingError(f"--target: {names[1]} is no covariance: it is not symmetric")
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise SettingError(
            f"--target: {names[1]} is no covariance: it is not positive definite"
        ) from None

    def solve(x: Points) -> Points:
        half = np.linalg.solve(factor, x.T)
        return np.ascontiguousarray(np.linalg.solve(factor.T, half).T)

    return Gaussian(centre, -float(np.log(np.diag(factor)).sum()), solve)


# ------------------------------------------------------------------------------------ files


def _mixture_file(rest: str) -> bool:
    _stored(rest)
    return True


def _mixture(file: str, d: int) -> Target:
    """Every component that has weight."""
    held = _stored(file).components
    if held.d != d:
        raise SettingError(
            f"--target: {file}::means has shape {held.means.shape}, expected ({len(held.means)}, {d}): "
            "one mean a weight, with the columns of the rows"
        )
    names = (f"{file}::means", f"{file}::covariances")
    made = []
    for share, mean, covariance in zip(held.shares, held.means, held.covariances, strict=True):
        one = _component(mean, covariance, d, names)
        made.append((float(np.log(share)) + one.logarithm, one))
    return Mixture(tuple(made))


def _stored(file: str) -> StoredMixture:
    """The mixture of a file; nothing is unpickled."""
    try:
        found = read_mixture(file)
    except DivmatchError as error:
        raise type(error)(f"--target: {error}") from None
    if found is None:
        raise FileError(f"--target: {file}: expected an .npz file with {', '.join(PARTS)}")
    return found


def _regression_file(rest: str) -> bool:
    """X, y and the variances are there; what they hold is checked with the columns known."""
    x, y = _array(f"{rest}::x"), _array(f"{rest}::y")
    if x.ndim != 2 or y.shape != (len(x),) or not x.size:
        raise SettingError(f"x has shape {x.shape} and y {y.shape}, expected (n, d) and (n,)")
    return True


def _regression(file: str, d: int) -> tuple[Points, Points, float]:
    x, y = _array(f"{file}::x"), _array(f"{file}::y")
    if x.shape[1] != d:
        raise SettingError(
            f"--target: {file}::x has {x.shape[1]} columns, but the rows have {d}; expected one "
            "coefficient a column"
        )
    return x, y, _variance(file, "prior")


def _variance(file: str, part: str) -> float:
    value = _array(f"{file}::{part}")
    if value.size != 1 or not value.item() > 0:
        raise SettingError(f"--target: {file}::{part} must be one variance above 0")
    return float(value.item())


def _logistic(file: str, d: int) -> Target:
    x, y, prior = _regression(file, d)
    if not np.isin(y, (0.0, 1.0)).all():
        raise SettingError(f"--target: {file}::y must hold 0 and 1 alone")
    return Logistic(x, y, prior)


def _linear(file: str, d: int) -> Target:
    """The posterior of a linear regression is a Gaussian."""
    x, y, prior = _regression(file, d)
    noise = _variance(file, "noise")
    precision = x.T @ x / noise + np.eye(d) / prior
    covariance = np.linalg.inv(precision)
    covariance = (covariance + covariance.T) / 2
    mean = covariance @ (x.T @ y) / noise
    return _component(mean, covariance, d, (f"{file}::x", f"{file}::x"))


def _kde_file(rest: str) -> bool:
    file, _, width = rest.rpartition(",")
    value = _number(width)
    if not file or value is None or not (value > 0 and np.isfinite(value)):
        return False
    if _array(file).ndim != 2:
        raise SettingError(f"{file} has shape {_array(file).shape}, expected rows and columns")
    return True


def _kde(rest: str, d: int) -> Target:
    file, _, width = rest.rpartition(",")
    rows = _array(file)
    if rows.shape[1] != d:
        raise SettingError(
            f"--target: {file} has {rows.shape[1]} columns, but the rows have {d}; expected the same"
        )
    return Smoothed(rows, float(width))


def _alphas(rest: str) -> NDArray[np.float64]:
    parts = [_number(part.strip()) for part in rest.split(",")]
    if all(part is not None for part in parts):
        return np.array(parts, dtype=np.float64)
    return _array(rest)


def _dirichlet_given(rest: str) -> bool:
    alpha = _alphas(rest)
    if alpha.ndim != 1 or len(alpha) < 2 or not ((alpha > 0) & np.isfinite(alpha)).all():
        raise SettingError("expected two or more numbers above 0")
    return True


def _dirichlet(rest: str, d: int) -> Target:
    alpha = _alphas(rest)
    if len(alpha) != d:
        raise SettingError(
            f"--target: dirichlet has {len(alpha)} numbers, but the rows have {d} columns; expected "
            "one a column"
        )
    return Dirichlet(alpha)


# ------------------------------------------------------------------------------------ arrays


def _given(part: str) -> NDArray[np.float64]:
    number = _number(part)
    return _array(part) if number is None else np.array(number)


def _number(part: str) -> float | None:
    try:
        return float(part)
    except ValueError:
        return None


def _array(name: str) -> NDArray[np.float64]:
    """An array from an .npy or .npz::key file; nothing is unpickled."""
    from divmatch.files import open_place
    from divmatch.places import locate
    from divmatch.sources import Source

    place = locate(name)
    if place.kind not in ("npy", "npz"):
        raise FileError(f"--target: {name}: expected a number, or a .npy or .npz file")
    opened = open_place(place, None)
    if isinstance(opened, Source) or not np.isfinite(opened).all():
        raise FileError(f"--target: {name}: expected finite numbers")
    return np.array(opened, dtype=np.float64)


def _last(part: str) -> Callable[[str], int | None]:
    return lambda file: int(_array(f"{file}::{part}").shape[-1])


KINDS = {
    "gaussian": Kind("MEAN,COV (numbers or .npy files)", _two, _gaussian, _wide),
    "mixture": Kind("FILE.npz", _mixture_file, _mixture, _last("means")),
    "student": Kind("DF,MEAN,SHAPE (numbers or .npy files)", _freedom, _student, _wide),
    "kde": Kind("FILE.npy,BANDWIDTH", _kde_file, _kde, lambda rest: _wide(rest.rpartition(",")[0])),
    "linear": Kind("FILE.npz with x, y, noise, prior", _regression_file, _linear, _last("x")),
    "logistic": Kind("FILE.npz with x, y, prior", _regression_file, _logistic, _last("x")),
    "dirichlet": Kind(
        "A1,A2,... or FILE.npy", _dirichlet_given, _dirichlet, lambda rest: len(_alphas(rest))
    ),
}
OTHERS = "mixture:FILE.npz or FILE.npz alone, student, kde, linear, logistic or dirichlet"
