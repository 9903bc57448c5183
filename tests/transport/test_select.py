"""Rows that stand for the whole."""

import math
from itertools import combinations

import numpy as np
import pytest
from pyarrow import parquet
from scipy.optimize import nnls

import divmatch
from divmatch.errors import DivmatchError
from divmatch.matcher import Watch
from divmatch.samples import as_samples
from divmatch.transport.covering import CONCAVE, Cover
from divmatch.transport.halving import exchanged, halved
from divmatch.transport.selection import Column, whole_of
from divmatch.transport.simplex import least_norm
from divmatch.transport.strata import allocated, cells_of, drawn
from tests.reference import selection as reference
from tests.tolerances import LUCK, ROUNDING, SAME

METHODS = ("herding", "thinning", "greedy", "prototypes", "stratified")
EVERY = pytest.mark.parametrize("method", METHODS)


def normal(n, d=2, seed=0):
    return np.random.default_rng([n, d, seed]).normal(size=(n, d))


def select(x, y=None, **settings):
    return divmatch.match.select(x, y, metric="none", **settings)


def seen(x, y=None, n=5, bandwidth=1.0, weights=None):
    """What the methods work on."""
    y = None if y is None else as_samples(y, "y")
    return whole_of(as_samples(x, "x", weights), y, "gaussian", bandwidth, n)


# ------------------------------------------------------------------------------------- herding


@pytest.mark.parametrize("unique", [False, True])
def test_herding_is_greedy_in_the_mmd(unique):
    x = normal(15)
    found = select(x, n=7, bandwidth=1.0, unique=unique).rows.tolist()
    masses = [1 / 15] * 15
    assert found == reference.greedy_mmd(reference.gaussian, x, x, masses, 7, unique)


def test_herding_stands_for_weighted_rows_of_another_sample():
    x, y = normal(20), normal(15, seed=1) + 1.0
    weights = np.random.default_rng(0).random(15)
    found = select(x, y, n=6, bandwidth=1.0, weights_y=weights).rows.tolist()
    masses = (weights / weights.sum()).tolist()
    assert found == reference.greedy_mmd(reference.gaussian, x, y, masses, 6)


def test_greedy_is_exact_for_kernels_without_a_constant_diagonal():
    x = normal(20)

    def poly(p, q):
        return (p @ q / 2 + 1) ** 3

    found = select(x, n=6, kernel="poly").rows.tolist()
    assert found == reference.greedy_mmd(poly, x, x, [1 / 20] * 20, 6)


def test_energy_distance_is_a_kernel_too():
    x = normal(20)

    def minus_distance(p, q):
        return -math.dist(p, q)

    found = select(x, n=6, kernel="riesz:1").rows.tolist()
    assert found == reference.greedy_mmd(minus_distance, x, x, [1 / 20] * 20, 6)


def test_wide_rows_give_the_columns_of_narrow_ones():
    x = np.concatenate([normal(40, 20), normal(1, 20)[[0, 0]] + 1e-9])
    whole = seen(x, bandwidth=5.0)
    column = Column(whole, 1)
    gaps = x - x[41]
    expected = np.exp(-(gaps**2).sum(axis=1) / 50.0)
    assert column.wide
    assert column.of(41) == pytest.approx(expected, abs=ROUNDING(20))


def test_rows_chosen_twice_are_told():
    x = np.r_[np.zeros(30), 9.0]
    codes = {n.code for r in select(x[:, None], n=20, bandwidth=1.0).results for n in r.warnings}
    assert "W80" in codes


# -------------------------------------------------------------------------------------- figures


@EVERY
def test_after_is_the_mmd_of_the_quantity(method):
    x = normal(60)
    found = select(x, method=method, n=7)
    scale = found.settings["bandwidth"]
    mmd = divmatch.mmd(x, found.points, method="v", bandwidth=scale, weights_y=found.weights)
    assert found.after.value == pytest.approx(mmd.value, abs=ROUNDING(60))


