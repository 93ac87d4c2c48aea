"""Answers lines with a model that seqtrain has exported: this folder is all it needs, torch is not.

    python run.py < lines.txt      one answer for each line, as mode=predict of seqtrain writes it
    python run.py --beam 1         greedy search, where the model writes texts
    python run.py --temperature 1  samples
    python run.py --jsonl          an object a line; labels with their probabilities

Needs numpy and onnxruntime; tokenizers for subwords, regex for words.
"""

import argparse
import json
import os
import sys
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from inputs import InputError, prompt_of, series_of, texts_of  # noqa: E402
from lines import one_line  # noqa: E402
from search import log_softmax, search  # noqa: E402
from series import forecasts  # noqa: E402
from texts import END, Text  # noqa: E402

BATCH = 64  # lines that are answered together


class Model:
    """The exported programs, and what lines mean to them."""

    def __init__(self, folder, threads=1):
        self.about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.source, self.target, self.search = (self.about[name] for name in ("source", "target", "search"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        files = sorted(folder.glob("*.onnx"))
        self.programs = {file.stem: onnxruntime.InferenceSession(str(file), options) for file in files}
        self.reads, self.writes = (
            Text(**side["text"]) if "text" in (side or {}) else None for side in (self.source, self.target)
        )
        self.random = np.random.default_rng(self.search.get("seed"))

    def run(self, name, *arrays):
        slots = self.programs[name].get_inputs()
        return self.programs[name].run(None, {slot.name: array for slot, array in zip(slots, arrays, strict=True)})

    def lines(self, data, objects=False):
        """The lines that answer those of `data`, bytes. objects: each is JSON, with all that is known."""
        for row in self.answers(texts_of(data)):
            yield json.dumps(row, ensure_ascii=False) if objects else one_line(row["output"])

    def answers(self, texts):
        """An object for each; those of like lengths are answered together."""
        asked = [(*self.read(text, i + 1), i) for i, text in enumerate(texts) if text.strip() or not self.source]
        asked.sort(key=lambda one: (len(one[1]), len(one[0]), one[2]))
        rows = [{"input": text, "output": ""} for text in texts]
        for _, same in groupby(asked, key=lambda one: len(one[1])):
            same = list(same)
            for some in (same[start : start + BATCH] for start in range(0, len(same), BATCH)):
                sources, prompts, places = zip(*some, strict=True)
                for place, answer in zip(places, self.batch(sources, np.array(prompts)), strict=True):
                    if self.writes and not self.reads:
                        answer = self.continued(texts[place], answer)
                    rows[place] |= answer if isinstance(answer, dict) else {"output": answer}
        return rows

    def continued(self, text, ids):
        return self.writes.continued(text.partition("\t")[2] if self.source else text, ids)

    def read(self, text, number):
        """The positions of a text, and the ids that its answer begins with. number: of the line."""
        if self.reads:
            return self.reads.encode(text), [*self.writes.encode("")[:-1]] if self.writes else []
        if self.writes:
            labels, prompt = prompt_of(text, self.source and self.source["labels"], number)
            return labels, [END, *self.writes.ids(prompt)]
        return series_of(text, self.source, number), []

    def batch(self, sources, prompts):
        """The answers to some sources; ids, where they are to be put behind prompts."""
        if "horizon" in self.target:
            return forecasts(partial(self.run, "model"), np.array(sources), self.source, self.target["horizon"])
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
        return {"output": label, "probability": scores.get(label, max(row)), "scores": scores}

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
    parser.add_argument("--threads", type=int, default=1, help="of onnxruntime; more than 1 is for large models")
    parser.add_argument("--jsonl", action="store_true", help="an object a line; labels with their probabilities")
    options = vars(parser.parse_args())
    objects, model = options.pop("jsonl"), Model(HERE, options.pop("threads"))
    model.search.update({name: value for name, value in options.items() if value is not None})
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        for line in model.lines(sys.stdin.buffer.read(), objects):
            print(line)
        sys.stdout.flush()
    except InputError as error:
        sys.stderr.write(f"run.py: {error}\n")
        return 2
    except BrokenPipeError:  # nobody reads on; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
