"""Rows of probabilities replaced by the nearest ones."""

import json
from importlib.resources import files
from itertools import combinations

import jsonschema
import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from divmatch.cli.main import run
from divmatch.errors import DivmatchError
from divmatch.projection import project
from divmatch.transport.bregman import generator_named, nearest, price, price_of_dropped
from divmatch.transport.cyclic import Box, Marginal, Moments
from divmatch.transport.truncation import top_places
from tests.tolerances import ROUNDING, SAME, SOLVER

P = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
GENERATORS = [
    *(("kl", False), ("reverse-kl", False), ("itakura-saito", False)),
    *((f"alpha:{a}", False) for a in (0.5, 1.5, 2, 3, 8)),
    *((f"alpha:{a}", True) for a in (1.2, 1.5, 2, 3)),
]
EVERY = pytest.mark.parametrize(("generator", "dual"), GENERATORS)
DROPPING = [(g, d) for g, d in GENERATORS if generator_named(g, dual=d).drops]
EVERY_DROPPING = pytest.mark.parametrize(("generator", "dual"), DROPPING)
PLACES = 5e-7  # of numbers published with six digits


def rows(n=40, classes=12, seed=0):
    return np.random.default_rng([n, classes, seed]).dirichlet(np.full(classes, 0.5), n)


def full_price(p, q, of):
    """D of all classes, those without mass included; numbers of one row."""
    kept = q > 0
    inside = price(p[kept][None], q[kept][None], of)[0]
    return inside + price_of_dropped(p[~kept], of).sum()


# --------------------------------------------------------------------------------------- top-k


@pytest.mark.parametrize(
    ("generator", "dual", "expected"),
    [
        ("kl", False, [0.571429, 0.428571]),
        ("alpha:1.5", False, [0.559808, 0.440192]),
        ("alpha:2", False, [0.55, 0.45]),
        ("alpha:1.5", True, [0.558860, 0.441140]),
        ("itakura-saito", False, [0.6, 0.4]),
    ],
)
def test_published_numbers(generator, dual, expected):
    q = project(P, top_k=2, generator=generator, dual=dual).q[0]
    assert q == pytest.approx([*expected, 0, 0, 0], abs=PLACES)


def test_price_of_kl_is_the_logarithm_of_the_mass():
    assert project(P, top_k=2).divergence[0] == pytest.approx(0.3566749439, abs=1e-10)


