"""Runs a folder of cases against what is right: python scripts/cases.py FOLDER [NAME …] [--show]

A case is a folder with `cmd.txt`, shell commands, and the files that they read. The commands run in a copy of the
folder, by the `seqtrain` beside this interpreter. What their output and the files that they leave must show is written
below, one function a case; a case fails with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

LIMIT = 600  # seconds for one case


class Ran(NamedTuple):
    """A case after its commands: all that they printed, the last exit code, and the folder that they left."""

    output: str
    code: int
    place: Path

    def metrics(self, run: str = "R", split: str = "test") -> dict[str, float]:
        return json.loads((self.place / run / "metrics.json").read_text(encoding="utf-8"))[split]

    def after(self, pattern: str) -> list[str]:
        """The lines behind the first line with this pattern."""
        lines = self.output.splitlines()
        first = next((number for number, line in enumerate(lines) if re.search(pattern, line)), len(lines))
        return lines[first + 1 :]


Check = Callable[[Ran], str | None]
CHECKS: dict[str, Check] = {}


def case(name: str) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return add


def lacks(text: str, *patterns: str) -> str | None:
    """Which of these patterns are not in the text."""
    missing = [pattern for pattern in patterns if not re.search(pattern, text)]
    return f"nothing matches {', '.join(missing)}" if missing else None


def holds(text: str, *patterns: str) -> str | None:
    """Which of these patterns are in the text and must not be."""
    present = [pattern for pattern in patterns if re.search(pattern, text)]
    return f"matches {', '.join(present)}" if present else None


def refused_at_start(ran: Ran, name: str) -> str | None:
    """Both `mode=inspect` and the training name the fault, and the training left no checkpoint."""
    if (ran.place / "R" / "checkpoints").exists():
        return "it trained"
    told = [line for line in ran.output.splitlines() if re.search(name, line)]
    return None if len(told) >= 2 else f"{len(told)} lines match {name}"


@case("01-test-new-series")
def _(ran: Ran) -> str | None:
    if not (ran.place / "R" / "checkpoints").exists():
        return refused_at_start(ran, r"\bnew\b")
    return lacks(ran.output, r"\bnew\b") or (None if ran.metrics() else "no metrics of the test split")


@case("01b-test-too-short")
def _(ran: Ran) -> str | None:
    return refused_at_start(ran, r"(?i)test.*task\.horizon|task\.horizon.*test")


@case("02-sine-full-precision")
def _(ran: Ran) -> str | None:
    for run in ("Rsine", "Rsine6"):
        scores = ran.metrics(run)
        if not scores.get("mase", 0) < 1e6 or not scores["loss"] < 100:  # without a scale there is no MASE
            return f"{run}: loss {scores['loss']}, mase {scores.get('mase')}"
    full, short = (ran.metrics(run)["mae"] for run in ("Rsine", "Rsine6"))
    return None if abs(full - short) < 0.1 * short else f"mae {full} of 17 digits, {short} of 6"


@case("03-large-values")
def _(ran: Ran) -> str | None:
    values = [float(found) for found in re.findall(r"\b17000\d{5}\.\d+", ran.output)]
    if len(set(values)) < 6:
        return f"the forecasts are {values}"
    return None


@case("04-chinese-bleu")
def _(ran: Ran) -> str | None:
    bleu = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ran.place.glob("SW/*/metrics.json"))]
    if len(bleu) != 2:
        return f"{len(bleu)} metrics.json"
    few, many = (scores["valid"]["bleu"] for scores in bleu)
    ranked = [line for line in ran.output.splitlines() if re.search(r"max_steps=|\b40\b|\b1\b", line)]
    if not many > few:
        return f"BLEU {few} after 1 step, {many} after 40"
    return None if ranked else "no table of the sweep"


@case("04b-single-words")
def _(ran: Ran) -> str | None:
    scores = ran.metrics()
    monitor = re.search(r"best weights.*|monitor.*", ran.output)
    if scores["exact_match"] < 0.5:
        return f"exact_match {scores['exact_match']}"
    if scores["bleu"] > 10:
        return None
    text = monitor.group() if monitor else ""
    return None if re.search(r"chrf", text) else f"BLEU {scores['bleu']}, and the monitor is not chrF: {text!r}"


@case("05-hindi-words")
def _(ran: Ran) -> str | None:
    words = (ran.place / "hindi.tsv").read_text(encoding="utf-8").split()
    answer = ran.output.splitlines()[-1].split()
    if len(answer) != 3 or not set(answer) <= set(words):  # whole words; which, is a matter of training
        return f"the answer is {answer}"
    return None if ran.metrics()["exact_match"] > 0.5 else f"exact_match {ran.metrics()['exact_match']}"


@case("06-word-detok")
def _(ran: Ran) -> str | None:
    scores = ran.metrics()
    if scores["exact_match"] == 0:
        return "exact_match 0"
    return lacks(ran.output, r"(?m)^The \w+, which is \w+, costs \d+\.\d\d\.$")  # which words, is a matter of training


@case("07-tokyo-daily")
def _(ran: Ran) -> str | None:
    return lacks(ran.output, "train: 2024-01-01", r"2024-05-30(T| )?(00:00:00)?(\+09:00)?") or holds(
        ran.output, "2023-12-31", "15:00:00"
    )


@case("07b-amsterdam-daily")
def _(ran: Ran) -> str | None:
    return holds(ran.output, "lies between", "Traceback") or (None if ran.code == 0 else f"exit code {ran.code}")


@case("08-long-input")
def _(ran: Ran) -> str | None:
    return lacks(ran.output, r"(max_length|\bcut\b).*\bline|\bline.*(max_length|\bcut\b)")


@case("09-empty-line")
def _(ran: Ran) -> str | None:
    answers = [line for line in ran.output.splitlines() if line.endswith("$")]
    if len(answers) != 4:
        return f"{len(answers)} answers to 4 lines"
    return None if answers[1] == "$" and answers[2].strip() in ("$",) else f"the answers are {answers}"


@case("10-macro-f1-absent")
def _(ran: Ran) -> str | None:
    scores = ran.metrics(split="valid")
    if scores["accuracy"] == 1:
        return None if scores["macro_f1"] == 1 else f"accuracy 1, macro_f1 {scores['macro_f1']}"
    return f"accuracy {scores['accuracy']}: the case needs a model that is right"


@case("11-latin1-stdout")
def _(ran: Ran) -> str | None:
    return holds(ran.output, "Traceback", "UnicodeEncodeError")


@case("12-dollar-label")
def _(ran: Ran) -> str | None:
    return holds(ran.output, "cannot record") or (
        None
        if list((ran.place / "R" / "figures").glob("*confusion*.png"))
        else f"figures: {[each.name for each in (ran.place / 'R').glob('figures/*')]}"
    )


@case("13-dna-bpe")
def _(ran: Ran) -> str | None:
    seconds = [60 * int(a) + float(b) for a, b in re.findall(r"real\s+(\d+)m([\d.]+)s", ran.output)]
    if len(seconds) != 2:
        return "the two times are not there"
    return None if seconds[1] < 24 else f"the second command took {seconds[1]:.0f} s: it was killed"


@case("14-covariate-gaps")
def _(ran: Ran) -> str | None:
    return lacks(ran.output, r"price.*missing|missing.*price")


@case("15-empty-ids")
def _(ran: Ran) -> str | None:
    return lacks(ran.output, r"\b40\b|line \d+|row \d+") or holds(ran.output, r"\b3 series", r"series.*\bsales\b.*:")


@case("16-constant-series")
def _(ran: Ran) -> str | None:
    parts = ran.output
    return lacks(parts, r"c1", r"c2", r"c3") if "c1" in parts else None


@case("17-no-home")
def _(ran: Ran) -> str | None:
    return holds(ran.output, "Traceback", "Error: ") or (None if ran.output.strip() else "no word")


@case("18-paste-command")
def _(ran: Ran) -> str | None:
    answer = ran.output.splitlines()[-1]
    return holds(ran.output, "no such folder") or (None if ran.code == 0 and answer else f"exit code {ran.code}")


@case("19-float-column")
def _(ran: Ran) -> str | None:
    return holds(ran.output, "Traceback", "AttributeError") or (
        None if ran.code == 0 or "quote" in ran.output else f"exit code {ran.code}"
    )


@case("20-upper-txt")
def _(ran: Ran) -> str | None:
    return holds(ran.output, r"\b2,500 characters") or lacks(
        ran.output, r"\b[4] (files|documents|texts)|11,5\d\d|11,4\d\d"
    )


@case("21-relative-path")
def _(ran: Ran) -> str | None:
    return holds(ran.output, "there is no such file(?!.*data)") or lacks(ran.output, r"accuracy")


@case("22-newline-prompt")
def _(ran: Ran) -> str | None:
    answer = ran.output.splitlines()[-1]
    return holds(answer, r"\\\\n") or lacks(answer, r"^ANNA:\\nHe")


@case("23-bom-history")
def _(ran: Ran) -> str | None:
    return holds(ran.output, "expected numbers", "not UTF-8", "Traceback") or (
        None if ran.code == 0 else f"exit code {ran.code}"
    )


@case("24-cr-text")
def _(ran: Ran) -> str | None:
    return holds(ran.output, r"\r(?!\n)", r"\\r")


@case("25-parquet-index")
def _(ran: Ran) -> str | None:
    return holds(ran.output, "there is no column", "no date") or lacks(ran.output, r"(?s)windows.*windows")


@case("26-dates-without-cure")
def _(ran: Ran) -> str | None:
    return holds(ran.output, "is (no|not a) date", "lies between", "Traceback") or (
        None if ran.output.count("windows") >= 5 or "data." in ran.output else "neither read nor cured"
    )


def run(folder: Path, binaries: Path) -> Ran:
    place = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
    shutil.copytree(folder, place, dirs_exist_ok=True)
    for each in ("cmd.txt", "expected.txt"):
        (place / each).unlink(missing_ok=True)
    environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    commands = (folder / "cmd.txt").read_text(encoding="utf-8")
    done = subprocess.run(
        ["bash", "-c", commands], cwd=place, env=environment, stdout=-1, stderr=subprocess.STDOUT, timeout=LIMIT
    )
    return Ran(done.stdout.decode("utf-8", "replace"), done.returncode, place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="the cases whose names begin so; without any, all")
    parser.add_argument("--show", action="store_true", help="print what the commands of a case print")
    words = parser.parse_args()
    folders = [each for each in sorted(words.folder.iterdir()) if (each / "cmd.txt").exists()]
    if words.names:
        folders = [each for each in folders if each.name.startswith(tuple(words.names))]
    right = 0
    for folder in folders:
        began = time.monotonic()
        ran = run(folder, Path(sys.executable).parent)
        check = CHECKS.get(folder.name)
        try:
            reason = check(ran) if check else "this script has no expectation for it"
        except (FileNotFoundError, KeyError, IndexError) as error:  # what the case must leave is not there
            reason = repr(error)
        right += reason is None
        print(f"{folder.name:24} {time.monotonic() - began:5.1f} s  {reason or 'right'}", flush=True)
        if words.show:
            print("    " + ran.output.replace("\n", "\n    "), flush=True)
        shutil.rmtree(ran.place)
    print(f"{right} of {len(folders)} are right")
    sys.exit(right != len(folders))


if __name__ == "__main__":
    main()
