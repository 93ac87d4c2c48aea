"""Micro-batches: what waits together is answered together, and a mistake is told to the one who made it."""

from threading import Event

import pytest

from seqtrain.serving.batcher import Batcher, Full, Gone, Job


class Slow:
    """Work that begins when it is let, and notes which inputs came together."""

    def __init__(self):
        self.let, self.begun, self.batches = Event(), Event(), []

    def __call__(self, inputs, check):
        self.batches.append(list(inputs))
        self.begun.set()
        assert self.let.wait(20)
        check()
        if "wrong" in inputs:
            raise ValueError("wrong")
        return [value.upper() for value in inputs]


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def batcher(slow):
    made = Batcher(most_waiting=6, most_inputs=3, answered=lambda size: None)
    yield made
    slow.let.set()
    made.close()


def put(batcher: Batcher, slow: Slow, *inputs: str, key: str | None = "same") -> Job:
    job = Job(slow, inputs, key)
    batcher.put(job)
    return job


def busy(batcher: Batcher, slow: Slow) -> Job:
    """A job that the thread works on."""
    job = put(batcher, slow, "first")
    assert slow.begun.wait(20)
    return job


def test_what_waits_is_answered_together_up_to_a_limit(batcher, slow):
    first = busy(batcher, slow)
    jobs = [put(batcher, slow, *inputs) for inputs in (["a"], ["b", "c"], ["d"])]
    slow.let.set()
    assert first.result.result(20) == ["FIRST"]
    assert [job.result.result(20) for job in jobs] == [["A"], ["B", "C"], ["D"]]
    assert slow.batches == [["first"], ["a", "b", "c"], ["d"]]


def test_other_settings_are_not_answered_together(batcher, slow):
    busy(batcher, slow)
    jobs = [put(batcher, slow, "a"), put(batcher, slow, "b", key="other"), put(batcher, slow, "c")]
    jobs += [put(batcher, slow, letter, key=None) for letter in "de"]
    slow.let.set()
    assert [job.result.result(20) for job in jobs] == [["A"], ["B"], ["C"], ["D"], ["E"]]
    assert slow.batches == [["first"], ["a", "c"], ["b"], ["d"], ["e"]]


def test_a_mistake_is_told_to_the_one_who_made_it(batcher, slow):
    busy(batcher, slow)
    jobs = [put(batcher, slow, value) for value in ("a", "wrong", "c")]
    slow.let.set()
    assert [jobs[0].result.result(20), jobs[2].result.result(20)] == [["A"], ["C"]]
    with pytest.raises(ValueError, match="wrong"):
        jobs[1].result.result(20)


def test_a_full_queue_refuses(batcher, slow):
    busy(batcher, slow)
    for _ in range(6):
        put(batcher, slow, "a")
    with pytest.raises(Full):
        put(batcher, slow, "b")


def test_nobody_works_for_those_who_have_gone(batcher, slow):
    first = busy(batcher, slow)
    waiting = put(batcher, slow, "a")
    waiting.leave()
    first.leave()
    slow.let.set()
    assert isinstance(first.result.exception(20), Gone)
    assert put(batcher, slow, "b").result.result(20) == ["B"]
    assert slow.batches == [["first"], ["b"]]


def test_at_the_end_what_waits_is_answered(slow):
    batcher = Batcher(most_waiting=6, most_inputs=3, answered=lambda size: None)
    busy(batcher, slow)
    job = put(batcher, slow, "a")
    slow.let.set()
    batcher.close()
    assert job.result.result(0) == ["A"]
    with pytest.raises(Full):
        put(batcher, slow, "b")
