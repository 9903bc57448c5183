"""Known densities as targets: what `--target` names, and their scores ∇ ln p at rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import DivmatchError, FileError, SettingError, suggestion
from divmatch.mixtures import PARTS, StoredMixture, read_mixture
from divmatch.samples import Points

GRAMMAR = (
    "expected gaussian:MEAN,COV (numbers or .npy files) or mixture:FILE.npz, or FILE.npz alone"
)
SYMMETRIC = 1e-8  # how far a covariance may be from its transpose, relative to its largest number


def target_named(text: str) -> str:
    """Refuse what names no target before any data are read."""
    kind, _, rest = text.partition(":")
    if kind == "gaussian":
        parts = [part.strip() for part in rest.split(",")]
        if len(parts) == 2 and all(parts):
            for part in parts:
                number = _number(part)
                if number is None:
                    _array(part)
                elif not np.isfinite(number):
                    raise SettingError(f"--target {text}: '{part}' is not a finite number")
            return text
    elif kind == "mixture" and rest:
        _stored(rest)
        return text
    elif text.endswith(".npz"):
        return target_named(f"mixture:{text}")
    kinds = ("gaussian", "mixture")
    near = "" if kind in kinds else suggestion(kind, kinds)
    raise SettingError(f"--target {text}: {GRAMMAR}{near}")


def scores(text: str, points: Points) -> Points:
    """∇ ln p of the target at every row, (n, d)."""
    kind, _, rest = text.partition(":")
    d = points.shape[1]
    if kind == "mixture":
        return _mixture_scores(_mixture(rest, d), points)
    mean, covariance = (part.strip() for part in rest.split(","))
    one = _component(_given(mean), _given(covariance), d, (mean, covariance))
    return one.scores(points)


@dataclass(frozen=True, eq=False)
class Component:
    """A Gaussian: its mean, its logarithm's normalisation, and x ↦ Σ⁻¹ x for rows x."""

    mean: Points
    logarithm: float
    solve: Callable[[Points], Points]

    def scores(self, points: Points) -> Points:
        """−Σ⁻¹ (x − μ) of every row."""
        return self.solve(self.mean - points)


def _component(
    mean: NDArray[Any], covariance: NDArray[Any], d: int, names: tuple[str, str]
) -> Component:
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
        return Component(centre, -0.5 * float(np.log(variances).sum()), lambda x: x / variances)
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

    return Component(centre, -float(np.log(np.diag(factor)).sum()), solve)


def _mixture(file: str, d: int) -> list[tuple[float, Component]]:
    """(ln weight + ln normalisation, Gaussian) of every component."""
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
    return made


def _stored(file: str) -> StoredMixture:
    """The mixture of a file; nothing is unpickled."""
    try:
        found = read_mixture(file)
    except DivmatchError as error:
        raise type(error)(f"--target: {error}") from None
    if found is None:
        raise FileError(f"--target: {file}: expected an .npz file with {', '.join(PARTS)}")
    return found


def _mixture_scores(parts: list[tuple[float, Component]], points: Points) -> Points:
    """Σ rₖ sₖ / Σ rₖ; the shares rₖ are kept in proportion to the largest, so that none underflows."""
    top = np.full(len(points), -np.inf)
    total, found = np.zeros(len(points)), np.zeros(points.shape)
    for logarithm, one in parts:
        lean = one.scores(points)
        height = logarithm + 0.5 * np.einsum("ij,ij->i", lean, points - one.mean)
        highest = np.maximum(top, height)
        before, now = np.exp(top - highest), np.exp(height - highest)
        total = total * before + now
        found = found * before[:, None] + now[:, None] * lean
        top = highest
    return found / total[:, None]


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
