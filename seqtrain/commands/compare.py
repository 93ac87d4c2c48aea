"""mode=compare: two runs on the same test examples, or two groups of runs that differ in their seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqtrain.commands.assembly import Config, fingerprint
from seqtrain.commands.loaded import Loaded
from seqtrain.commands.outputs import write_table
from seqtrain.config import UserError
from seqtrain.config.options import Options
from seqtrain.config.sources import Configs
from seqtrain.engine.recorder import digits
from seqtrain.evaluation.metrics import METRICS, Totals, joined
from seqtrain.evaluation.significance import TRIALS, paired, welch
from seqtrain.evaluation.tables import aligned
from seqtrain.tasks.base import Task

Sides = Sequence[Sequence[tuple[Config, Path]]]
NAMES = "A", "B"
SHOWN = 5  # examples
ALONE = 5000  # examples that are scored by themselves; of more, so many evenly spaced ones
LEVEL = 0.05  # of significance


class Result(NamedTuple):
    """What a run has answered. totals: the measures of the test examples, in the order of their places."""

    loaded: Loaded
    totals: Totals


def compare(cfg: Config, sides: Sides) -> None:
    """Prints what differs between the settings of both sides, their test scores, and whether these differ by more than
    chance."""
    sizes = sorted(map(len, sides))
    if sizes[0] < 2 <= sizes[1]:
        raise UserError("runs: a group of runs is compared with another one of at least two, by the spread in each")
    print(*aligned([["setting", *NAMES], *differences(sides)]), "", sep="\n")
    loaded = [[Loaded(config, folder) for config, folder in runs] for runs in sides]
    first = loaded[0][0]
    for other in (run for run in chain(*loaded) if run is not first):  # before any is scored, which takes time
        check_alike(other, first)
    results = [[measured(run) for run in runs] for runs in loaded]
    for result in chain(*results):
        check_examples(result, results[0][0])
    task = first.task
    if all(len(side) == 1 for side in results):
        by_example(cfg, task, results[0][0], results[1][0])
    else:
        by_run(task, results)


def differences(sides: Sides) -> list[list[str]]:
    """The settings that differ between the sides, with their values on either."""
    options = Options(Configs())
    words = [[options.typed(config) for config, _ in runs] for runs in sides]
    names = dict.fromkeys(name for some in words for each in some for name in each)
    rows = []
    for name in names:
        values = [" | ".join(dict.fromkeys(shown(each.get(name)) for each in some)) for some in words]
        if values[0] != values[1]:
            rows.append([name, *values])
    return rows or [["(none)", "", ""]]


def shown(value: Any) -> str:
    return "(default)" if value is None else str(value)


# ---------------------------------------------------------------------------------------------------- measures


def measured(loaded: Loaded) -> Result:
    """Scores a run on its test split."""
    loaded.warn_of_other_data()
    totals = loaded.totals("test")
    if "rows" not in totals:
        raise UserError(f"runs: the task of {loaded.run} measures no single examples, which a comparison needs")
    return Result(loaded, in_order(totals))


def check_examples(result: Result, first: Result) -> None:
    """Raises `UserError` where the same test data have become other examples."""
    if result.totals["rows"] != first.totals["rows"]:
        counts = " and ".join(f"{len(some.totals['rows']):,}" for some in (first, result))
        raise UserError(f"runs: {first.loaded.run} and {result.loaded.run} cut the test data into different examples "
                        f"({counts}); their settings of task have to be alike")  # fmt: skip


def check_alike(loaded: Loaded, first: Loaded) -> None:
    """Raises `UserError` where scores of two runs cannot be compared. Data of the same settings are read once."""
    if loaded.cfg["data"] == first.cfg["data"]:
        loaded.records = first.records
    where = f"runs: {first.run} and {loaded.run}"
    if type(loaded.task) is not type(first.task):
        raise UserError(f"{where} are of different tasks")
    for key in loaded.task.units:
        values = [some.cfg["task"].get(key) for some in (first, loaded)]
        if values[0] != values[1]:
            raise UserError(f"{where} are scored in different units: task.{key} is {values[0]} and {values[1]}")
    hashes = [fingerprint({"test": some.records["test"]}) for some in (first, loaded)]
    if hashes[0] != hashes[1]:
        raise UserError(f"{where} have different test data (SHA-256 {hashes[0][:12]}… and {hashes[1][:12]}…); "
                        "data=… scores both on the same")  # fmt: skip


def in_order(totals: Totals) -> Totals:
    """The measures by the places of their examples in the split."""
    order = np.argsort(totals["rows"], kind="stable")
    return {
        name: values[order] if isinstance(values, np.ndarray) else [values[i] for i in order]
        for name, values in totals.items()
    }


# ---------------------------------------------------------------------------------------------------- two runs


def by_example(cfg: Config, task: Task, a: Result, b: Result) -> None:
    """Compares two runs by the examples of the test split."""
    count = len(a.totals["rows"])
    metrics = task.score_weighted(joined([a.totals, b.totals]))
    comparable = np.array_equal(a.totals.get("items", ()), b.totals.get("items", ()))
    found = paired(metrics, count, cfg["seed"], TRIALS)
    rows = [["metric", *NAMES, "B - A", "95% of B - A", "p, bootstrap", "p, randomisation"]]
    for name in dict.fromkeys([task.monitor, *found]):
        if comparable or name not in ("loss", "perplexity"):
            of = found[name]
            interval = f"{digits(of.low)} to {digits(of.high)}"
            p = [f"{value:.3f}" for value in (of.bootstrap, of.randomisation)]
            rows.append([name, *map(digits, (of.a, of.b, of.b - of.a)), interval, *p])
    print(*aligned(rows), "", sep="\n")
    print(f"{count:,} test examples, {TRIALS:,} trials of each test, seed={cfg['seed']}")
    main = found[task.monitor]
    print(verdict(task.monitor, main.a, main.b, main.randomisation))
    changes = examples(task, a, b, metrics)
    if cfg["output"] not in (None, "-"):
        write_table(cfg, list(changes[0]), changes)
    show(task.monitor, changes[:SHOWN])


def verdict(metric: str, a: float, b: float, p: float) -> str:
    """What is to be said of two scores."""
    if p >= LEVEL:
        return f"no difference in {metric} that is more than chance (p = {p:.3f})"
    better = NAMES[METRICS[metric].sign * (b - a) > 0]
    return f"{better} is better in {metric}: {digits(a)} and {digits(b)}, p {f'= {p:.3f}' if p >= 0.001 else '< 0.001'}"


def examples(task: Task, a: Result, b: Result, metrics: Callable[..., dict[str, float]]) -> list[dict[str, Any]]:
    """Test examples with what either run made of them, those first whose score has changed most."""
    size, made = len(a.totals["rows"]), []
    data = a.loaded.loader("test").examples
    for i in np.unique(np.linspace(0, size - 1, min(size, ALONE)).astype(int)).tolist():
        row = a.totals["rows"][i]
        scores = [alone(metrics, place, 2 * size, task.monitor) for place in (i, size + i)]
        example: dict[str, Any] = {"example": task.example(data, row)}
        if "targets" in a.totals:
            outputs = (a.totals["targets"][i], a.totals["outputs"][i], b.totals["outputs"][i])
            example |= dict(zip(("target", *NAMES), map(task.told, outputs), strict=True))
        made.append(example | {f"{task.monitor} {name}": score for name, score in zip(NAMES, scores, strict=True)})
    return sorted(made, key=change, reverse=True)


def change(example: dict[str, Any]) -> float:
    """How much the score of an example has changed."""
    *_, first, second = example.values()
    return 0.0 if math.isnan(first - second) else abs(second - first)


def alone(metrics: Callable[..., dict[str, float]], place: int, size: int, name: str) -> float:
    """The score of an example by itself; NaN where it has none."""
    weights = np.zeros(size)
    weights[place] = 1
    with suppress(ZeroDivisionError):
        return metrics(weights).get(name, math.nan)
    return math.nan


def show(metric: str, changes: Sequence[dict[str, Any]]) -> None:
    changes = [example for example in changes if change(example) > 0]
    print("", f"the examples whose {metric} changed most:" if changes else f"no example changed its {metric}", sep="\n")
    for example in changes:
        scores = [example[f"{metric} {name}"] for name in NAMES]
        print(f"  {example['example']}")
        if "target" in example:
            print(f"    {'target':10}  {example['target']}")
        for name, score in zip(NAMES, scores, strict=True):
            print(f"    {name} {digits(score):8}  {example.get(name, '')}".rstrip())


# ---------------------------------------------------------------------------------------------------- several runs


def by_run(task: Task, results: Sequence[Sequence[Result]]) -> None:
    """Compares two groups of runs by the scores of each."""
    scores = [[result.loaded.task.score(result.totals) for result in side] for side in results]
    names = [name for name in dict.fromkeys([task.monitor, *scores[0][0]])
             if all(name in each for each in chain(*scores))]  # fmt: skip
    rows = [["metric", *NAMES, "B - A", "t", "degrees of freedom", "p"]]
    tests = {}
    for name in names:
        a, b = ([each[name] for each in side] for side in scores)
        tests[name] = welch(a, b)
        means = [f"{digits(float(np.mean(some)))} ± {digits(float(np.std(some, ddof=1)))}" for some in (a, b)]
        numbers = (float(np.mean(b) - np.mean(a)), tests[name].t, tests[name].freedom)
        rows.append([name, *means, *map(digits, numbers), f"{tests[name].p:.3f}"])
    print(*aligned(rows), "", sep="\n")
    print(f"{' and '.join(str(len(side)) for side in results)} runs, mean ± standard deviation, Welch's t-test")
    a, b = (float(np.mean([each[task.monitor] for each in side])) for side in scores)
    print(verdict(task.monitor, a, b, tests[task.monitor].p))
