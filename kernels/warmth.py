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


def kernels() -> list[tuple[str, Callable[[], object]]]:
    """(name, call) of every compiled kernel; calling compiles it or loads it from the cache."""
    from divmatch.kernels import cpu
    from divmatch.kernels.cpu.neighbours import PANEL_ROWS, nearest_others

    points = np.arange(12.0).reshape(6, 2)
    calls: list[tuple[str, Callable[[], object]]] = [
        (profile, partial(cpu.tile, points, points, profile, 1.0)) for profile in PROFILES
    ]
    calls.append(("distance^1.5", partial(cpu.tile, points, points, "distance", 1.5)))
    pair, ones, edges = (1.0, 2.0), np.ones(6), np.array([0, 3, 6])
    calls += [
        ("bundle", partial(cpu.tile, points, points, "bundle", 1.0, pair)),
        ("bundle_sums", partial(cpu.bundle_sums, points, ones, edges, points, ones, edges, pair)),
    ]
    calls.append(("dominated", partial(cpu.dominated, np.arange(6), np.ones((6, 4)))))
    index = cpu.indexed(points)
    nobody = np.full(len(points), -1)
    calls.append(("nearest", partial(cpu.nearest, index, points, 1, nobody)))
    many = np.arange(2.0 * PANEL_ROWS).reshape(-1, 1)  # two panels, so that they meet
    calls.append(("nearest_others", partial(nearest_others, cpu.indexed(many), 1)))
    ones = np.ones(len(points))
    calls.append(("count_within", partial(cpu.count_within, index, points, ones)))
    calls.append(("exponentials", partial(cpu.exponentials, np.zeros((4, 6), np.float32))))
    calls.append(("crossing", partial(cpu.crossing, index, points, ones, ones, ones)))
    tile, zeros = np.ones((4, 6)), np.zeros(4)
    calls += [
        (
            "coupled_sums",
            partial(cpu.coupled_sums, tile, 1.0, np.zeros(6), zeros, zeros, zeros, zeros, 1.0),
        ),
        ("row_means", partial(cpu.row_means, tile, 1.0, np.zeros(6), np.ones((6, 2)))),
        ("row_moments", partial(cpu.row_moments, tile, 1.0, np.zeros(6), zeros, zeros)),
        ("entries_above", partial(cpu.entries_above, tile, 1.0, np.zeros(6), zeros)),
        (
            "linked_sums",
            partial(
                cpu.linked_sums,
                np.arange(4),
                np.arange(3, dtype=np.int32),
                np.ones(3),
                -1.0,
                np.zeros(3),
                np.ones(3),
                np.zeros(3),
                1.0,
            ),
        ),
        ("largest_entries", partial(cpu.largest_entries, tile, 1.0, np.zeros(6), 2)),
        ("tops", partial(cpu.tops, tile, 1.0, np.zeros(6))),
    ]
    line, cuts = np.array([0.0, 1.0, 2.0, np.inf]), np.array([0, 3])
    calls += [
        (
            "distance_walk",
            partial(cpu.distance_walk, line, line, cuts, cuts, 0.0, 0.0, np.empty((1, 7))),
        ),
        ("sign_walk", partial(cpu.sign_walk, line, line, cuts, cuts, np.empty((1, 7)))),
    ]
    calls += [
        (f"split_costs, {name}", partial(_split_costs, weights, p))
        for name, weights, p in (
            ("order 1", 0, 1), ("order p", 0, 2), ("weights, order 1", 3, 1), ("weights", 3, 2)
        )
    ]  # fmt: skip
    calls.append(("transport", _transport))
    masses, wide = np.ones((6, 2)), np.arange(120.0).reshape(6, 20)
    calls += [
        (
            f"pull_sums of {len(one.T)} columns",
            partial(cpu.pull_sums, one, one, "imq", 1.0, masses, one),
        )
        for one in (points, wide)
    ]
    calls.append(("riesz_walk", partial(cpu.riesz_walk, zeros, zeros, zeros, zeros, np.zeros(4))))
    calls += [
        (f"row_sums of {source}, {bits} bits", partial(_row_sums, source, f"f{bits // 8}"))
        for source in ("probabilities", "logits")
        for bits in (32, 64)
    ]
    return calls


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
