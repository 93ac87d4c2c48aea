"""Reproduces the figures of RESULTS.md (make results): trains what is missing, seed by seed, and rewrites the page.

python scripts/results.py                     every row, three seeds each: hours
python scripts/results.py sst2 weather        these rows only
python scripts/results.py --seeds 0 sst2      one seed
python scripts/results.py --page              only writes RESULTS.md from what results/ holds

A finished run is a file, results/ROW/NUMBER.json, whose number is its seed; run folders lie in outputs/results, and an
interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import statsmodels_baseline

ROOT = Path(__file__).resolve().parent.parent
RESULTS, RUNS = ROOT / "results", ROOT / "outputs" / "results"
RESAMPLES = 1000


@dataclass(frozen=True)
class Row:
    """One row: an experiment, what of its test figures counts, and what others report under the same protocol.

    metrics: keys of the test figures, the one that counts first. block: consecutive test examples that the bootstrap
    draws together, where neighbours overlap. each: an override for each run, whose number then is not its seed. beside:
    further figures of the trained model. others: further baselines, from the test records.
    """

    title: str
    experiment: str
    metrics: tuple[str, ...]
    protocol: str
    published: tuple[tuple[str, str, str], ...]
    overrides: tuple[str, ...] = ()
    block: int = 1
    each: tuple[str, ...] = ()
    beside: Callable[[Any], dict[str, float]] = field(default=lambda loaded: {})
    others: Callable[[Any], dict[str, dict[str, float]]] = field(default=lambda records: {})


def streamed(loaded: Any) -> dict[str, float]:
    """The loss with the state carried over the whole text."""
    loaded.task.carry = True
    return {"streamed_loss": loaded.evaluate("test")["loss"]}


def classical(records: Any) -> dict[str, dict[str, float]]:
    """ETS and ARIMA on the same windows, fitted on the training rows alone, and on all rows before the test."""
    (series,) = records
    training = int(np.searchsorted(series.times, np.datetime64("2014-01-01")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # orders that do not converge are not chosen
        return {
            f"{name}, fitted on {rows} days": scores
            for rows in (training, series.begin)
            for name, scores in statsmodels_baseline.baselines(series, rows, horizon=14).items()
        }


ETT = (
    "Rows 0 to 8,639 for training, the next 2,880 for validation, the next 2,880 for the test; all 7 channels, "
    "z-scored by the training rows, on which scale the errors are; stride 1, all 2,785 test windows. "
)
ETT_PUBLISHED = (
    ("DLinear (Zeng et al. 2023)", "0.375", "arXiv:2205.13504"),
    ("PatchTST (Nie et al. 2023)", "0.370", "arXiv:2211.14730"),
    ("SegRNN, lookback 96 (Lin et al. 2023)", "0.368", "arXiv:2308.11200"),
    ("SegRNN, lookback 720", "0.351", "arXiv:2308.11200"),
)
POLYPHONIC = (
    "The splits of Boulanger-Lewandowski et al. 2012: {}. 88 keys, independent of each other given the past; "
    "cross-entropies summed over keys, averaged over all frames but the first of each piece. The baselines choose "
    "whole frames, as models that are autoregressive within the frame do: another league. "
)
BAI = "arXiv:1803.01271"
CONLL = (
    "8,936 training sentences, of which every tenth is for validation; 2,012 for the test. F1 of phrases as conlleval "
    "counts: both ends and the kind must be right. "
)
HUANG = (
    ("BI-LSTM, spelling and context features (Huang et al. 2015)", "0.9364", "arXiv:1508.01991"),
    ("CRF", "0.9369", "arXiv:1508.01991"),
    ("BI-LSTM-CRF", "0.9413", "arXiv:1508.01991"),
)
FSDD = "3,000 recordings of six speakers at 8 kHz. "
STRINGS = FSDD + "Strings are takes of one speaker put one after the other at random: our own protocol. "
SPEAKERS = tuple(f"data.held_out={name}" for name in ("george", "jackson", "lucas", "nicolas", "theo", "yweweler"))
ROWS = {
    "multi30k": Row(
        "Multi30k, English to German, test2016",
        "multi30k",
        ("bleu_tok_lc", "bleu", "chrf"),
        "29,000 training pairs, nothing else. `bleu_tok_lc`: outputs and references lowercased, punctuation normalised "
        "and tokenized as Moses does, which gives the set's own `lc.norm.tok` references exactly; what most papers "
        "print. `bleu`: sacreBLEU, cased, 13a, on the raw texts. Beam 5. The best of the evaluations by "
        "validation tok-lc BLEU; the test split is read once.",
        (
            ("attention GRU, 100 units (nmtpy, Caglayan et al. 2017)", "37.3 tok-lc BLEU", "arXiv:1706.00457"),
            ("attention RNN, single (LIUM-CVC, Caglayan et al. 2017)", "38.1 ± 0.8", "arXiv:1707.04481"),
            ("Transformer-Tiny, beam 5 (Wu et al. 2021)", "41.02", "arXiv:2105.14462"),
        ),
    ),
    "multi30k_transformer": Row(
        "Multi30k by a small Transformer",
        "multi30k_transformer",
        ("bleu_tok_lc", "bleu", "chrf"),
        "The same data, figures and search; four layers of width 128 on either side, after Wu et al., 48 epochs.",
        (("Transformer-Tiny, beam 5 (Wu et al. 2021)", "41.02", "arXiv:2105.14462"),),
    ),
    "aeslc": Row(
        "AESLC, an e-mail to its subject",
        "aeslc",
        ("rouge_1", "rouge_2", "rouge_l", "new_words"),
        "14,436 training mails, nothing else; the original subject is the reference. ROUGE: F1 of lowercased words, "
        "without stemming, which programs that others use often add, and which is worth about a point. Beam 5.",
        (("Transformer without pre-training (Zhang et al. 2020)", "15.04 / 7.39 / 14.93", "arXiv:1912.08777"),),
    ),
    "e2e_nlg": Row(
        "E2E, attributes of a restaurant to a sentence",
        "e2e_nlg",
        ("bleu", "nist", "rouge_l", "cider_d", "chrf"),
        "42,061 training sentences of 4,862 lists of attributes; the 630 lists of the test against all their "
        "references. Names are put back into what the model writes. BLEU by sacreBLEU (13a, lowercased), the others "
        "ours; the published figures are of the challenge's own scripts, which cut words in another way.",
        (
            (
                "TGen, the baseline of the challenge (Dušek et al. 2018)",
                "65.93 BLEU, 8.61 NIST, 68.50 ROUGE-L",
                "arXiv:1810.01170",
            ),
            ("Shen et al. 2019", "68.60 BLEU, 8.73 NIST, 70.8 ROUGE-L", "arXiv:1904.01301"),
        ),
    ),
    "sst2": Row(
        "SST-2, sentences only",
        "sst2",
        ("accuracy", "macro_f1"),
        "6,920 training sentences, no phrases, no vectors from outside; 872 for validation, 1,821 for the test.",
        (),
    ),
    "conll2000": Row(
        "CoNLL-2000, phrases, without outside vectors",
        "conll2000",
        ("f1", "accuracy"),
        CONLL + "Words, their spelling (shape and affixes, as Huang et al. have them) and their characters are read.",
        HUANG,
    ),
    "conll2000_pos": Row(
        "CoNLL-2000 with the parts of speech of the set",
        "conll2000",
        ("f1", "accuracy"),
        CONLL + "The same model; the part of speech of each word, by the tagger of the set, is read, too.",
        HUANG,
        overrides=("data.features=[2]",),
    ),
    "ud_english_ewt": Row(
        "English Web Treebank, universal parts of speech",
        "ud_english_ewt",
        ("accuracy",),
        "Release 2.15: 12,544 / 2,001 / 2,077 sentences of given words; no vectors from outside.",
        (),
    ),
    "tinyshakespeare": Row(
        "Tiny Shakespeare, by characters",
        "tinyshakespeare",
        ("loss", "streamed_loss", "bits_per_char"),
        "First 90% for training, last 10% (111,540 characters) scored, in nats a character. `loss`: windows of 256 "
        "characters, each from a zero state, as nanoGPT scores. `streamed_loss`: the state carried over the whole "
        "text. The set has no test split: as with nanoGPT, the weights are the best by the loss that is reported.",
        (("nanoGPT, 10.7M parameters", "1.4697 (windowed)", "github.com/karpathy/nanoGPT"),),
        beside=streamed,
    ),
    "etth1_96": Row(
        "ETTh1, 96 hours ahead from the last 96",
        "etth1_96",
        ("mse", "mae"),
        ETT + "A GRU over segments of 24 hours, each channel by itself, all segments ahead at once.",
        ETT_PUBLISHED,
        block=192,
    ),
    "etth1_720": Row(
        "ETTh1, 96 hours ahead from the last 720",
        "etth1_720",
        ("mse", "mae"),
        ETT + "The same from 720 hours.",
        ETT_PUBLISHED,
        block=192,
    ),
    "etth1_96_feedforward": Row(
        "ETTh1 from 96 hours, the same model without recurrence",
        "etth1_96",
        ("mse", "mae"),
        "A layer that reads the whole lookback at once stands for the GRU; all else is the same.",
        (),
        overrides=("backbone=feedforward", "backbone.window=4"),
        block=192,
    ),
    "etth1_720_feedforward": Row(
        "ETTh1 from 720 hours, the same model without recurrence",
        "etth1_720",
        ("mse", "mae"),
        "A layer that reads the whole lookback at once stands for the GRU; all else is the same.",
        (),
        overrides=("backbone=feedforward", "backbone.window=15"),
        block=192,
    ),
    "jsb_chorales": Row(
        "Bach's chorales, piano rolls",
        "jsb_chorales",
        ("loss", "frame_accuracy"),
        POLYPHONIC.format("229, 76 and 77 chorales, a frame a quarter note"),
        (("RNN (Bai et al. 2018)", "8.91", BAI), ("GRU", "8.43", BAI), ("LSTM", "8.45", BAI), ("TCN", "8.10", BAI)),
    ),
    "nottingham": Row(
        "Nottingham, piano rolls",
        "nottingham",
        ("loss", "frame_accuracy"),
        POLYPHONIC.format("694, 173 and 170 tunes with chords"),
        (("RNN (Bai et al. 2018)", "4.05", BAI), ("GRU", "3.46", BAI), ("LSTM", "3.29", BAI), ("TCN", "3.07", BAI)),
    ),
    "nottingham_abc": Row(
        "Nottingham in ABC notation, by characters",
        "nottingham_abc",
        ("bits_per_char", "parses", "novel_samples"),
        "1,034 tunes, 363,159 characters with the ends of tunes: metre, unit length, key and notes. 80/10/10 by tune, "
        "variants on one side; the splits are our own. `parses`: of 64 samples, the share of which every sign is ABC, "
        "and which have a key and notes.",
        (),
    ),
    "fsdd": Row(
        "Free Spoken Digit Dataset, single digits",
        "fsdd",
        ("accuracy",),
        FSDD + "Takes 0 to 4 of each speaker and digit are the test, as the set's authors have it: the same speakers.",
        (),
    ),
    "fsdd_speakers": Row(
        "Free Spoken Digit Dataset, single digits of a new speaker",
        "fsdd",
        ("accuracy",),
        FSDD + "Each speaker in turn is the test, whom training and validation have not heard.",
        (),
        each=SPEAKERS,
    ),
    "fsdd_strings": Row(
        "Free Spoken Digit Dataset, strings of three to six digits",
        "fsdd_strings",
        ("wer", "exact_match"),
        STRINGS + "Test strings are made of takes 0 to 4, training strings of others: the same speakers.",
        (),
    ),
    "fsdd_strings_speakers": Row(
        "Free Spoken Digit Dataset, strings of three to six digits of a new speaker",
        "fsdd_strings",
        ("wer", "exact_match"),
        STRINGS + "Each speaker in turn is the test, whom training and validation have not heard.",
        (),
        each=SPEAKERS,
    ),
    "yesno": Row(
        "yesno, eight Hebrew words in a recording",
        "yesno",
        ("wer", "exact_match"),
        "60 recordings of one speaker, sorted by name: the first half for training, the second half for the test. A "
        "smoke test.",
        (("icefall", "0.0042", "github.com/k2-fsa/icefall"),),
    ),
    "pendigits": Row(
        "Pendigits, single digits of new writers",
        "pendigits",
        ("accuracy",),
        "7,494 digits of 30 writers for training, some of them for validation; 3,498 of 14 other writers for the test. "
        "The strokes as they were written are read.",
        (),
    ),
    "pendigits_strings": Row(
        "Pendigits, strings of three to six digits of new writers",
        "pendigits_strings",
        ("cer", "exact_match"),
        "Strings of one writer each, put together at random, of the writers of each split: our own protocol.",
        (),
    ),
    "weather": Row(
        "Seattle's highest temperature of the day, 14 days ahead",
        "weather",
        ("mae", "rmse"),
        "2012 and 2013 for training, 2014 for validation, 2015 for the test, every window whose 14 targets lie in "
        "it. In degrees Celsius. ETS and ARIMA (order by AIC) are fitted by statsmodels, and their state goes on to "
        "each window.",
        (),
        block=28,
        others=classical,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--page", action="store_true", help="only rewrite RESULTS.md")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if not args.page:
        todo = [(run, name) for name in args.rows or ROWS for run in (range(len(ROWS[name].each)) or args.seeds)]
        for run, name in sorted(todo, key=itemgetter(0)):  # the first of each row before the second of any
            if not (RESULTS / name / f"{run}.json").exists():
                keep(name, run, train(name, run))
    (ROOT / "RESULTS.md").write_text(page(), encoding="utf-8")


def train(name: str, run: int) -> Path:
    """Trains one run, or goes on with it, and returns its folder."""
    row, folder = ROWS[name], RUNS / name / str(run)
    if not (folder / "metrics.json").exists():
        of_run = row.each[run] if row.each else f"seed={run}"
        words = [f"experiment={row.experiment}", *row.overrides, of_run, f"hydra.run.dir={folder}"]
        if (folder / "checkpoints" / "last").exists():
            words = [f"resume={folder}"]
        subprocess.run([sys.executable, "-m", "seqtrain", *words], cwd=ROOT, check=True)
    return folder


def keep(name: str, run: int, folder: Path) -> None:
    """Writes results/ROW/RUN.json from a finished run."""
    import torch
    import yaml

    from seqtrain import load

    row, metrics = ROWS[name], json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    found = {key: metrics[key] for key in ("valid", "test", "baselines", "parameters", "data", "versions", "curve")}
    loaded = load(folder)
    found["baselines"] |= row.others(loaded.source.read("test"))
    found["interval"] = interval(loaded, row, found["test"][row.metrics[0]])
    found["test"] |= row.beside(loaded)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    found |= {"speed": metrics["speed"] | {"threads": torch.get_num_threads()}, "config": config}
    file = RESULTS / name / f"{run}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def interval(loaded: Any, row: Row, reached: float) -> list[float] | None:
    """The 95% bootstrap interval of the first metric over the test examples (Efron 1979; Koehn 2004). None where the
    examples by themselves do not give the figure that was reached, as where a state is carried from one to the next."""
    from seqtrain.contract import Batching
    from seqtrain.engine.evaluate import evaluate
    from seqtrain.engine.loader import Loader
    from seqtrain.evaluation import metrics

    records = loaded.source.read("test")
    loader = Loader.of(loaded.task.examples(records), Batching(examples=row.block, positions=None), None)
    parts: list[metrics.Totals] = []
    for rows in loader.plan(0):
        one = type(loader)(loader.examples, lambda epoch, rows=rows: [rows])
        parts.append(evaluate(loaded.model, loaded.task, one, loaded.decoder, loaded.device))
    if not np.isclose(loaded.task.score(metrics.joined(parts))[row.metrics[0]], reached, rtol=0.01):
        return None
    random, scores = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        totals = metrics.joined(parts[part] for part in random.integers(len(parts), size=len(parts)))
        scores.append(loaded.task.score(totals)[row.metrics[0]])
    return np.quantile(scores, [0.025, 0.975]).tolist()


# ---------------------------------------------------------------------------------------------------- the page


def page() -> str:
    """RESULTS.md, from the files in results/."""
    parts = [
        "# Results",
        "Written by `make results` from the files in `results/`, each a finished run: its configuration, the hash of "
        "its data, its curve, figures and time. Settings were chosen by validation; each run reads the test split "
        "once, at its end. Minutes and items a second hold whatever else the machine did, so they are no "
        "measure of speed. ± is the standard deviation over seeds; the interval is the 95% bootstrap over test "
        f"examples ({RESAMPLES:,} resamples) of the first seed.",
    ]
    for name, row in ROWS.items():
        files = sorted((RESULTS / name).glob("*.json"))
        if files:
            parts.append(section(name, row, [json.loads(file.read_text(encoding="utf-8")) for file in files]))
    return "\n\n".join(parts) + "\n"


def section(name: str, row: Row, runs: list[dict[str, Any]]) -> str:
    first = row.metrics[0]
    if runs[0]["interval"]:
        low, high = map(number, runs[0]["interval"])
        within = f", interval {low} to {high}"
    else:
        within = ""
    ours = [("**seqtrain**", *(spread([run["test"][metric] for run in runs]) for metric in row.metrics), "")]
    simple = {
        kind: scores for kind, scores in runs[0]["baselines"].items() if any(metric in scores for metric in row.metrics)
    }
    baselines = [
        (f"baseline: {kind}", *(number(scores.get(metric)) for metric in row.metrics), "")
        for kind, scores in simple.items()
    ]
    published = [(who, figure, *[""] * (len(row.metrics) - 1), source) for who, figure, source in row.published]
    seconds = [run["speed"]["seconds"] for run in runs]
    count = f"{len(runs)} {'runs' if row.each else 'seed(s)'}"
    lines = [
        f"## {row.title}",
        f"    seqtrain {' '.join([f'experiment={row.experiment}', *row.overrides, *(row.each or ('seed=0',))[:1]])}",
        row.protocol,
        table(("", *row.metrics, "source"), [*ours, *baselines, *published]),
        f"{count}; {first} of the first {number(runs[0]['test'][first])}{within}; on "
        f"validation {spread([run['valid'].get(first) for run in runs])}. "
        f"{runs[0]['parameters']:,} parameters; {mean(seconds) / 60:.0f} minutes of training with "
        f"{runs[0]['speed']['threads']} thread(s) of a CPU, "
        f"{mean(run['speed']['items_per_s'] for run in runs):,.0f} target items a second. "
        f"Data `{runs[0]['data'][:12]}`; torch {runs[0]['versions']['torch']}.",
    ]
    return "\n\n".join(lines)


def spread(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return number(mean(known)) + (f" ± {number(stdev(known))}" if len(known) > 1 else "")


def number(value: float | None) -> str:
    """Four decimals below 10, two above."""
    return "" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    main()