def test_before_is_that_of_random_rows():
    """(k(0) − mean k) / m · (n − m) / (n − 1) in expectation; 200 draws vary by about a twelfth."""
    x, n, m = normal(300), 300, 20
    whole = seen(x, n=m)
    expected = (1.0 - whole.energy) / m * (n - m) / (n - 1)
    found = select(x, n=m, bandwidth=1.0).before.value
    assert found == pytest.approx(expected, abs=LUCK(expected / 12, z=3))


def test_herding_beats_random_rows_as_published():
    """1,000 rows of two columns, 50 chosen, s = 1: squared MMD 4.5e-4 against 1.27e-2."""
    found = select(normal(1000), n=50, bandwidth=1.0)
    assert found.after.value < found.before.value / 20
    assert found.fit.facts["factor"] == pytest.approx(
        (found.before.value / found.after.value) ** 0.5
    )


def test_weights_bring_more():
    x = normal(400)
    plain, weighted = (select(x, n=30, bandwidth=1.0, weighted=w) for w in (False, True))
    assert SAME(plain.rows, weighted.rows)
    assert weighted.after.value < plain.after.value / 3
    assert weighted.fit.facts["gap"] < 1e-3 * weighted.after.value


def test_all_rows_are_the_whole():
    found = select(normal(30), n=30, unique=True)
    assert sorted(found.rows) == list(range(30))
    assert found.after.value == pytest.approx(0.0, abs=ROUNDING(900))


def test_random_rows_that_do_better_are_told():
    x = np.r_[np.zeros(99), 1.0][:, None]
    found = select(x, n=2, method="greedy", bandwidth=0.1)
    codes = {n.code for r in found.results for n in r.warnings}
    assert ("W81" in codes) == (found.after.value > found.before.value)


# -------------------------------------------------------------------------------------- weights


def test_least_norm_is_that_of_another_solver():
    whole = seen(normal(80), n=25)
    rows = np.arange(25)
    mean = whole.mean[rows]
    q = whole.gram(rows) - mean[:, None] - mean + whole.energy
    values, vectors = np.linalg.eigh(q)
    half = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    v = nnls(np.vstack([half, np.ones(25)]), np.r_[np.zeros(25), 1.0])[0]
    other = v / v.sum()
    w, gap = least_norm(q)
    assert w.sum() == pytest.approx(1.0, abs=ROUNDING(25))
    assert w.min() >= 0
    assert w @ q @ w <= other @ q @ other + 1e-12
    assert gap <= 1e-10


def test_equal_rows_do_not_stop_the_solver():
    q = np.ones((6, 6)) + np.diag([1.0, 1, 0, 0, 0, 0])
    w, gap = least_norm(q)
    assert w.sum() == pytest.approx(1.0, abs=ROUNDING(6))
    assert gap <= 1e-9


@EVERY
def test_rows_without_weight_are_never_chosen(method):
    weights = np.ones(40)
    weights[:20] = 0.0
    found = select(normal(40), method=method, n=10, weights_x=weights)
    assert found.rows.min() >= 20


def test_a_weight_of_two_is_a_row_twice():
    x = normal(12)
    twice, weighted = np.vstack([x, x[3:4]]), np.ones(12)
    weighted[3] = 2.0
    one = select(twice, n=5, bandwidth=1.0)
    other = select(x, n=5, bandwidth=1.0, weights_x=weighted)
    assert SAME(twice[one.rows], x[other.rows])
    assert one.after.value == pytest.approx(other.after.value, abs=ROUNDING(100))


# ------------------------------------------------------------------------------------- thinning


def test_halves_are_those_of_the_plain_loop(monkeypatch):
    monkeypatch.setattr("divmatch.transport.halving.PAIRS", 4)
    x = normal(30)
    whole = seen(x)
    order = np.random.default_rng(1).permutation(30)
    expected = order[reference.halved(reference.gaussian, x[order])]
    assert SAME(halved(whole, order), expected)


