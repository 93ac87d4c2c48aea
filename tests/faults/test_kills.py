"""Runs that are killed at any moment and resumed end with the very bits of an uninterrupted one."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import MORE, TASKS, Server, differences, serving, words


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


def go(server: Server, task: str, folder: Path, kill: int | None = None, fresh: bool = False):
    """Starts the run, or resumes it where it has begun."""
    place = folder / "run"
    argv = [f"resume={place}"] if (place / "config.yaml").exists() else words(task, place)
    return server.start(argv, folder, kill, fresh)


@pytest.mark.parametrize("task", [*TASKS, *MORE])
def test_a_killed_run_is_resumed_to_the_last_bit(task: str, server: Server, tmp_path: Path, scale: int) -> None:
    """Kills in chains: a run is killed, its resumption is killed, and so on; then it may end."""
    if task in MORE and not scale:
        pytest.skip("in the long form")
    chance = random.Random(f"kills {task}")
    begin = time.monotonic()
    code, told = server.run(words(task, tmp_path / "whole"), tmp_path)
    seconds = time.monotonic() - begin  # of a run; of the shortest one so far, since the first is slow
    assert code == 0, told
    killed = saving = chains = 0
    while killed < (1, 50)[scale] or saving < (1, 12)[scale]:
        chains += 1
        folder = tmp_path / str(chains)
        folder.mkdir()
        for link in range((2, 10)[scale]):
            inside = link % 2 == 1
            begin = time.monotonic()
            process = go(server, task, folder, chance.randint(1, 40) if inside else None, fresh=chance.random() < 0.06)
            if not inside:
                time.sleep(chance.uniform(0, seconds))
                process.kill(signal.SIGKILL)
            ended = process.wait()
            assert ended in (-signal.SIGKILL, 0), process.told
            killed += ended != 0
            saving += inside and ended != 0
            if ended == 0:
                seconds = min(seconds, time.monotonic() - begin)
                break
        process = go(server, task, folder)
        code, told = process.wait(), process.told
        found = differences(folder / "run", tmp_path / "whole") if code == 0 else [told]
        print(
            f"{task}: {chains} runs, killed {killed} times, {saving} inside a save; {found or 'none lost'}", flush=True
        )
        assert not found