@EVERY
def test_the_nearest_is_that_of_another_solver(generator, dual):
    of, p = generator_named(generator, dual=dual), P[:3]
    found = nearest(p[None], of)[0]
    other = minimize(
        lambda q: price(p[None], np.abs(q)[None] + 1e-300, of)[0],
        p / p.sum(),
        method="SLSQP",
        bounds=[(1e-9, 1)] * 3,
        constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert found == pytest.approx(other.x, abs=1e-5)
    assert price(p[None], found[None], of)[0] <= other.fun + 1e-12


@EVERY_DROPPING
def test_no_other_classes_are_nearer(generator, dual):
    of = generator_named(generator, dual=dual)
    for p in rows(6, 6):
        prices = {}
        for chosen in combinations(range(6), 3):
            q = np.zeros(6)
            q[list(chosen)] = nearest(p[list(chosen)][None], of)[0]
            prices[chosen] = full_price(p, q, of)
        found = project(p, top_k=3, generator=generator, dual=dual)
        assert found.divergence[0] == pytest.approx(min(prices.values()), rel=1e-9)


@EVERY
def test_new_rows_sum_to_one_on_k_classes_in_the_same_order(generator, dual):
    p = rows()
    q = project(p, top_k=4, generator=generator, dual=dual).q
    assert q.sum(axis=1) == pytest.approx(1.0, abs=ROUNDING(4))
    assert ((q > 0).sum(axis=1) == 4).all()
    kept = np.take_along_axis(q, np.argsort(p, axis=1), axis=1)
    assert (np.diff(kept, axis=1) >= -1e-15).all()


@EVERY
def test_all_classes_give_the_row_back(generator, dual):
    p = rows()
    found = project(p, top_k=50, generator=generator, dual=dual)
    assert found.q == pytest.approx(p, abs=SOLVER(1e-14))
    assert found.divergence == pytest.approx(0.0, abs=SOLVER(1e-12))


def test_zeros_are_dropped_first():
    found = project([[0.5, 0.0, 0.5, 0.0]], top_k=3, generator="alpha:2")
    assert found.q.tolist() == [[0.5, 0.0, 0.5, 0.0]]


def test_the_first_of_equal_classes_stay():
    found = project([[0.1, 0.2, 0.2, 0.2, 0.3]], top_k=2)
    assert np.flatnonzero(found.q[0]).tolist() == [1, 4]
    assert found.tied == 1


def test_numbers_of_half_the_width_keep_the_same_classes():
    p = rows().astype(np.float32)
    for kind in (np.float16, np.float32):
        found = project(p.astype(kind), top_k=3, tolerance=0.01).q
        assert ((found > 0).sum(axis=1) == 3).all()


# ------------------------------------------------------------------------------------- penalty


@pytest.mark.parametrize(("generator", "k"), [("kl", 5), ("alpha:1.5", 3), ("alpha:2", 2)])
def test_published_numbers_of_classes(generator, k):
    assert project(P, penalty=0.05, generator=generator).counts[0] == k


@EVERY_DROPPING
@pytest.mark.parametrize("worth", [0.003, 0.03])
def test_the_penalty_finds_the_best_of_all_k(generator, dual, worth, monkeypatch):
    monkeypatch.setattr("divmatch.transport.truncation.FIRST", 3)  # so that more must be fetched
    p = rows(15)
    prices = np.array(
        [project(p, top_k=k, generator=generator, dual=dual).divergence for k in range(1, 13)]
    )
    found = project(p, penalty=worth, generator=generator, dual=dual)
    best = (prices + worth * np.arange(1, 13)[:, None]).min(axis=0)
    assert found.divergence + worth * found.counts == pytest.approx(best, abs=1e-12)
    assert (np.diff(prices, 2, axis=0) >= -1e-12).all()


def test_classes_for_nothing_are_all_kept():
    p = rows()
    assert SAME(project(p, penalty=0.0).q, p / p.sum(axis=1, keepdims=True))


# -------------------------------------------------------------------------------------- entropy


@pytest.mark.parametrize("wanted", [0.2, 1.0, 2.4])
def test_tempered_rows_have_the_entropy(wanted):
    found = project(rows(), entropy=wanted)
    with np.errstate(all="ignore"):
        entropy = -np.nansum(found.q * np.log(found.q), axis=1)
    assert entropy == pytest.approx(wanted, abs=SOLVER(1e-12))


def test_the_power_is_that_of_another_root_finder():
    def excess(beta):
        q = P**beta / (P**beta).sum()
        return -(q * np.log(q)).sum() - 1.0

    assert project(P, entropy=1.0).beta[0] == pytest.approx(brentq(excess, 0.01, 50), rel=1e-9)


def test_ends_of_the_entropy_are_uniform_and_one_class():
    assert project(P, entropy=float(np.log(5))).q[0] == pytest.approx(0.2, abs=ROUNDING(5))
    assert project(P, entropy=0.0).q[0].tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(("row", "wanted"), [([0.5, 0.5, 0.0], 0.9), ([0.4, 0.4, 0.2], 0.5)])
def test_entropy_that_no_power_has_is_refused(row, wanted):
    with pytest.raises(
        DivmatchError, match=r"^rows: row 0 can have an entropy of [\d.]+ to [\d.]+"
    ):
        project(row, entropy=wanted)


# ----------------------------------------------------------------------------------- constraints


def test_tilt_to_a_mean_of_the_closed_form():
    found = project(
        np.full(3, 1 / 3), constraints=[Moments(np.array([[-1.0, 0, 1]]), np.array([0.5]))]
    )
    assert found.q[0] == pytest.approx([0.116204, 0.267592, 0.616204], abs=PLACES)
    assert found.divergence[0] == pytest.approx(0.197377588, abs=1e-9)


def test_raking_of_the_closed_form():
    sets = [
        Marginal(np.array([0, 0, 1, 1]), np.array([0.5, 0.5])),
        Marginal(np.array([0, 1, 0, 1]), np.array([0.4, 0.6])),
    ]
    q = project([40, 30, 35, 50], source="counts", constraints=sets).q[0]
    assert q[0] == pytest.approx(0.238290391, abs=1e-9)
    assert q[0] * q[3] / (q[1] * q[2]) == pytest.approx(1.904761905, abs=1e-8)


def test_box_multiplies_what_is_inside():
    """KL: clip(c p, low, high) with the c that sums to 1."""
    c = brentq(lambda c: np.clip(c * P, 0.12, 0.3).sum() - 1, 0.1, 10)
    found = project(P, constraints=[Box(0.12, 0.3)]).q[0]
    assert found == pytest.approx(np.clip(c * P, 0.12, 0.3), abs=1e-9)


def test_simplex_of_any_numbers_is_a_level():
    z = np.array([0.9, -0.3, 0.5, 0.45])
    level = brentq(lambda t: np.maximum(z - t, 0).sum() - 1, -2, 2)
    q = project(z, source="numbers", generator="alpha:2", constraints=[Box(0, 1)]).q[0]
    assert q == pytest.approx(np.maximum(z - level, 0), abs=1e-9)


@pytest.mark.parametrize("most", [64, 0], ids=["multipliers", "in turn"])
@pytest.mark.parametrize("generator", ["kl", "alpha:2"])
def test_several_sets_at_once_as_another_solver(generator, most, monkeypatch):
    monkeypatch.setattr("divmatch.transport.cyclic.MOST", most)
    feature, of = np.array([0.0, 1, 2, 3, 4]), generator_named(generator)
    groups = np.array([0, 0, 1, 1, 1])
    sets = [
        Box(0.02, 0.38),
        Moments(feature[None], np.array([1.4])),
        Marginal(groups, np.array([0.6, 0.4])),
    ]
    found = project(P, generator=generator, constraints=sets)
    other = minimize(
        lambda q: price(P[None], q[None], of)[0],
        np.full(5, 0.2),
        method="SLSQP",
        bounds=[(0.02, 0.38)] * 5,
        constraints=[
            {"type": "eq", "fun": lambda q: q.sum() - 1},
            {"type": "eq", "fun": lambda q: q @ feature - 1.4},
            {"type": "eq", "fun": lambda q: q[:2].sum() - 0.6},
        ],
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert found.converged.all()
    assert found.q[0] == pytest.approx(other.x, abs=1e-6)
    assert found.divergence[0] == pytest.approx(other.fun, abs=1e-9)


def test_rows_that_meet_them_stay():
    p = rows(5)
    found = project(p, constraints=[Box(0.0, 1.0)])
    assert found.q == pytest.approx(p, abs=ROUNDING(12))


# ----------------------------------------------------------------------------------------- command


@pytest.fixture
def there(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    z = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
    np.save("z.npy", z)
    masses = np.exp(z.astype(float))
    np.save("p.npy", masses / masses.sum(axis=1, keepdims=True))
    np.save("ages.npy", np.arange(20.0))
    np.save("halves.npy", np.arange(20) // 10)
    np.save("shares.npy", np.array([0.3, 0.7]))
    monkeypatch.setattr("divmatch.cli.project_job.BLOCK_NUMBERS", 20 * 64)  # several blocks

    def start(line):
        code = run(["match", "project", *line.split()])
        return code, *capfd.readouterr()

    return start


@pytest.mark.parametrize(
    "asked",
    [
        {"top_k": 3},
        {"top_k": 4, "generator": "alpha:1.5"},
        {"penalty": 0.04, "generator": "alpha:2"},
        {"entropy": 1.5},
    ],
)
def test_files_hold_what_the_function_gives(there, asked):
    flags = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in asked.items())
    code, printed, _ = there(f"p.npy {flags} -o q.npy -f json --no-run")
    found = project(np.load("p.npy"), **asked)
    document = json.loads(printed)
    schema = json.loads(files("divmatch").joinpath("result.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert code == 0
    assert SAME(np.load("q.npy"), found.q)
    assert document["results"][0]["value"] == pytest.approx(found.divergence.mean(), rel=1e-12)


def test_logits_are_rows_after_softmax(there):
    assert there("z.npy --from logits --top-k 3 -o a.npy")[0] == 0
    assert there("p.npy --top-k 3 -o b.npy")[0] == 0
    a, b = np.load("a.npy"), np.load("b.npy")
    assert (a.dtype, b.dtype) == (np.float32, np.float64)
    assert a == pytest.approx(b, abs=ROUNDING(20, np.float32))


def test_constraints_of_files(there):
    line = "p.npy --constraint box:0,0.3 --constraint moment:ages.npy,11 -o q.npy"
    assert there(f"{line} --constraint marginal:halves.npy,shares.npy -q")[0] == 0
    q = np.load("q.npy")
    assert q @ np.arange(20.0) == pytest.approx(11, abs=1e-8)
    assert q[:, 10:].sum(axis=1) == pytest.approx(0.7, abs=1e-9)
    assert q.max() <= 0.3 + 1e-9


def test_same_bytes_for_any_number_of_threads(there, monkeypatch):
    monkeypatch.setattr("divmatch.kernels.execution.THREADS_FROM", 0)
    for threads in (1, 2):
        line = f"p.npy --penalty 0.01 --generator alpha:1.5 -o q{threads}.npy -j {threads}"
        assert there(line)[0] == 0
    assert SAME(np.load("q1.npy"), np.load("q2.npy"))


def test_limit_is_of_the_divergence(there):
    assert there("p.npy --top-k 2 --max 0.01")[0] == 1
    assert there("p.npy --top-k 19 --max 0.5")[0] == 0


def test_contradicting_constraints_decide_nothing(there):
    line = "p.npy --constraint box:0,0.06 --constraint moment:ages.npy,2 --max 9"
    code, _, errors = there(line)
    assert code == 3
    assert "warning[W83]: 300 rows met the constraints not within" in errors


@pytest.mark.parametrize("levels", [3, 40, 10**6])
def test_largest_of_many_classes_are_those_of_a_stable_sort(levels):
    """2,000 classes are dealt out to groups; equal masses are kept from the left."""
    rows = np.random.default_rng(levels).integers(0, levels, size=(5, 2003)) / levels
    places, tied = top_places(rows.astype(np.float32), 7)
    order = np.argsort(-rows, axis=1, kind="stable")
    assert places.tolist() == np.sort(order[:, :7], axis=1).tolist()
    cut = np.take_along_axis(rows, order[:, 6:8], axis=1)
    assert tied.tolist() == (cut[:, 0] == cut[:, 1]).tolist()


def test_negative_masses_are_refused_before_their_roots_are_taken():
    with pytest.raises(DivmatchError, match="row 0"):
        project([[1.5, -0.5]], top_k=1, generator="alpha:1.5")


def test_ties_are_told(there):
    np.save("even.npy", np.full((4, 4), 0.25))
    code, _, errors = there("even.npy --top-k 2")
    assert code == 0
    assert "warning[W82]: 4 rows had equal masses" in errors


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("p.npy", "project: give one of --top-k"),
        ("p.npy --top-k 2 --entropy 1", "project: give one of --top-k"),
        ("z.npy --top-k 2", "z.npy: row 0 has -"),
        ("p.npy --top-k 2 --generator kll", "--generator kll: expected one of"),
        ("p.npy --top-k 2 --generator alpha:-1", "--generator alpha:-1: expected alpha:A"),
        ("p.npy --top-k 2 --dual", "--dual: expected --generator alpha:A with A above 1"),
        ("p.npy --penalty 1 --generator reverse-kl", "--penalty: reverse-kl is infinite"),
        ("p.npy --constraint box:0.2,0.1", "--constraint box:0.2,0.1: expected 0 <= LOW"),
        ("p.npy --constraint box:0.2,0.3", "--constraint box:0.2,0.3: the masses of 20 classes"),
        ("p.npy --constraint moment:ages.npy,30", "no distribution has the mean 30 of numbers"),
        (
            "p.npy --constraint moment:shares.npy,0.5",
            "shares.npy has shape (1, 2), expected (1, 20)",
        ),
        ("p.npy --constraint moment:none.npy,1", "none.npy: no such file"),
        ("p.npy --constraint marginal:ages.npy,shares.npy", "ages.npy holds 20 numbers, expected"),
        ("p.npy --constraint marginal:halves.npy,ages.npy", "ages.npy sums to 190, expected"),
        ("p.npy --constraint box:0,1 --generator alpha:3", "knows --generator kl and alpha:2"),
        ("p.npy --top-k 2 --temperature 2", "--temperature: has an effect only with --from logits"),
        ("p.npy --top-k 2 -o p.npy", "-o p.npy: is the input p.npy"),
        ("p.npy --top-k 2 -o q.npz", "-o q.npz: no format has the suffix '.npz'"),
    ],
)
def test_bad_input_is_one_line(there, line, message):
    code, printed, errors = there(line)
    assert (code, printed, errors.count("\n")) == (code, "", 1)
    assert code in (2, 3)
    assert message in errors