def test_a_half_of_a_half_is_nearer_than_random_rows():
    """1,024 rows to 32 by signs alone: published .0033 against .0186 of random rows, s = 1."""
    found = select(normal(1024), method="thinning", n=32, swaps=0, bandwidth=1.0)
    assert found.fit.facts["rounds"] == 5
    assert found.after.value < found.before.value / 3


def test_an_exchange_never_makes_it_worse():
    whole = seen(normal(60), n=8)
    rows = np.arange(8)
    weights = np.full(8, 1 / 8)
    once = exchanged(whole, rows, 1)
    twice = exchanged(whole, rows, 5)
    values = [whole.mmd(r, weights) for r in (rows, once, twice)]
    assert values[0] > values[1] >= values[2]
    assert len(set(twice.tolist())) == 8


# --------------------------------------------------------------------------------------- greedy


@pytest.fixture
def cover():
    def made(kind="kl", number=4, n=30):
        rng = np.random.default_rng(0)
        return Cover(seen(normal(n), n=number, bandwidth=0.5), number, kind, 0.05, rng)

    return made


def heights(cover):
    return cover.kernel(np.arange(cover.whole.n), slice(None)).tolist()


@pytest.mark.parametrize("kind", CONCAVE)
def test_lazy_greedy_is_greedy(cover, kind):
    one = cover(kind)
    table, concave, chosen = (
        heights(one),
        getattr(math, {"kl": "log", "hellinger": "sqrt"}[kind]),
        [],
    )
    for _ in range(4):
        gains = [
            -math.inf if i in chosen else reference.cover_gain(concave, table, 0.05, [*chosen, i])
            for i in range(30)
        ]
        chosen.append(gains.index(max(gains)))
    assert one.choose(Watch()).tolist() == chosen


def test_the_share_is_of_the_best_rows_there_are(cover):
    one = cover(number=3, n=10)
    table = heights(one)
    rows = one.choose(Watch())
    best = max(
        reference.cover_gain(math.log, table, 0.05, rows) for rows in combinations(range(10), 3)
    )
    gain = reference.cover_gain(math.log, table, 0.05, rows)
    assert 1 - math.exp(-1) <= one.share() <= 1.0
    assert gain >= one.share() * best - 1e-12


def test_the_gain_is_submodular_with_the_normaliser_fixed(cover):
    table = heights(cover(n=8))

    def gain(rows):
        return reference.cover_gain(math.log, table, 0.05, rows)

    for few in combinations(range(8), 2):
        more = (*few, *(i for i in range(8) if i not in few))[:4]
        for i in set(range(8)) - set(more):
            assert gain([*few, i]) - gain(few) >= gain([*more, i]) - gain(more) - 1e-12


# ---------------------------------------------------------------------- prototypes and strata


def test_criticisms_are_greedy_in_witness_and_determinant():
    x = normal(40)
    found = select(x, method="prototypes", n=4, criticisms=3, bandwidth=1.0)
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(-1) / 2)
    witness = np.abs(kernel.mean(1) - kernel[:, found.rows].mean(1))
    chosen = []
    for _ in range(3):
        values = [
            -np.inf
            if i in chosen or i in found.rows
            else witness[[*chosen, i]].sum()
            + np.linalg.slogdet(kernel[np.ix_([*chosen, i], [*chosen, i])])[1]
            for i in range(40)
        ]
        chosen.append(int(np.argmax(values)))
    assert found.fit.arrays["criticisms"].tolist() == chosen


