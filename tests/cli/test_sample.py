"""`divmatch match sample`: its command line, targets that are run, and what is left after Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from pyarrow import parquet

from tests.cli.conftest import DIVMATCH

DENSITY = "def log_density(x):\n    return -0.5 * ((x - 2) ** 2).sum(axis=1)\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text(DENSITY)
    np.save("p.npy", np.random.default_rng(0).normal(size=(30, 2)))
    return tmp_path


@pytest.fixture
def inside(here, folder, monkeypatch):
    """Run a line in the folder of this test."""

    def start(line):
        monkeypatch.chdir(folder)
        return here(line)

    return start


def test_drawn_particles_are_in_every_form(inside, folder):
    code, *_ = inside(
        "match sample --target gaussian:0,1 --n 20 --dim 3 -o x.npy -o x.npz -o x.parquet --trace t.csv -q"
    )
    assert code == 0
    points = np.load(folder / "x.npy")
    assert points.shape == (20, 3)
    with np.load(folder / "x.npz") as made:
        assert (made["points"] == points).all()
    table = parquet.read_table(folder / "x.parquet")
    assert (np.column_stack([table[name] for name in table.column_names]) == points).all()
    assert (folder / "t.csv").read_text().startswith("iteration,ksd,moved\n1,")


def test_function_of_a_file_is_run(inside, folder):
    code, printed, _ = inside("match sample p.npy --target t.py:log_density -o x.npy -f json")
    assert code == 0
    assert json.loads(printed)["settings"]["params"]["target"] == "t.py:log_density"
    assert np.load(folder / "x.npy").mean(axis=0) == pytest.approx([2.0, 2.0], abs=0.01)


def test_program_is_asked(inside, folder):
    (folder / "s.py").write_text(
        "import sys\n"
        "for line in sys.stdin:\n"
        "    print(*[2 - float(word) for word in line.split()], flush=True)\n"
    )
    line = [
        "match",
        "sample",
        "p.npy",
        "--score-command",
        f"'{sys.executable}' s.py",
        "-o",
        "x.npy",
        "-q",
    ]
    assert inside(line)[0] == 0
    assert np.load(folder / "x.npy").mean(axis=0) == pytest.approx([2.0, 2.0], abs=0.01)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("match sample", "give P, rows to start from, or --n N"),
        ("match sample p.npy", "give --target NAME or --score-command CMD"),
        ("match sample p.npy --target gauss:0,1", "did you mean 'gaussian'"),
        ("match sample p.npy --target no.py:f", "no.py: no such file"),
        ("match sample p.npy --target t.py:f", "t.py has no function 'f'"),
        ("match sample p.npy p.npy --target gaussian:0,1", "unexpected extra argument"),
        ("match sample p.npy --score-command false", "ended before it had answered"),
        ("match sample p.npy --target gaussian:0,1 --n 9", "--n 9: p.npy has 30 rows"),
        ("match sample p.npy --target gaussian:c.npy,1 -o c.npy", "-o c.npy: is the input c.npy"),
        (
            "match sample p.npy --target t.py:log_density --domain simplex",
            "row 0 is not inside the simplex",
        ),
    ],
)
def test_what_cannot_be_sampled_is_one_line(inside, folder, line, says):
    np.save(folder / "c.npy", np.zeros(2))
    code, printed, errors = inside(line)
    assert (code, printed) == (2, "")
    assert says in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("line", ['target = "t.py:log_density"', 'score-command = "touch run"'])
def test_files_of_settings_cannot_run_anything(inside, folder, line):
    (folder / "divmatch.toml").write_text(f"[match.sample]\n{line}\n")
    code, _, errors = inside("match sample p.npy")
    assert code == 2
    assert "runs a program; name it on the command line" in errors
    assert not (folder / "run").exists()


def test_checkpoint_of_another_density_is_refused(inside, folder, monkeypatch):
    monkeypatch.setattr("divmatch.cli.watching.PERIOD", 0.0)
    monkeypatch.setattr("divmatch.cli.watching.Watched.finished", lambda _: None)
    line = "match sample p.npy --target t.py:log_density --checkpoint state -q -o"
    assert inside(f"{line} one.npy")[0] == 0
    assert inside(f"{line} two.npy")[0] == 0
    assert (folder / "one.npy").read_bytes() == (folder / "two.npy").read_bytes()
    (folder / "t.py").write_text(DENSITY.replace("2)", "3)"))
    code, _, errors = inside(f"{line} one.npy")
    assert code == 2
    assert "belongs to other data or settings" in errors


def test_steps_that_are_not_enough_decide_no_limit(inside):
    code, _, errors = inside("match sample p.npy --target gaussian:9,1 --steps 2 --max 1")
    assert code == 3
    assert "W57" in errors


def test_signal_ends_the_program_too_and_leaves_nothing(folder):
    (folder / "s.py").write_text(
        "import os, sys, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(100)\n"
    )
    command = [DIVMATCH, "match", "sample", "p.npy", "--score-command", f"'{sys.executable}' s.py"]
    child = subprocess.Popen(
        [*command, "-o", "x.npy"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(200):
        if (folder / "pid").exists() and (folder / "pid").read_text():
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    printed, errors = child.communicate(timeout=60)
    assert (child.returncode, printed, errors) == (-signal.SIGINT, "", "")
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)
    assert sorted(one.name for one in folder.iterdir()) == ["p.npy", "pid", "s.py", "t.py"]


def test_only_what_is_true_of_particles_is_said(inside):
    _, printed, _ = inside("match sample --target gaussian:0,1 --n 20 --dim 2")
    assert "held out" not in printed
    assert "timeout" not in printed


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--target t.py", "name a function of the file, t.py:NAME"),
        ("--target gaussian:0,1 -o x.foo", ".npy .npz"),
    ],
)
def test_refusal_says_what_can_be_given(inside, line, said):
    code, _, errors = inside(f"match sample --n 5 --dim 2 {line}")
    assert code == 2
    assert said in errors


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--dim 2", "--kernel imq"),
        ("--dim 2 --kernel imq", None),
        ("--dim 1", "more particles"),
        ("--dim 2 --method svng", None),
    ],
)
def test_advice_to_narrow_particles_is_one_that_can_be_followed(inside, options, said):
    _, _, errors = inside(f"match sample --target gaussian:0,1 --n 12 {options}")
    assert "W69" in errors
    assert (said or "spread, by Stein's identity\n") in errors


def test_rows_in_one_place_are_told(inside, folder):
    np.save(folder / "same.npy", np.ones((6, 2)))
    _, _, errors = inside("match sample same.npy --target gaussian:0,1")
    assert "6 rows of same.npy start in 1 place and never part" in errors


def test_limit_of_a_figure_without_interval_says_what_decides(inside):
    code, printed, _ = inside("match sample --target gaussian:0,1 --n 9 --dim 2 --max 1 -q")
    assert code == 3
    assert "no interval, see --decide point" in printed
