"""Every compiled kernel with a tiny call that makes it compile, and what the cache holds."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

PROFILES = (
    "distance",
    "cityblock",
    "gaussian",
    "laplace",
    "imq",
    "mix",
    "matern12",
    "rq",
    "stein-gaussian",
    "stein-imq",
)


Call = tuple[str, Callable[[], object]]


def kernels() -> list[Call]:
    """(name, call) of every compiled kernel; calling compiles it or loads it from the cache."""
    return [*_pairwise(), *_neighbours(), *_couplings(), *_line(), *_pulls(), *_rows()]


def _pairwise() -> list[Call]:
    from divmatch.kernels import cpu

    points, ones = np.arange(12.0).reshape(6, 2), np.ones(6)
    pair, edges = (1.0, 2.0), np.array([0, 3, 6])
    return [
        *((name, partial(cpu.tile, points, points, name, 1.0)) for name in PROFILES),
        ("distance^1.5", partial(cpu.tile, points, points, "distance", 1.5)),
        ("bundle", partial(cpu.tile, points, points, "bundle", 1.0, pair)),
        ("bundle_sums", partial(cpu.bundle_sums, points, ones, edges, points, ones, edges, pair)),
    ]


def _neighbours() -> list[Call]:
    from divmatch.kernels import cpu
    from divmatch.kernels.cpu.neighbours import PANEL_ROWS, nearest_others

    points, ones, nobody = np.arange(12.0).reshape(6, 2), np.ones(6), np.full(6, -1)
    index = cpu.indexed(points)
    many = np.arange(2.0 * PANEL_ROWS).reshape(-1, 1)  # two panels, so that they meet
    return [
        ("dominated", partial(cpu.dominated, np.arange(6), np.ones((6, 4)))),
        ("nearest", partial(cpu.nearest, index, points, 1, nobody)),
        ("nearest_others", partial(nearest_others, cpu.indexed(many), 1)),
        ("count_within", partial(cpu.count_within, index, points, ones)),
        ("crossing", partial(cpu.crossing, index, points, ones, ones, ones)),
    ]


def _couplings() -> list[Call]:
    from divmatch.kernels import cpu

    tile, own, other, three = np.ones((4, 6)), np.zeros(4), np.zeros(6), np.zeros(3)
    places = np.arange(4), np.arange(3, dtype=np.int32)
    linked = *places, np.ones(3), -1.0, three, np.ones(3), three, 1.0
    return [
        ("coupled_sums", partial(cpu.coupled_sums, tile, 1.0, other, own, own, own, own, 1.0)),
        ("mirrored_sums", partial(cpu.mirrored_sums, tile, 1.0, other, own, own, other)),
        ("row_means", partial(cpu.row_means, tile, 1.0, other, np.ones((6, 2)))),
        ("row_moments", partial(cpu.row_moments, tile, 1.0, other, own, own, other)),
        ("entries_above", partial(cpu.entries_above, tile, 1.0, other, own)),
        ("linked_sums", partial(cpu.linked_sums, *linked)),
        ("largest_entries", partial(cpu.largest_entries, tile, 1.0, other, 2)),
        ("tops", partial(cpu.tops, tile, 1.0, other)),
        ("transport", _transport),
    ]


def _line() -> list[Call]:
    from divmatch.kernels import cpu

    line, cuts, room = np.array([0.0, 1.0, 2.0, np.inf]), np.array([0, 3]), np.empty((1, 7))
    four = [np.zeros(4) for _ in range(5)]
    kinds = ("order 1", 0, 1), ("order p", 0, 2), ("weights, order 1", 3, 1), ("weights", 3, 2)
    return [
        ("distance_walk", partial(cpu.distance_walk, line, line, cuts, cuts, 0.0, 0.0, room)),
        ("sign_walk", partial(cpu.sign_walk, line, line, cuts, cuts, room)),
        ("riesz_walk", partial(cpu.riesz_walk, *four)),
        *(
            (f"split_costs, {name}", partial(_split_costs, weights, p))
            for name, weights, p in kinds
        ),
    ]


def _pulls() -> list[Call]:
    from divmatch.kernels import cpu

    masses, exponents = np.ones((6, 2)), np.zeros((4, 6), np.float32)
    made: list[Call] = [("exponentials", partial(cpu.exponentials, exponents))]
    for d in (2, 20):
        rows = np.arange(6.0 * d).reshape(6, d)
        call = partial(cpu.pull_sums, rows, rows, "imq", 1.0, masses, rows)
        made.append((f"pull_sums of {d} columns", call))
    return made


def _rows() -> list[Call]:
    return [
        (f"row_sums of {source}, {bits} bits", partial(_row_sums, source, f"f{bits // 8}"))
        for source in ("probabilities", "logits")
        for bits in (32, 64)
    ]


def _row_sums(source: str, kind: str) -> object:
    from divmatch.kernels import cpu

    block, nothing = np.full((1, 2), 0.5, dtype=kind), np.empty(0)
    codes, keep = np.empty(0, dtype=np.int64), np.ones(1, dtype=np.bool_)
    return cpu.row_sums(block, block, codes, nothing, nothing, keep, source, 1.0, 0.1)


def _split_costs(weights: int, p: float) -> object:
    from divmatch.kernels import cpu

    order, labels, out = np.arange(3, dtype=np.int32), np.array([[True, False, True]]), np.empty(1)
    cpu.split_costs(np.arange(3.0), order, labels, np.ones(weights), p, out)
    return out


def _transport() -> object:
    from divmatch.kernels.ground import Ground
    from divmatch.kernels.transport import COMPILED_FROM, transported

    points, ones = np.arange(12.0).reshape(6, 2), np.ones(6)
    return transported(Ground("squares"), points, points + 1.0, ones, ones, often=COMPILED_FROM)


def cached() -> tuple[int, int]:
    """How many modules of compiled kernels have files in the cache, and how many there are."""
    folder = Path(__file__).parent / "cpu"
    modules = [path for path in folder.glob("*.py") if "\n@compiled" in path.read_text()]
    have = sum(any((folder / "__pycache__").glob(f"{path.stem}.*.nbi")) for path in modules)
    return have, len(modules)