def test_one_row_of_each_quarter():
    x = np.arange(40.0)[:, None]
    found = select(x, method="stratified", n=4)
    assert sorted((found.rows // 10).tolist()) == [0, 1, 2, 3]
    assert found.weights == pytest.approx(0.25, abs=0)


def test_cells_have_the_mass_of_their_rows():
    weights = np.random.default_rng(0).random(50)
    found = select(normal(50), method="stratified", n=6, weights_x=weights)
    assert found.weights.sum() == pytest.approx(1.0, abs=ROUNDING(50))
    assert np.abs(found.weights - 1 / 6).max() < weights.max() / weights.sum()


def test_every_row_has_the_same_chance():
    whole = seen(normal(12), n=4)
    cells, rng = cells_of(whole, 4), np.random.default_rng(0)
    hits = np.bincount(np.concatenate([drawn(whole, cells, rng)[0] for _ in range(900)]))
    assert hits == pytest.approx(300, abs=LUCK((900 * (1 / 3) * (2 / 3)) ** 0.5, z=4))


# ------------------------------------------------------------------------------------- strata


def test_strata_have_rows_by_largest_remainders():
    """Hamilton's method: of 7 seats .46, .36 and .18 ask for 3.22, 2.52 and 1.26."""
    made = allocated(np.array([0.46, 0.36, 0.18]), np.array([50, 50, 50]), 7)
    assert made.tolist() == [3, 3, 1]


def test_a_stratum_gives_no_more_rows_than_it_has():
    made = allocated(np.array([0.9, 0.05, 0.05]), np.array([2, 30, 30]), 10)
    assert made.tolist() == [2, 4, 4]


@pytest.mark.parametrize("number", [3, 7, 40, 99])
def test_all_rows_are_given_out(number):
    masses = np.random.default_rng(number).random(6)
    masses /= masses.sum()
    made = allocated(masses, np.full(6, 50), number)
    assert made.sum() == number
    assert np.abs(made - number * masses).max() < 1


def test_rows_come_from_every_value_of_a_column():
    kinds = np.repeat([0.0, 1.0, 5.0], [60, 30, 10])
    x = np.column_stack([normal(100), kinds])
    found = select(x, method="stratified", n=10, by="2")
    assert np.unique(found.points[:, 2], return_counts=True)[1].tolist() == [6, 3, 1]
    shares = [found.weights[found.points[:, 2] == kind].sum() for kind in (0, 1, 5)]
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=ROUNDING(100))


def test_weights_of_rows_count_in_their_stratum():
    x = np.column_stack([normal(40), np.repeat([0.0, 1.0], 20)])
    weights = np.repeat([3.0, 1.0], 20)
    found = select(x, method="stratified", n=8, by="2", weights_x=weights)
    assert (found.points[:, 2] == 0).sum() == 6


def test_strata_too_rare_for_a_row_are_named():
    kinds = np.repeat([0.0, 1.0, 5.0], [50, 48, 2])
    found = select(np.column_stack([normal(100), kinds]), method="stratified", n=4, by="2")
    notes = {n.code: n.message for r in found.results for n in r.warnings}
    assert "--by 2: 5 with 2.00% of the weight" in notes["W79"]
    assert found.weights.sum() == pytest.approx(1.0, abs=ROUNDING(4))


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "^select: how many rows. give --n K$"),
        ({"n": 31}, "^--n 31: x has 30 rows that may be chosen"),
        ({"n": 0}, "^--n 0: expected a whole number at least 1"),
        ({"n": 5, "kernel": "round"}, "^--kernel round: expected"),
        ({"n": 28, "method": "prototypes", "criticisms": 5}, "^--n 33: x has 30 rows"),
        ({"n": 3, "method": "greedy", "floor": 1}, "^--floor 1"),
        (
            {"n": 3, "method": "stratified", "by": "9"},
            "^--by 9: is not among the columns read of x",
        ),
        ({"n": 3, "method": "stratified", "by": "0"}, "^--by 0: has 30 values, more than --n 3"),
    ],
)
def test_bad_settings_are_one_line(settings, message):
    with pytest.raises(DivmatchError, match=message):
        select(normal(30), **settings)


@pytest.mark.parametrize("method", ["thinning", "stratified"])
def test_methods_of_one_sample_take_no_other(method):
    with pytest.raises(DivmatchError, match="looks at P alone; leave Q out"):
        select(normal(30), normal(20), n=3, method=method)


# ---------------------------------------------------------------------------------------- command


