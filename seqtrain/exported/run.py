"""Answers lines with a model that seqtrain has exported: this folder is all it needs, torch is not.

    python run.py < lines.txt      one answer for each line
    python run.py --beam 1         greedy search, where the model writes texts
    python run.py --temperature 1  samples
    python run.py --jsonl          labels with their probabilities

Needs numpy and onnxruntime; tokenizers for subwords, regex for words.
"""

import argparse
import json
import sys
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from search import log_softmax, search  # noqa: E402
from texts import END, Text  # noqa: E402

BATCH = 64  # lines that are answered together


class Model:
    """The exported programs, and what lines mean to them."""

    def __init__(self, folder):
        self.about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.source, self.target, self.search = (self.about[name] for name in ("source", "target", "search"))
        self.programs = {file.stem: onnxruntime.InferenceSession(str(file)) for file in sorted(folder.glob("*.onnx"))}
        self.reads, self.writes = (
            Text(**side["text"]) if "text" in (side or {}) else None for side in (self.source, self.target)
        )
        self.detailed = False
        self.random = np.random.default_rng(self.search.get("seed"))

    def run(self, name, *arrays):
        slots = self.programs[name].get_inputs()
        return self.programs[name].run(None, {slot.name: array for slot, array in zip(slots, arrays, strict=True)})

    def answers(self, lines):
        """One for each line; those of like lengths are answered together."""
        asked = [(*self.read(line), i) for i, line in enumerate(lines) if line.strip() or not self.source]
        asked.sort(key=lambda one: (len(one[1]), len(one[0]), one[2]))
        found = [""] * len(lines)
        for _, same in groupby(asked, key=lambda one: len(one[1])):
            same = list(same)
            for some in (same[start : start + BATCH] for start in range(0, len(same), BATCH)):
                sources, prompts, places = zip(*some, strict=True)
                for place, answer in zip(places, self.batch(sources, np.array(prompts)), strict=True):
                    found[place] = answer if self.reads or not self.writes else self.continued(lines[place], answer)
        return found

    def continued(self, line, ids):
        return self.writes.continued(line.partition("\t")[2] if self.source else line, ids)

    def read(self, line):
        """The positions of a line, and the ids that its answer begins with."""
        if self.reads:
            return self.reads.encode(line), [*self.writes.encode("")[:-1]] if self.writes else []
        if self.writes:  # a prompt, behind a label where texts have one
            label, _, prompt = line.partition("\t") if self.source else ("", "", line)
            labels = [self.source["labels"].index(label) + 1] if self.source else []
            return np.array(labels), [END, *self.writes.ids(prompt)]
        values = json.loads(line) if line.lstrip().startswith("[") else line.replace(",", " ").split()
        values = np.array(values, float).reshape(len(values), -1)
        values = values[-self.source["context"] :] if "context" in self.source else values[: self.source["max_length"]]
        return values, []

    def batch(self, sources, prompts):
        """The answers to some sources; ids, where they are to be put behind prompts."""
        if "horizon" in self.target:
            return self.forecasts(np.array(sources))
        given = ()
        if self.source:
            lengths = np.array([len(source) for source in sources])
            padded = np.zeros((len(sources), lengths.max(), *sources[0].shape[1:]), sources[0].dtype)
            for row, source in zip(padded, sources, strict=True):
                row[: len(source)] = source
            if "mean" in self.source:
                padded = (padded - np.array(self.source["mean"])) / np.array(self.source["deviation"])
            given = (padded.astype(np.float32) if "mean" in self.source else padded), lengths
        if not self.writes:
            return [self.labelled(row) for row in np.exp(log_softmax(self.run("model", *given)[0])).tolist()]
        found = self.searched(given, prompts, 1 if self.search["temperature"] else self.search["beam_size"])
        return [self.writes.decode(ids) for ids in found] if self.reads else found

    def labelled(self, row):
        """The label that probabilities decide for: one that reaches its threshold, or the best of those without one."""
        scores, limits = dict(zip(self.target["labels"], row, strict=True)), self.target.get("thresholds", {})
        reached = {label: scores[label] / limit for label, limit in limits.items() if scores[label] >= limit}
        some = reached or {label: score for label, score in scores.items() if label not in limits}
        label = max(some, key=some.__getitem__, default="")
        probability = scores.get(label, max(row))
        return {"output": label, "probability": probability, "scores": scores} if self.detailed else label

    def forecasts(self, values):
        """values: (B, S, C), the last of the series, NaN where missing. Each answer holds the next ones."""
        size, segment, horizon = self.source["context"], self.source["segment"], self.target["horizon"]
        mean, offset, scale = (np.array(self.source[name]) for name in ("mean", "offset", "deviation"))
        last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(size)[:, None]), 1)
        filled = np.where(last < 0, mean, np.take_along_axis(values, np.maximum(last, 0), 1))
        offset = filled[:, -1:] if self.source["window"] else offset
        parts = [(filled - offset) / scale, *[np.isnan(values)] * self.source["flagged"]]
        folded = [part.reshape(len(part), size // segment, -1) for part in parts]
        inputs = np.zeros((len(values), horizon // segment, folded[0].shape[2]), np.float32)
        inputs[:, 0] = folded[0][:, -1]
        source = np.concatenate(folded, -1).astype(np.float32)
        scores = self.run("model", source, np.full(len(values), size // segment), inputs)[0]
        made = scores.reshape(len(values), horizon, -1) * scale + offset
        digits = np.maximum(0, 6 - np.floor(np.log10(scale)).astype(int))
        made = np.vectorize(round, otypes=[float])(made, np.broadcast_to(digits, made.shape))
        return [rows[:, 0].tolist() if rows.shape[1] == 1 else rows.tolist() for rows in made]

    # ---------------------------------------------------------------------------------------- texts

    def searched(self, given, prompts, k):
        """The ids of the best output of each source; k: how many are kept at each step, 1 for greedy search."""
        started = self.run("start", *given) if given else []
        memory, state = started[: self.about["memory"]], started[self.about["memory"] :]
        for place in range(prompts.shape[1]):
            program = "first" if place == 0 and "first" in self.programs else "step"
            scores, *state = self.run(program, prompts[:, place : place + 1], *state, *memory)
        bounds = [self.search["max_length"] or 500] * len(prompts)
        if given and self.about["many"] and not self.search["max_length"]:
            bounds = [2 * int(length) + 50 for length in given[1]]
        return search(partial(self.run, "step"), scores, state, memory, bounds, k, self.search, self.random)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beam", type=int, dest="beam_size", help="outputs kept at each step")
    parser.add_argument("--temperature", type=float, help="above 0: sample, the more freely the higher")
    parser.add_argument("--jsonl", action="store_true", help="labels with their probabilities, an object a line")
    model, options = Model(HERE), vars(parser.parse_args())
    model.detailed = options.pop("jsonl") and "labels" in model.target
    model.search.update({name: value for name, value in options.items() if value is not None})
    for answer in model.answers(sys.stdin.read().splitlines()):
        print(json.dumps(answer, ensure_ascii=False) if model.detailed else answer)


if __name__ == "__main__":
    main()
