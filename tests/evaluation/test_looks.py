"""Every look at a test set leaves a line, and the same look only one."""

from datetime import UTC, datetime

from netwarden.evaluation.looks import PAGE, looks_at, record_look

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOOK = ("0123456789abcdef", "nsl_kdd", "bundle abc, budget 0.01", {"accuracy": 0.91234})


def test_each_look_is_a_row_of_one_table_and_the_same_one_again_adds_nothing(tmp_path):
    (tmp_path / ".git").mkdir()
    assert record_look(tmp_path, NOW, *LOOK)
    assert not record_look(tmp_path, NOW.replace(day=2), *LOOK)
    assert record_look(tmp_path, NOW.replace(day=3), "fedcba9876543210+changes", *LOOK[1:])
    lines = (tmp_path / PAGE).read_text().splitlines()
    assert lines[0] == "# Looks at test sets"
    assert lines[-2] == "| 2026-03-01 | 0123456789ab | nsl_kdd | bundle abc, budget 0.01 | accuracy 0.9123 |"
    judged = "bundle abc, budget 0.01; repeats 0123456789ab: the same figures"
    assert lines[-1] == f"| 2026-03-03 | fedcba987654+changes | nsl_kdd | {judged} | accuracy 0.9123 |"
    assert sum(line.startswith("| 2026") for line in lines) == 2


def test_a_look_that_shows_the_figures_of_an_earlier_one_is_its_repeat_and_does_not_count(tmp_path):
    (tmp_path / ".git").mkdir()
    record_look(tmp_path, NOW, *LOOK)
    assert record_look(tmp_path, NOW, "another", "nsl_kdd", "bundle def, budget 0.01", {"accuracy": 0.91233})
    assert not record_look(tmp_path, NOW.replace(day=9), "another", "nsl_kdd", "bundle def, budget 0.01", LOOK[-1])
    assert looks_at(tmp_path, "nsl_kdd") == 1
    assert record_look(tmp_path, NOW, "another", "nsl_kdd", "bundle def, budget 0.05", {"accuracy": 0.92})
    assert (looks_at(tmp_path, "nsl_kdd"), looks_at(tmp_path, "lab")) == (2, 0)
    assert (tmp_path / PAGE).read_text().count("repeats 0123456789ab: the same figures") == 1


def test_outside_a_repository_nothing_is_written(tmp_path):
    assert not record_look(tmp_path, NOW, *LOOK)
    assert not (tmp_path / PAGE).exists()
