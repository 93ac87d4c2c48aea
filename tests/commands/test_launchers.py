"""Launchers of others run our sweeps: each job in its folder, the table at the end, the exit code."""

import json
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from processes import command, told

from seqtrain.commands import sweep
from seqtrain.machine import signals

TINY = ["task=sentiment", "device=cpu", "model.hidden_size=4", "model.embedding_size=4", "data.size=20"]
TINY += ["data.valid_size=8", "data.test_size=8", "trainer.max_steps=1", "hydra.sweep.dir=S"]
SEARCH = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.batch=2", "optimizer.lr=interval(0.01,1)"]
LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": [],
    "submitit_slurm": [],
    "ray": ["hydra.launcher.ray.init.num_cpus=2"],
}
SLURM = {  # what submitit calls of Slurm; it finds by their files that jobs have ended
    "sbatch": """
import os, re, subprocess, sys
text, job = open(sys.argv[-1]).read(), os.getpid()
print("Submitted batch job", job, flush=True)
if os.fork() == 0:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    for task in range(int(re.search(r"--array=0-(\\d+)", text)[1]) + 1):
        names = {"JOB_ID": job + task, "ARRAY_JOB_ID": job, "ARRAY_TASK_ID": task, "NTASKS": 1, "JOB_NUM_NODES": 1,
                 "NODEID": 0, "JOB_NODELIST": "here", "PROCID": 0, "LOCALID": 0, "JOBID": job + task}
        values = {f"SLURM_{name}": str(value) for name, value in names.items()}
        subprocess.run(["bash", sys.argv[-1]], env=os.environ | values, stdin=subprocess.DEVNULL)
""",
    "srun": """
import os, sys
os.execv(sys.executable, sys.argv[sys.argv.index(sys.executable):])
""",
    "sacct": """
import sys
print("JobID|State|NodeList")
for job in [later for word, later in zip(sys.argv, sys.argv[1:]) if word == "-j"]:
    print(f"{job}_0|RUNNING|here")
""",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of this machine."""
    for name, text in SLURM.items():
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!{sys.executable} -P{text}")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_runs_a_search(launcher: str, tmp_path: Path) -> None:
    if launcher == "ray" and not (find_spec("ray") and find_spec("hydra_plugins.hydra_ray_launcher")):
        pytest.skip("ray is not installed: pip install 'seqtrain[ray]'")
    words = ["-m", f"hydra/launcher={launcher}", *LAUNCHERS[launcher], *SEARCH, *TINY]
    with command(words, tmp_path) as process:
        assert process.wait(240) == 0, told(tmp_path)
    rows = sweep.gather(tmp_path / "S")
    assert sorted((row["number"], row["status"]) for row in rows) == [(0, "done"), (1, "done")]
    assert all(json.loads(Path(row["run"], "metrics.json").read_text())["valid"] for row in rows)
    assert re.search(r"^optimizer\.lr +accuracy +seconds +status +run$", told(tmp_path), re.MULTILINE)


def test_what_a_cluster_refuses_is_told_in_a_line(tmp_path: Path, slurm: None) -> None:
    refusing = tmp_path / "bin" / "sbatch"
    refusing.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    words = ["-m", "hydra/launcher=submitit_slurm", "model=many_to_one,seq2seq", *TINY]
    with command(words, tmp_path) as process:
        assert process.wait(240) == 2
    last = told(tmp_path).splitlines()[-1]
    assert last == "seqtrain: the cluster does not take the jobs: sbatch: error: invalid partition specified: gpu"
    assert "Traceback" not in told(tmp_path)


def test_a_grid_whose_job_fails_ends_in_1_and_goes_on_with_our_launcher(tmp_path: Path) -> None:
    words = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "model=many_to_one,seq2seq", *TINY]
    with command(words, tmp_path) as process:
        assert process.wait(240) == 1, told(tmp_path)
    assert re.search(r"^many_to_one .* done .*\nseq2seq .* failed ", told(tmp_path), re.MULTILINE)
    (done,) = tmp_path.glob("S/0-*/metrics.json")
    before = done.stat().st_mtime_ns
    with command(["resume=S"], tmp_path) as process:
        assert process.wait(240) == 1
    assert done.stat().st_mtime_ns == before
    assert re.search(r"^many_to_one .* done .*\nseq2seq .* failed ", told(tmp_path), re.MULTILINE)


def test_a_signal_goes_on_to_a_scheduler_that_puts_the_job_into_its_queue_again() -> None:
    came: list[int] = []
    previous = signals.signal.signal(signals.signal.SIGUSR1, lambda number, frame: came.append(number))
    try:
        signals.hand_on(128 + signals.signal.SIGUSR1)
        signals.hand_on(1)
    finally:
        signals.signal.signal(signals.signal.SIGUSR1, previous)
    signals.hand_on(128 + signals.signal.SIGUSR1)  # nobody waits for it, and it ends nothing
    assert came == [signals.signal.SIGUSR1]
