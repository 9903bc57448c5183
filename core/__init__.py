"""divmatch: divergence estimation and distribution matching.

Every command that estimates one quantity is also a function: ``divmatch.energy(x, y)`` returns a
`divmatch.record.Result` with value, standard error, interval and, on request, a p-value.
"""

from importlib import import_module
from typing import Any

from divmatch.catalogue import QUANTITIES, SHAPED, SINGLES

__version__ = "0.1.0"
FUNCTIONS = {name.replace("-", "_"): name for name in (*QUANTITIES, *SINGLES, *SHAPED)}
__all__ = ["__version__", "match", *FUNCTIONS]


def __getattr__(name: str) -> Any:
    """The function of a quantity, made when it is first asked for."""
    if name in FUNCTIONS:
        return import_module("divmatch.inference").function_of(FUNCTIONS[name])
    if name == "memorisation":
        return import_module("divmatch.generalisation").memorisation
    if name == "explain":
        return import_module("divmatch.estimators.explaining").explain
    if name == "match":
        return import_module("divmatch.match")
    raise AttributeError(f"module 'divmatch' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
