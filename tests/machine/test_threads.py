import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqtrain.machine.threads import granted

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture
def group(tmp_path: Path) -> Path:
    place = tmp_path / "jobs" / "mine"
    place.mkdir(parents=True)
    return place


def found(tmp_path: Path, line: str) -> int:
    (tmp_path / "own").write_text(f"1:cpuset:/elsewhere\n{line}\n")
    return granted(tmp_path, tmp_path / "own")


def test_without_cgroups_or_a_quota_all_cores_count(tmp_path: Path, group: Path):
    assert granted(tmp_path, tmp_path / "none") == CORES
    (group / "cpu.max").write_text("max 100000\n")
    assert found(tmp_path, "0::/jobs/mine") == CORES


@pytest.mark.parametrize("place", ["jobs/mine", "jobs", "."])
def test_a_quota_of_any_group_above_bounds(tmp_path: Path, group: Path, place: str):
    (tmp_path / place / "cpu.max").write_text("90000 100000\n")
    assert found(tmp_path, "0::/jobs/mine") == 1


def test_part_of_a_core_counts_as_one_and_more_than_there_are_as_all(tmp_path: Path, group: Path):
    (group / "cpu.max").write_text(f"{CORES * 100_000 - 1} 100000\n")
    assert found(tmp_path, "0::/jobs/mine") == CORES
    (group / "cpu.max").write_text("99900000 100000\n")
    assert found(tmp_path, "0::/jobs/mine") == CORES


def test_quotas_of_version_1_and_paths_of_the_host(tmp_path: Path):
    folder = tmp_path / "cpu,cpuacct"
    folder.mkdir()
    (folder / "cpu.cfs_quota_us").write_text("50000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert found(tmp_path, "2:cpu,cpuacct:/docker/not/seen/here") == 1
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert found(tmp_path, "2:cpu,cpuacct:/docker/not/seen/here") == CORES


def test_the_command_limits_how_long_threads_spin_unless_the_environment_says_otherwise():
    code = "import os; from seqtrain import cli; cli.main(['--version']); print(os.environ.get('GOMP_SPINCOUNT'))"
    env = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    for told, expected in (({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")):
        run = subprocess.run([sys.executable, "-c", code], env=env | told, capture_output=True, text=True, check=True)
        assert run.stdout.split()[-1] == expected
