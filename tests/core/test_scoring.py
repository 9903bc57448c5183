"""Scores of families, of functions in Python files and of programs, and what goes wrong with them."""

import os
import sys
import time

import numpy as np
import pytest
from scipy import stats

from divmatch.errors import DivmatchError
from divmatch.scoring import columns_of, known, sampled_named
from divmatch.targets import opened
from tests.tolerances import SAME

DIFFERENCES = 1e-6  # of central differences with a step of 1e-5


def rows(n, d, seed=0):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def numeric(log_density, x, step=1e-5):
    eye = step * np.eye(x.shape[1])
    slopes = [(log_density(x + move) - log_density(x - move)) / (2 * step) for move in eye]
    return np.column_stack(slopes)


# ------------------------------------------------------------------------------------ families


@pytest.fixture
def families(tmp_path, monkeypatch):
    """Every family in two columns, and its log density by SciPy."""
    monkeypatch.chdir(tmp_path)
    mean, shape = np.array([1.0, -0.5]), np.array([[2.0, 0.6], [0.6, 1.0]])
    centres, x, y = rows(7, 2, 1), rows(12, 2, 2), rows(12, 1, 3)[:, 0]
    np.save("m.npy", mean)
    np.save("c.npy", shape)
    np.save("k.npy", centres)
    np.savez("mix.npz", weights=[0.3, 0.7], means=[mean, -mean], covariances=[0.5, 2.0])
    np.savez("lin.npz", x=x, y=y, noise=0.5, prior=2.0)
    np.savez("log.npz", x=x, y=y > 0, prior=2.0)

    def mixture(z):
        parts = [(0.3, mean, 0.5), (0.7, -mean, 2.0)]
        made = [
            np.log(w) + stats.multivariate_normal(m, v * np.eye(2)).logpdf(z) for w, m, v in parts
        ]
        return np.logaddexp(*made)

    def bumps(z):
        return np.log(
            sum(np.exp(-((z - centre) ** 2).sum(axis=1) / (2 * 0.49)) for centre in centres)
        )

    def prior(z):
        return stats.norm(0, 2**0.5).logpdf(z).sum(axis=1)

    def logistic(z):
        chances = 1 / (1 + np.exp(-z @ x.T))
        return np.log(np.where(y > 0, chances, 1 - chances)).sum(axis=1) + prior(z)

    return {
        "gaussian:m.npy,c.npy": stats.multivariate_normal(mean, shape).logpdf,
        "student:3.5,m.npy,c.npy": stats.multivariate_t(mean, shape, df=3.5).logpdf,
        "mixture:mix.npz": mixture,
        "kde:k.npy,0.7": bumps,
        "linear:lin.npz": lambda z: stats.norm(z @ x.T, 0.5**0.5).logpdf(y).sum(axis=1) + prior(z),
        "logistic:log.npz": logistic,
    }


FAMILIES = (
    "gaussian:m.npy,c.npy",
    "student:3.5,m.npy,c.npy",
    "mixture:mix.npz",
    "kde:k.npy,0.7",
    "linear:lin.npz",
    "logistic:log.npz",
)
EVERY_FAMILY = pytest.mark.parametrize("name", FAMILIES)


@EVERY_FAMILY
def test_scores_are_slopes_of_the_density(families, name):
    z = rows(6, 2)
    found = opened(sampled_named(name), 2).scores(z)
    assert found == pytest.approx(numeric(families[name], z), abs=DIFFERENCES)


@EVERY_FAMILY
def test_log_density_is_right_up_to_a_constant(families, name):
    z = rows(6, 2)
    gaps = opened(name, 2).log_density(z) - families[name](z)
    assert gaps == pytest.approx(np.full(6, gaps[0]), abs=1e-10)


@EVERY_FAMILY
def test_families_with_files_know_their_columns(families, name):
    assert columns_of(name) == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("kde:k.npy", "expected kde:FILE.npy,BANDWIDTH"),
        ("kde:k.npy,0", "expected kde:FILE.npy,BANDWIDTH"),
        ("logistic:lin.npz", "y must hold 0 and 1 alone"),
        ("logistic:bare.npz", "bare.npz::prior"),
        ("logistic:flat.npz", "x has shape"),
        ("linear:log.npz", "noise"),
        ("student:-1,0,1", "expected student:DF,MEAN,SHAPE"),
        ("kde:wide.npy,1", "wide.npy has 3 columns, but the rows have 2"),
        ("file.py:log_density", "file.py: no such file"),
        ("here.py:", "'' is no name of a function"),
    ],
)
def test_target_that_is_none_is_one_line(families, target, message):
    np.savez("bare.npz", x=rows(3, 2), y=np.ones(3))
    np.savez("flat.npz", x=np.ones(3), y=np.ones(3), prior=1.0)
    np.save("wide.npy", rows(4, 3))
    with pytest.raises(DivmatchError) as caught, known(sampled_named(target), None, 1.0, 2):
        pass
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------- Python files

