"""Memory sizes as text."""

import pytest

from divmatch import budget
from divmatch.budget import available_threads, free_memory, memory_budget
from divmatch.errors import SettingError


@pytest.fixture
def free(monkeypatch):
    monkeypatch.setattr(budget, "free_memory", lambda: 8 << 30)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 << 30),
        ("2gib", 2 << 30),
        ("2Gi", 2 << 30),
        ("2GB", 2 * 10**9),
        ("2G", 2 * 10**9),
        ("500MB", 5 * 10**8),
        ("1.5GiB", 3 << 29),
        ("65536KiB", 1 << 26),
        ("100000k", 10**8),
        ("1TiB", 1 << 40),
        (" 64 MiB ", 1 << 26),
        ("33554432", 1 << 25),
        ("33554432B", 1 << 25),
        ("25%", 2 << 30),
        ("12.5%", 1 << 30),
        ("16MiB", 1 << 24),
    ],
)
def test_size_is_read(free, text, size):
    assert memory_budget(text) == size


@pytest.mark.parametrize(
    "text", ["", "lots", "-1GiB", "2 G B", "1e9", "GiB", "5PB", "2GiBs", "1,5GB", "nan"]
)
def test_other_text_is_refused(free, text):
    with pytest.raises(SettingError, match="expected a size such as 2GiB, 500MB or 25%"):
        memory_budget(text)


@pytest.mark.parametrize("text", ["0", "1", "15MiB", "16MB", "0%", "0.1%"])
def test_too_little_is_refused(free, text):
    with pytest.raises(SettingError, match="at least 16MiB are needed"):
        memory_budget(text)


@pytest.mark.parametrize("text", ["101%", "500%", "100.5%"])
def test_more_than_all_is_refused(free, text):
    with pytest.raises(SettingError, match=rf"^--max-memory {text}: .* give at most 100%$"):
        memory_budget(text)


def test_all_of_it_may_be_used(free):
    assert memory_budget("100%") == 8 << 30


def test_default_is_a_quarter_of_what_is_free(free):
    assert memory_budget(None) == 2 << 30


def test_default_is_never_below_the_least(monkeypatch):
    monkeypatch.setattr(budget, "free_memory", lambda: 1 << 20)
    assert memory_budget(None) == 16 << 20


def test_some_memory_is_free():
    assert free_memory() > 0


def test_container_limit_counts(monkeypatch):
    monkeypatch.setattr(budget, "_meminfo", lambda: 8 << 30)
    monkeypatch.setattr(budget, "_cgroup", lambda: 1 << 30)
    assert free_memory() == 1 << 30


def test_unknown_limits_leave_a_guess(monkeypatch):
    monkeypatch.setattr(budget, "_meminfo", lambda: None)
    monkeypatch.setattr(budget, "_cgroup", lambda: None)
    assert free_memory() == 4 << 30


def test_there_is_a_thread():
    assert available_threads() >= 1
