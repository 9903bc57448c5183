"""Flows: their gradients, where they end, and what they say when they do not get there."""

import numpy as np
import pytest

import divmatch
from divmatch.errors import SettingError
from divmatch.matcher import Watch, task
from divmatch.samples import as_samples
from divmatch.transport.flow_ratio import SHAPES
from divmatch.transport.flow_sinkhorn import Divergence, sent
from divmatch.transport.ratio_critic import Critic
from tests.reference.flows import slopes
from tests.tolerances import LUCK, ROUNDING, SAME

METHODS = ("sliced-riesz", "mmd", "energy", "sliced-w2", "sinkhorn", "kl", "js", "chi2")
PLAIN = ("sliced-riesz", "energy", "sliced-w2", "sinkhorn", "mmd", "kl")


def flow(x, y, method="sliced-riesz", **options):
    return divmatch.match.flow(x, y, method=method, metric="none", **options)


def rows(n, d, seed=0):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def target(name, n, d):
    rng = np.random.default_rng([n, d])
    y = rng.normal(size=(n, d))
    if name == "gaussian":
        return 2 * y + 3
    if name == "bimodal":
        y[:, 0] = 0.3 * y[:, 0] + np.where(rng.random(n) < 0.3, -2, 2)
        return y
    angles = rng.uniform(0, 2 * np.pi, n)
    y[:, :2] = 0.1 * y[:, :2] + 3 * np.c_[np.cos(angles), np.sin(angles)]
    return y


def test_all_divergences_are_there():
    assert tuple(task("flow").methods) == METHODS


# -------------------------------------------------------------------------------- gradients


def test_gradient_of_the_sinkhorn_divergence_is_its_slope():
    x, y = rows(5, 2), rows(6, 2, 1) + 0.5

    def value(at):
        return Divergence(y, None, None, 0.5).at(np.array(at), np.array(at), None)[0]

    found = Divergence(y, None, None, 0.5).at(x, x, None)[1] / 5
    assert found == pytest.approx(np.array(slopes(value, x.tolist())), abs=1e-5)


def test_sinkhorn_divergence_of_a_translation_is_its_square():
    x = rows(40, 3)
    found = Divergence(x + np.array([0.7, -0.2, 0.4]), None, None, 0.3).at(x, x, None)[0]
    assert found == pytest.approx(0.69, abs=1e-6)


def test_entropic_map_of_gaussians_has_the_known_slope():
    """N(0, 1) to N(0, 1.5²) at eps = 1: 1.270690633."""
    grid = (np.arange(400) - 199.5)[:, None] / 40
    a, b = np.exp(-(grid[:, 0] ** 2) / 2), np.exp(-(grid[:, 0] ** 2) / 4.5)
    found = Divergence(grid, b / b.sum(), a / a.sum(), 1.0)
    found.at(grid, grid, None)
    ends = sent(np.array([[-1.0], [1.0]]), found.y, found.last[0].g, 1.0)[:, 0]
    assert (ends[1] - ends[0]) / 2 == pytest.approx(1.270690633, abs=1e-2)


def test_critic_finds_the_ratio_of_shifted_gaussians():
    x, y = rows(4000, 1) + 1.0, rows(4000, 1, 1)
    critic = Critic(x, y)
    features = critic.fit(x, y, np.full(4000, 1 / 4000), np.full(4000, 1 / 4000))[2]
    slope = critic.slopes(x, features)[:, 0].mean()
    assert slope == pytest.approx(1.0, abs=LUCK(0.04, bias=0.02))


@pytest.mark.parametrize("name", SHAPES)
def test_slope_of_an_f_divergence_follows_from_the_ratio(name):
    """∇f'(r) = slope(h) ∇h with r = eʰ, for f' of the method's text."""
    primes = {"kl": np.log, "js": lambda r: np.log(2 * r / (1 + r)) / 2, "chi2": lambda r: 2 * r}
    h = np.array([-0.7, 0.0, 1.3])
    found = (primes[name](np.exp(h + 1e-6)) - primes[name](np.exp(h - 1e-6))) / 2e-6
    assert SHAPES[name].slope(h) == pytest.approx(found, abs=1e-8)


def test_slices_follow_the_energy_distance_of_all_pairs():
    x, y = rows(60, 4), rows(50, 4, 1) + 0.5
    many, all_pairs = flow(x, y, projections=2000, steps=1), flow(x, y, "energy", steps=1)
    found = [one.fit.facts["objective_before"] for one in (many, all_pairs)]
    assert found[0] == pytest.approx(found[1], rel=0.02)


# ------------------------------------------------------------------------------------- ends


@pytest.mark.parametrize("method", PLAIN)
@pytest.mark.parametrize("name", ["gaussian", "ring", "bimodal"])
def test_flow_comes_as_near_as_rows_of_one_distribution(method, name):
    found = flow(rows(150, 2), target(name, 150, 2), method)
    assert found.converged
    assert found.fit.facts["objective"] <= found.fit.facts["goal"]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["gaussian", "ring", "bimodal"])
@pytest.mark.parametrize("d", [2, 8])
def test_flow_says_so_or_is_near_held_out_rows(method, name, d):
    """What is left is of the size of the noise between two samples of Q."""
    y, fresh = target(name, 600, d)[::2], target(name, 600, d)[1::2]
    found = flow(rows(300, d), y, method)
    if not found.converged:
        assert {note.code for note in found.fit.notes} & {"W86", "W87"}
        return
    after = divmatch.energy(found.points, fresh, method="v").value
    assert after < 0.5 * divmatch.energy(rows(300, d), fresh, method="v").value
    if method in ("sliced-riesz", "energy", "sliced-w2", "sinkhorn"):
        assert after < 4 * divmatch.energy(y, fresh, method="v").value


