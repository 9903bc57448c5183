"""How the kernels run: threads, memory for blocks, device. One place, set once by the caller."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")
S = TypeVar("S")

THREADS_FROM = 3e7


@dataclass(frozen=True)
class Execution:
    """``memory`` is the room in bytes for temporary blocks; ``device`` is auto, cpu or gpu.

    ``told`` hears of every long pass over all pairs, where somebody listens.
    """

    threads: int = 1
    memory: int = 256 << 20
    device: str = "auto"
    told: Callable[[str], None] | None = None


_CURRENT: ContextVar[Execution] = ContextVar("divmatch_execution", default=Execution())  # noqa: B039  (frozen)


def execution() -> Execution:
    """What is in force now."""
    return _CURRENT.get()


def tell(what: Callable[[], str]) -> None:
    """Say how far a long computation is; the words are made only for a listener."""
    told = execution().told
    if told is not None:
        told(what())


@contextmanager
def executing(**changes: Any) -> Iterator[Execution]:
    """Change threads, memory or device for the calls inside."""
    token = _CURRENT.set(replace(_CURRENT.get(), **changes))
    try:
        yield _CURRENT.get()
    finally:
        _CURRENT.reset(token)


def in_order(
    function: Callable[[S], T], blocks: Iterable[S], *, work: float = float("inf")
) -> Iterator[T]:
    """``function`` of every block on the threads in force, results in the order of the blocks.

    Adding the results in this order gives the same digits for any number of threads. Below
    THREADS_FROM elementary operations of ``work`` starting threads costs more than it saves.
    """
    threads = execution().threads
    if threads == 1 or work < THREADS_FROM:
        yield from map(function, blocks)
        return
    from collections import deque
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    pending: deque[Any] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for block in blocks:
            pending.append(pool.submit(copy_context().run, function, block))
            if len(pending) > 4 * threads:  # bounded: a slow reader must not pile up results
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # Ctrl-C waits for one block, not for all


def steps_of(total: int, size: int, first: int = 0) -> Iterator[slice]:
    """Slices of ``size`` that cover ``first`` to ``total``."""
    for start in range(first, total, size):
        yield slice(start, min(start + size, total))


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS on one thread inside: all parallelism is ours, so the digits never depend on it.

    The command line sets the variables before NumPy loads and pays nothing here.
    """
    import os

    if os.environ.get("OPENBLAS_NUM_THREADS") == os.environ.get("MKL_NUM_THREADS") == "1":
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
