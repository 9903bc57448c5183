"""Which twin runs: Numba for large arrays, the array-module twin for small ones and on the GPU."""

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import DeviceError
from divmatch.kernels.execution import execution

GPU_WORTHWHILE = 1e9  # elementary operations below which moving the data costs more than it saves


def twin(work: float, compiled_from: float) -> ModuleType:
    """The twin for about ``work`` elementary operations; compiled only from ``compiled_from`` on."""
    if uses_gpu(work) or work < compiled_from:
        from divmatch.kernels import gpu

        return gpu
    from divmatch.kernels import cpu

    return cpu


def host_twin(work: float, compiled_from: float) -> ModuleType:
    """The twin for work that never goes to a GPU."""
    if work < compiled_from:
        from divmatch.kernels import gpu

        return gpu
    from divmatch.kernels import cpu

    return cpu


def earned_twin(work: float, compiled_from: float) -> ModuleType:
    """The twin for kernels with the same digits in both: compiled as soon as loading it has paid.

    That is when the work of all calls so far, this one included, is ``compiled_from``. A command with
    one call never waits for the compiler, a loop over columns or a longer session has it.
    """
    _EARNED[0] += work
    return host_twin(_EARNED[0], compiled_from)


_EARNED = [0.0]


def uses_gpu(work: float) -> bool:
    """Whether the kernels run on a GPU: on request, or by themselves where one is and it pays."""
    device = execution().device
    if device == "gpu":
        _cupy()
        return True
    return device == "auto" and work >= GPU_WORTHWHILE and gpu_absence() == ""


def to_device(array: NDArray[Any], work: float) -> Any:
    """The array where the kernels will run: itself on the CPU, a copy on the GPU."""
    return _cupy().asarray(array) if uses_gpu(work) else array


def to_host(array: Any) -> NDArray[Any]:
    """The array as NumPy's."""
    return array if isinstance(array, np.ndarray) else np.asarray(array.get())


@cache
def gpu_absence() -> str:
    """Why no GPU can be used, or the empty string."""
    from importlib.util import find_spec

    if find_spec("cupy") is None:
        return "CuPy is not installed"
    try:
        import cupy

        return "" if cupy.cuda.runtime.getDeviceCount() > 0 else "no CUDA device was found"
    except Exception as problem:  # a driver fault has many faces; all mean "no GPU"
        return f"CuPy found no usable device ({type(problem).__name__})"


def _cupy() -> Any:
    absence = gpu_absence()
    if absence:
        raise DeviceError(
            f"--device gpu: {absence}; choose --device cpu, or install divmatch[gpu] "
            "on a machine with an NVIDIA GPU"
        )
    import cupy

    return cupy


def require_device() -> None:
    """Refuse a GPU that is not there before any work is done."""
    if execution().device == "gpu":
        _cupy()