SOURCE = """
import numpy as np
print("loaded")
def log_density(x):
    print("asked")
    return np.sin(x).sum(axis=1) + 1000 * x[:, 0]
def score(x):
    made = np.cos(x)
    made[:, 0] += 1000
    return made
def column(x):
    return log_density(x)[:, None]
def changed(x):
    x[:] = 0
    return x.sum(axis=1)
def flat(x):
    return x
def score_few(x):
    return x[:, :1]
def score_none(x):
    return np.where(x > 0, x, np.nan)
def words(x):
    return "many"
def breaks(x):
    return x.missing
def leaves(x):
    raise SystemExit(3)
five = 5
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text(SOURCE)
    return tmp_path


def asked(name, x, command=None, timeout=20.0):
    with known(name, command, timeout, x.shape[1]) as target:
        return target.scores(x)


@pytest.mark.parametrize("name", ["log_density", "column"])
@pytest.mark.parametrize(("unit", "far"), [(1.0, 0.0), (1e-3, 0.0), (1.0, 1e4)])
def test_density_has_the_scores_that_its_differences_say(file, name, unit, far):
    x = rows(8, 3) * unit + far
    found = asked(f"t.py:{name}", x)
    rounding = 2.0**-52 * (1 + 1000 * far) / (6e-6 * unit)
    assert found == pytest.approx(asked("t.py:score", x), abs=10 * rounding + 1e-6)


def test_what_the_file_prints_is_no_output(file, capfd):
    asked("t.py:log_density", rows(2, 1))
    printed, errors = capfd.readouterr()
    assert printed == ""
    assert errors.startswith("loaded\nasked")


def test_naming_a_file_does_not_run_it(file, capfd):
    sampled_named("t.py:log_density")
    assert capfd.readouterr() == ("", "")


def test_nothing_is_left_beside_the_file(file):
    asked("t.py:score", rows(2, 1))
    assert [one.name for one in file.iterdir()] == ["t.py"]


def test_function_cannot_change_the_particles(file):
    x = rows(3, 2)
    kept = x.copy()
    asked("t.py:changed", x)
    assert SAME(x, kept)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "t.py has no function 'none'"),
        ("five", "t.py has no function 'five'"),
        ("flat", "expected values of ln p of shape (8,); a function that returns"),
        ("score_few", "returned numbers of shape (4, 1), expected scores of shape (4, 2)"),
        ("score_none", "nan at row"),
        ("words", "returned str, expected numbers"),
        ("breaks", "AttributeError in line "),
        ("leaves", "SystemExit in line "),
    ],
)
def test_function_that_gives_no_scores_is_one_line(file, name, message):
    with pytest.raises(DivmatchError) as caught:
        asked(f"t.py:{name}", -np.abs(rows(4, 2)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_cannot_be_run_is_one_line(file):
    (file / "t.py").write_text("def f(:\n")
    with pytest.raises(DivmatchError, match=r"t.py:f: SyntaxError"):
        asked("t.py:f", rows(2, 1))


# ----------------------------------------------------------------------------------- programs

PROGRAM = """
import os, subprocess, sys, time
mode, asked = sys.argv[1], 0
if mode == "early":
    print("1 2", flush=True)
    time.sleep(0.2)
if mode == "child":
    held = subprocess.Popen(["sleep", "100"])
    with open("child", "w") as child:
        child.write(str(held.pid))
with open("own", "w") as own:
    own.write(str(os.getpid()))
for line in sys.stdin:
    if not line.strip():
        sys.stdout.flush()
        asked += 1
        continue
    row = [float(word) for word in line.split()]
    if mode == "dies" and asked == 1:
        sys.exit("out of luck")
    if mode == "hangs" and asked == 1:
        time.sleep(100)
    if mode == "junk":
        row = ["word"]
    if mode == "nan":
        row[1] = "nan"
    if mode == "few":
        row = row[:1]
    sep = ", " if mode == "commas" else " "
    print(sep.join(str(v if mode in ("junk", "nan") else -v) for v in row))
    if mode == "many":
        print("1 2")
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.py").write_text(PROGRAM)
    return lambda mode: f"'{sys.executable}' p.py {mode}"


def number(name):
    with open(name) as file:
        return int(file.read())


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def gone(pid):
    """Whether a process ends within a second."""
    for _ in range(20):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("mode", ["plain", "commas"])
def test_program_is_asked_again_and_again(program, mode):
    with known(None, program(mode), 20.0, 2) as target:
        for k in range(3):
            x = rows(5 + k, 2, k) * 10.0 ** rows(5 + k, 2, 9)
            assert SAME(target.scores(x), -x)
            assert alive(number("own"))
    assert gone(number("own"))


def test_program_that_answers_while_it_reads_is_not_waited_for(program):
    x = rows(20_000, 2)
    assert SAME(asked(None, x, program("plain")), -x)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("dies", "ended before it had answered (exit 1): out of luck"),
        ("hangs", "within 1 s (--timeout); it must flush its output"),
        ("junk", "line 0 of its answer has 1 number, expected 2"),
        ("nan", "the score of row 0, column 1 is nan"),
        ("few", "line 0 of its answer has 1 number, expected 2"),
        ("many", "more lines than"),
        ("early", "more lines than"),
    ],
)
def test_program_that_gives_no_scores_is_one_line(program, mode, message):
    def twice():  # lines too many may come late: they are found in the end
        with known(None, program(mode), 1.0, 2) as target:
            for _ in range(2):
                target.scores(rows(4, 2))

    with pytest.raises(DivmatchError) as caught:
        twice()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert gone(number("own"))


def test_word_in_the_place_of_a_number_is_named(program):
    with pytest.raises(DivmatchError, match="line 0 of its answer: 'word' is no number"):
        asked(None, rows(4, 1), program("junk"))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("none-such x", "cannot be started (No such file or directory)"),
        ("'open", "No closing quotation"),
        ("  ", "names no program"),
        ("true", "ended before it had answered (exit 0)"),
        ("cat /dev/zero", "a line that does not end"),
    ],
)
def test_command_that_cannot_answer_is_one_line(command, message):
    with pytest.raises(DivmatchError) as caught:
        asked(None, rows(4, 2), command)
    assert message in str(caught.value)


def test_what_a_program_has_started_ends_with_it(program):
    asked(None, rows(4, 2), program("child"))
    assert gone(number("child"))
