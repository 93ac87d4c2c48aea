"""Music: the next frame of a piano roll."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from seqtrain.codecs.prepared import Column
from seqtrain.codecs.ragged import Ragged
from seqtrain.codecs.roll import PianoRoll, Rolls
from seqtrain.config import LineError, UserError
from seqtrain.contract import Batch, Likelihood, Output
from seqtrain.data.kinds import KEYS, Piece
from seqtrain.evaluation import metrics, plots, synthesis
from seqtrain.evaluation.baselines.frames import FrameNgram, FrameRepeated
from seqtrain.evaluation.metrics import Totals, Weighted, of_sums
from seqtrain.evaluation.synthesis import Sound
from seqtrain.likelihoods.autoregressive import Autoregressive
from seqtrain.reading.files import ending
from seqtrain.reading.midi import Music as Notes
from seqtrain.reading.scores import read_rolls, to_notes
from seqtrain.tasks.base import Task, mean_loss

ORDER = 5  # of the n-gram
SAMPLES = 16  # by which novelty is judged
SHOWN = 2  # samples
PHRASE = 8  # frames of a sample that are looked for in training


class Music(Task):
    """Learns which of 88 keys sound in the next frame. The loss is in nats a frame, of every frame but the first of a
    piece (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392)."""

    kinds = ("music",)
    fields = ("roll", "roll")
    keys = ("roll", "roll")
    many = False

    def __init__(self, transpose: int, max_length: int, monitor: str):
        self.target = self.roll = PianoRoll(max_length)
        self.transpose = transpose
        self.monitor = monitor

    def likelihood(self) -> Likelihood:
        return Autoregressive(self.roll.positions.shape[0])

    def examples(self, records: Sequence[Piece]) -> Rolls:
        frames = self.roll.encode_all(Column(records, "roll"))
        return Rolls(records, None, frames, shifted=True, transpose=self.transpose)

    def loss(self, batch: Batch, output: Output) -> Totals:
        return super().loss(later(batch), output)

    def measure(self, model: Any, rows: Any, batch: Batch, output: Output, examples: Any, decoder: Any) -> Totals:
        batch = later(batch)
        predicted, true = self.spec.likelihood.best(output), batch.real(batch.target)
        known = ~true.isnan()
        found = metrics.notes((predicted * known).cpu().numpy(), true.nan_to_num().cpu().numpy())
        begins = (output.lengths.cumsum(0) - output.lengths).cpu().numpy()
        notes = {name: np.add.reduceat(counts, begins).astype(float) for name, counts in found.items()}
        return self.loss(batch, output) | {"rows": rows.tolist(), **notes}

    def score_weighted(self, totals: Totals) -> Weighted:
        def score(sums: dict[str, float]) -> dict[str, float]:
            return mean_loss(sums) | {"frame_accuracy": metrics.frame_accuracy(sums["both"], sums["either"])}

        return of_sums({name: totals[name] for name in ("nats", "items", "both", "either")}, score)

    def baselines(self, train: Sequence[Piece], records: Sequence[Piece]) -> dict[str, dict[str, float]]:
        known, asked = ([piece.roll.frames for piece in some] for some in (train, records))
        found = {}
        for name, model in {"frame repeated": FrameRepeated(), f"frame {ORDER}-gram": FrameNgram(ORDER)}.items():
            model.fit(known)
            nats = np.concatenate([model.losses(frames) for frames in asked])
            notes = metrics.notes(*map(np.concatenate, zip(*((model.best(f), f[1:]) for f in asked), strict=True)))
            sums = (float(notes[name].sum()) for name in ("both", "either"))
            found[name] = {"loss": float(nats.mean()), "frame_accuracy": metrics.frame_accuracy(*sums)}
        return found

    def parse(self, line: str | bytes, number: int) -> Piece:
        try:
            if isinstance(line, str) and ending(line.strip()) in self.roll.endings:
                return Piece(line, read_rolls(line.strip(), "input", self.roll.steps)[0])
            return Piece(line if isinstance(line, str) else "", self.roll.load(line))
        except (ValueError, UserError) as error:
            raise LineError(number, str(error)) from None

    def given(self, source: str, target: str, number: int) -> Piece:
        return self.parse(source, number)

    def asked(self, records: Sequence[Piece]) -> Rolls:
        return Rolls(records, None, None, prompts=Ragged.of([self.roll.encode(piece.roll) for piece in records]))

    def blank(self, line: str | bytes) -> bool:
        """Nothing to go on from is a prompt, too."""
        return False

    @torch.inference_mode()
    def answer(self, model: Any, batch: Batch, records: Sequence[Piece], decoder: Any) -> list[dict[str, Any]]:
        return [
            {"output": self.written(piece, frames)}
            for piece, frames in zip(records, decoder.frames(model, batch).tolist(), strict=True)
        ]

    def written(self, record: Piece, ids: Sequence[Any]) -> str:
        """The piece, and the frames (T, 88) that go on from it."""
        return self.roll.decode(np.concatenate([record.roll.frames, np.array(ids).reshape(-1, KEYS)]))

    def show(self, model: Any, examples: Rolls, totals: Totals, decoder: Any) -> dict[str, Any]:
        begun = [Piece("a piece from its beginning", self.roll.parse("")) for _ in range(SHOWN)]
        texts = [answer["output"] for answer in self.answers(model, begun, decoder)]
        shown: dict[str, Any] = {}
        for i, text in enumerate(texts, 1):
            shown[f"roll {i}"] = plots.roll(self.roll.parse(text).frames, self.roll.steps)
            shown[f"sample {i}"] = self.sound(text)
        return shown

    def sound(self, text: str) -> Sound:
        """What an output sounds like."""
        roll = self.roll.parse(text)
        return synthesis.of_music(Notes(to_notes(roll.frames, roll.steps), roll.tempo))

    @property
    def files(self) -> dict[str, Callable[[str], bytes]]:
        return {".wav": lambda text: self.sound(text).wav(), ".mid": lambda text: self.sound(text).files[".mid"]}

    def predictions(self, model: Any, examples: Rolls, totals: Totals, decoder: Any) -> list[dict[str, Any]]:
        """Free samples."""
        begun = [Piece("", self.roll.parse(""))] * SAMPLES
        return [{"prediction": answer["output"]} for answer in self.answers(model, begun, decoder)]

    def judge(self, train: Sequence[Piece], predictions: list[dict[str, Any]]) -> dict[str, float]:
        """The share of the phrases of samples that are in no training piece."""
        known = {phrase for piece in train for phrase in phrases(piece.roll.frames)}
        found = [phrase for row in predictions for phrase in phrases(self.roll.parse(row["prediction"]).frames)]
        return {"novelty": float(np.mean([phrase not in known for phrase in found]))} if found else {}


def later(batch: Batch) -> Batch:
    """Without the first frame of each piece, which counts for nothing."""
    assert batch.target is not None
    target = batch.target.clone()
    target[:, 0] = torch.nan
    return batch._replace(target=target)


def phrases(frames: np.ndarray) -> list[bytes]:
    """All runs of `PHRASE` frames."""
    return [frames[i : i + PHRASE].tobytes() for i in range(len(frames) - PHRASE + 1)]