@pytest.fixture
def there(tmp_path, monkeypatch, capfd):
    from divmatch.cli.main import run

    monkeypatch.chdir(tmp_path)
    np.save("p.npy", normal(80))
    np.save("q.npy", normal(60, seed=1) + 0.5)
    (tmp_path / "t.csv").write_text(
        "id,a,b\n" + "".join(f"r{k},{'' if k < 9 else k % 7},{k % 5}\n" for k in range(60))
    )

    def start(line):
        code = run(line.split())
        return code, *capfd.readouterr()

    return start


def test_outputs_hold_row_numbers_and_weights(there):
    assert there("match select p.npy --n 6 --weighted -o r.npy -o r.npz -o r.parquet")[0] == 0
    found = select(normal(80), n=6, weighted=True)
    table = parquet.read_table("r.parquet")
    assert SAME(np.load("r.npy"), found.rows)
    assert SAME(np.load("r.npz")["weights"], found.weights)
    assert SAME(np.column_stack([table["0"], table["1"]]), found.points)
    assert SAME(table["weight"].to_numpy(), found.weights)


def test_row_numbers_are_of_the_file_where_rows_were_dropped(there):
    line = "match select t.csv --columns a,b --na drop --n 8 --method prototypes --criticisms 3"
    assert there(f"{line} -o r.npz -o r.parquet")[0] == 0
    made = np.load("r.npz")
    assert min(made["rows"].min(), made["criticisms"].min()) >= 9
    assert parquet.read_table("r.parquet")["id"].to_pylist() == [f"r{k}" for k in made["rows"]]


def test_to_is_the_second_argument(there):
    named, placed = (
        there(f"match select p.npy {q} --n 6 -f json --no-run -q") for q in ("--to q.npy", "q.npy")
    )
    assert named == placed
    assert named[0] == 0


def test_to_beside_the_second_argument_is_one_line(there):
    code, _, errors = there("match select p.npy q.npy --to q.npy --n 6")
    assert (code, errors) == (
        2,
        "divmatch: error: --to q.npy: Q is q.npy already; leave one of them out\n",
    )


@pytest.mark.parametrize("method", ["herding --weighted", "stratified", "prototypes"])
def test_weights_of_the_chosen_rows_have_a_file(there, method):
    line = f"match select p.npy --n 6 --method {method} -o r.npz --weights-out w.npy"
    assert there(line)[0] == 0
    assert SAME(np.load("w.npy"), np.load("r.npz")["weights"])
    assert np.load("w.npy").sum() == pytest.approx(1.0, abs=ROUNDING(6))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--weights-out w.csv", "--weights-out w.csv: expected FILE.npy"),
        ("--weights-out p.npy", "--weights-out p.npy: is the input p.npy"),
        ("-o w.npy --weights-out w.npy", "--weights-out w.npy: -o writes that file"),
    ],
)
def test_weights_go_to_a_file_of_their_own(there, line, message):
    code, printed, errors = there(f"match select p.npy --n 6 {line}")
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert message in errors


def test_strata_may_be_words(there):
    with open("w.csv", "w") as file:
        file.write("kind,a\n" + "".join(f"{'abc'[k % 4 % 3]},{k}\n" for k in range(80)))
    line = "match select w.csv --n 8 --method stratified --by kind -o s.parquet"
    assert there(line)[0] == 0
    kinds = parquet.read_table("s.parquet")["kind"].to_pylist()
    assert sorted(kinds) == [*"aaaabbcc"]


def test_random_rows_are_told_once(there):
    printed = there("match select p.npy --n 6")[1]
    assert printed.count("random rows (mean of 200 draws)") == 1
    assert printed.count("squared MMD") == 1
    assert " -> " not in printed


def test_sentence_says_how_much_better_than_random(there):
    code, printed, _ = there("match select p.npy --n 6")
    assert code == 0
    assert "times smaller than of random rows" in printed.splitlines()[0]


def test_nearness_to_q_is_measured_on_held_out_rows(there):
    code, printed, _ = there("match select p.npy q.npy --n 20")
    assert code == 0
    assert "held out: fits to one half of Q" in printed


def test_missing_number_is_one_line(there):
    assert there("match select p.npy")[::2] == (
        2,
        "divmatch: error: select: how many rows? give --n K\n",
    )