def test_polyak_step_halves_the_distance_of_transport_on_a_line():
    x, y = rows(30, 1), 3 * rows(30, 1, 1) + 1
    found = flow(x, y, "sliced-w2", steps=5, tol=1e-9, every=1)
    apart = [np.sqrt(np.mean((np.sort(s[:, 0]) - np.sort(y[:, 0])) ** 2)) for s in _passed(found)]
    before = np.sqrt(np.mean((np.sort(x[:, 0]) - np.sort(y[:, 0])) ** 2))
    assert apart == pytest.approx([before / 2**k for k in range(1, 6)], rel=1e-10)


def _passed(found):
    return found.fit.arrays["snapshots"]


def test_equal_samples_do_not_move():
    x = rows(20, 2)
    assert flow(x, x, "energy").points == pytest.approx(x, abs=ROUNDING(20, scale=10))


def test_rows_of_q_that_are_all_the_same_have_no_noise():
    """The goal is a share of the first objective, not what rounding makes of Q's halves."""
    found = flow(rows(30, 2), np.full((30, 2), 1.1), "energy", steps=2).fit.facts
    assert found["goal"] == pytest.approx(1e-9 * found["objective_before"])


def test_a_kernel_too_wide_to_tell_rows_apart_is_refused():
    with pytest.raises(SettingError, match="--bandwidth 1e"):
        flow(rows(30, 2), rows(30, 2, 1), "mmd", bandwidth=1e7)


@pytest.mark.parametrize("method", METHODS)
def test_objective_of_the_record_falls(method):
    figures = flow(rows(50, 2), rows(50, 2, 1) + 2, method).results
    assert figures[1].value < 0.05 * figures[0].value


@pytest.mark.parametrize("method", PLAIN)
def test_flow_has_the_units_of_the_data(method):
    x, y = rows(40, 2), rows(40, 2, 1) + 1
    found = flow(4 * x + 8, 4 * y + 8, method, steps=6)
    assert found.points == pytest.approx(4 * flow(x, y, method, steps=6).points + 8, abs=1e-6)


def test_samples_far_apart_are_brought_together_first():
    x, y = rows(50, 2), rows(50, 2, 1) + 1e7
    found = flow(x, y)
    assert found.converged
    assert found.fit.facts["translation"] == pytest.approx(1e7 * 2**0.5, rel=1e-6)


def test_weights_count_as_copies():
    x, y = rows(12, 2), rows(10, 2, 1)
    often = np.arange(10) % 3 + 1
    one = flow(x, y, "energy", weights_y=often, steps=4, tol=1e-6)
    other = flow(x, np.repeat(y, often, axis=0), "energy", steps=4, tol=1e-6)
    assert one.points == pytest.approx(other.points, abs=1e-9)


# ------------------------------------------------------------------------------ not converged


def test_too_few_steps_are_not_converged():
    found = divmatch.match.flow(rows(50, 2), rows(50, 2, 1) + 5, steps=1)
    codes = {note.code for note in found.after.warnings}
    assert {"W68", "W86"} <= codes
    assert found.after.status == "inconclusive"


def test_particles_that_rest_are_not_converged():
    found = flow(rows(40, 1), rows(40, 1, 1) + 8, "mmd", kernel="gaussian", bandwidth=0.3)
    assert not found.converged
    assert [note.code for note in found.fit.notes] == ["W87"]


def test_best_place_is_kept_where_the_goal_is_not_reached():
    x, y = rows(40, 2), rows(40, 2, 1) + 5
    found = flow(x, y, steps=3)
    curve = [row["objective"] for row in found.curve]
    assert found.fit.facts["objective"] <= min(curve)


def test_equal_rows_are_parted_aloud():
    found = flow(np.zeros((20, 2)), rows(20, 2))
    assert found.converged
    assert "W11" in [note.code for note in found.fit.notes]


# -------------------------------------------------------------------------------- on the way


class Stopping(Watch):
    """Keeps every state; `stop` raises as Ctrl-C does."""

    def __init__(self, state=None, stop=None):
        super().__init__()
        self.state, self.stop = state, stop

    def kept(self):
        return self.state

    def keep(self, state):
        self.state = state()
        if self.stop is not None and len(self.curve) >= self.stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["sliced-riesz", "mmd"])
def test_flow_goes_on_from_where_it_was_stopped(method):
    x, y = as_samples(rows(40, 2), "x"), as_samples(rows(40, 2, 1) + 2, "y")
    chosen = task("flow").methods[method]
    settings = chosen.checked({"tol": 0.01, "steps": 12, "every": 3})

    def run(watch):
        return chosen(x, y, **settings, rng=np.random.default_rng(0), watch=watch)

    whole, first = run(Watch()), Stopping(stop=5)
    with pytest.raises(KeyboardInterrupt):
        run(first)
    again = Stopping(first.state)
    found = run(again)
    assert SAME(found.points, whole.points)
    assert SAME(found.arrays["snapshots"], whole.arrays["snapshots"])
    assert len(again.curve) == whole.facts["steps"]
