"""All of the compiler's policy: what is cached, which freedoms the optimiser has, error model."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

# Sums may be reordered and contracted (they vectorise only then); NaN and infinity keep their meaning.
FREEDOMS = {"reassoc", "contract", "arcp", "nsz"}


def compiled(function: F) -> F:
    """Compile on first call, cache on disk, release the interpreter lock so that threads can share."""
    made: F = njit(cache=True, nogil=True, fastmath=FREEDOMS, error_model="numpy")(function)
    return made


def inlined(function: F) -> F:
    """A small function compiled into its callers."""
    made: F = njit(nogil=True, fastmath=FREEDOMS, error_model="numpy", inline="always")(function)
    return made


def compiled_exactly(function: F) -> F:
    """As `compiled`, but every sum keeps its order: the digits are those of the array-module twin."""
    made: F = njit(cache=True, nogil=True, error_model="numpy")(function)
    return made


def inlined_exactly(function: F) -> F:
    """As `inlined`, for callers whose sums keep their order."""
    made: F = njit(nogil=True, error_model="numpy", inline="always")(function)
    return made
