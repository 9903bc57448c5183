"""Kernels by the names that --kernel takes: gaussian, matern:2.5, riesz:1, poly."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SampleError, SettingError, suggestion
from divmatch.kernels.pairwise import Profile
from divmatch.samples import Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]

WORDS = ("gaussian", "laplace", "imq", "matern", "rq", "riesz:R", "poly", "mix")
SMOOTHNESS = {"0.5": "matern12", "1.5": "matern32", "2.5": "matern52"}
LARGEST_FOR_POLY = 1e25  # beyond, squares of the cubes are no numbers


class KernelName(str):
    """A kernel in full: what it is called, its parameter, the unit of its MMD²."""

    @property
    def kind(self) -> str:
        """The name without the parameter."""
        return self.partition(":")[0]

    @property
    def power(self) -> float:
        """R of riesz:R."""
        return float(self.partition(":")[2])

    @property
    def unit(self) -> str:
        """Unit of MMD²: without one but for riesz, whose MMD² is an energy distance."""
        return f"data unit^{self.power:.12g}" if self.kind == "riesz" else "1"

    @property
    def scaled(self) -> bool:
        """Whether it has a bandwidth."""
        return self.kind not in ("riesz", "poly")


def kernel_named(text: str) -> KernelName:
    """Refuse what names no kernel; fill in the parameter that was left out."""
    kind, colon, parameter = text.strip().partition(":")
    kind = "gaussian" if kind == "rbf" else kind
    if kind == "matern" and (parameter or "1.5") in SMOOTHNESS:
        return KernelName(f"matern:{parameter or '1.5'}")
    if kind == "riesz":
        return KernelName(f"riesz:{_power(text, parameter if colon else '1')}")
    if kind in WORDS and kind != "matern" and not colon:
        return KernelName(kind)
    if kind == "matern":
        raise SettingError(f"--kernel {text}: expected matern:0.5, matern:1.5 or matern:2.5")
    expected = " or ".join(WORDS)
    raise SettingError(f"--kernel {text}: expected {expected}{suggestion(kind, WORDS)}")


def _power(text: str, parameter: str) -> str:
    try:
        power = float(parameter)
    except ValueError:
        power = math.nan
    if not 0 < power < 2:
        raise SettingError(f"--kernel {text}: expected riesz:R with R above 0, below 2")
    return f"{power:.12g}"


Kernel = Annotated[
    str,
    Setting(
        "gaussian exp(-r²/(2s²)), laplace exp(-r1/s), imq (s²+r²)^(-1/2), matern[:0.5|1.5|2.5], rq "
        "1/(1+r²/(2s²)), riesz:R -r^R, poly (x'y/d+1)³, mix of five gaussians",
        parse=kernel_named,
        shown="|".join(WORDS),
    ),
]


@dataclass(frozen=True)
class Form:
    """A kernel at its scale: sign times the profile, where the sign of the contrast is its opposite."""

    profile: Profile
    sign: float


def form_of(kernel: KernelName, scale: float) -> Form:
    """The function of two rows, and the sign that makes 2 E k(X, Y) − … non-negative."""
    if kernel.kind == "riesz":
        return Form(Profile("distance", kernel.power), 1.0)
    if kernel.kind == "poly":
        return Form(Profile("poly", 1.0), -1.0)
    name: Any = kernel.kind
    if kernel.kind == "matern":
        name = SMOOTHNESS[kernel.partition(":")[2]]
    return Form(Profile(name, scale), -1.0)


def check_unscaled(kernel: KernelName, bandwidth: Any, x: Samples, y: Samples) -> None:
    """Refuse a bandwidth for a kernel without one, and numbers whose cubes are none."""
    if not isinstance(bandwidth, str) or bandwidth in ("agg", "fuse"):
        raise SettingError(f"--bandwidth {bandwidth}: the kernel {kernel} has none; leave it out")
    if kernel.kind != "poly":
        return
    for samples in (x, y):
        largest = float(np.abs(samples.points).max())
        if largest > LARGEST_FOR_POLY:
            raise SampleError(
                f"{samples.name}: the largest value is {largest:.3g}, expected at most "
                f"{LARGEST_FOR_POLY:g}, because --kernel poly takes cubes; divide all rows by a constant"
            )


# ---------------------------------------------------------------------------- spectral measures


def frequencies(
    kernel: KernelName, scale: float, d: int, count: int, draw: "np.random.Generator"
) -> Array:
    """Rows w of shape (count, d) with k(x, y) = k(0) E cos(w·(x − y))."""
    return _SPECTRA[kernel.kind](kernel, draw, count, d) / scale


def amplitude(kernel: KernelName, scale: float) -> float:
    """k(x, x)."""
    return 1.0 / scale if kernel.kind == "imq" else 1.0


def _mixed(_: KernelName, draw: "np.random.Generator", count: int, d: int) -> Array:
    widths = np.resize([0.25, 0.5, 1.0, 2.0, 4.0], count)
    return draw.standard_normal((count, d)) / widths[:, None]


def _matern(kernel: KernelName, draw: "np.random.Generator", count: int, d: int) -> Array:
    """Student's t with 2ν degrees of freedom."""
    freedom = 2.0 * float(kernel.partition(":")[2])
    lengths = np.sqrt(freedom / draw.chisquare(freedom, count))
    return draw.standard_normal((count, d)) * lengths[:, None]


def _rational(_: KernelName, draw: "np.random.Generator", count: int, d: int) -> Array:
    """A gaussian whose precision is exponential."""
    lengths = np.sqrt(draw.exponential(size=count))
    return draw.standard_normal((count, d)) * lengths[:, None]


def _inverse(_: KernelName, draw: "np.random.Generator", count: int, d: int) -> Array:
    """A gaussian whose precision is chi-square with one degree of freedom."""
    lengths = draw.standard_normal(count)
    return draw.standard_normal((count, d)) * lengths[:, None]


Spectrum = Callable[[KernelName, "np.random.Generator", int, int], Array]
_SPECTRA: dict[str, Spectrum] = {
    "gaussian": lambda _, draw, count, d: draw.standard_normal((count, d)),
    "laplace": lambda _, draw, count, d: draw.standard_cauchy((count, d)),
    "imq": _inverse,
    "matern": _matern,
    "rq": _rational,
    "mix": _mixed,
}
