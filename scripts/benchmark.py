"""Measures seqtrain's speed (make bench): rates, and how near they come to what the machine can do at all.

python scripts/benchmark.py                   every row
python scripts/benchmark.py translation       the rows whose names begin so
python scripts/benchmark.py --scaling         cost against length, vocabulary, width, examples, processes
python scripts/benchmark.py --kernels         how much faster the accelerated model is than the plain one, in turn

Each row is a process of its own. Results go to outputs/benchmark/DATE.json and are shown beside the newest one before,
as ratios. The limit is the best rate of square matrix products in the row's own type, measured in the same process
before and after; the share of it counts only operations on real positions. A machine drifts: compare within one run.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

from seqtrain.machine import allocator, threads

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "outputs" / "benchmark"
REPEATS = 5
KERNELS = ("plain", "auto")
SIZES = (512, 1024, 2048)  # of the square matrices
PARTS = 25  # of an epoch
MIB = 1024**2 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB


@dataclass(frozen=True)
class Row:
    """measure: what is done with the configuration. unit: what is counted. seconds: the length of one repeat. warmup:
    updates before the first one, in which kernels are made and memory is taken for the shapes that come."""

    overrides: tuple[str, ...]
    unit: str
    measure: str = "training"
    seconds: float = 4.0
    warmup: int = 20


SAME = ("schedule=constant", "optimizer=adam", "optimizer.lr=1e-3", "model.dropout=0.0")
TRANSLATION = (
    *("task=translation", "data=multi30k", "task.tokenizer.unit=word", "task.tokenizer.lowercase=true"),
    *("task.tokenizer.min_count=2", "model.embedding_size=256", "model.hidden_size=512", "model.attention=general"),
    *("trainer.batch_size=64", *SAME),
)
SENTIMENT = (
    *("task=sentiment", "data=labelled", "data.train={folder}/texts.csv", "model.embedding_size=128"),
    *("model.hidden_size=256", "model.bidirectional=false", "model.pooling=last", "trainer.batch_size=64", *SAME),
)
CHARACTERS = (
    *("task=generation", "data=tinyshakespeare", "model.embedding_size=128", "model.hidden_size=512"),
    *("model.num_layers=2", "task.window=256", "trainer.batch_size=64", *SAME),
)
FORECASTING = (
    *("task=forecasting", "data=etth1", "model=many_to_one", "task.apart=true", "task.context=336"),
    *("task.horizon=96", "model.embedding_size=1", "model.hidden_size=128", "model.num_layers=2"),
    *("model.bidirectional=false", "model.pooling=last", "trainer.batch_size=128", *SAME),
)
DATES = ("task=translation", "trainer.epochs=1", "trainer.batch_size=64", *SAME)
EXAMPLES = (8_000, 16_000, 32_000, 64_000)
BF16 = ("trainer.precision=bfloat16",)
AUTO = ("trainer.precision=auto",)  # of the updates before decoding
LOW = ("decode.precision=bfloat16",)
FEEDING = ("model.input_feeding=true",)
ROWS = {
    "translation": Row(TRANSLATION, "target tokens", warmup=60),
    "translation_bf16": Row((*TRANSLATION, *BF16), "target tokens", warmup=60),
    "translation_feeding": Row((*TRANSLATION, *FEEDING), "target tokens", warmup=60),
    "translation_feeding_bf16": Row((*TRANSLATION, *FEEDING, *BF16), "target tokens", warmup=60),
    "translation_greedy": Row((*TRANSLATION, *FEEDING, *AUTO, "decode.beam_size=1"), "hypothesis tokens", "decoding"),
    "translation_greedy_bf16": Row(
        (*TRANSLATION, *FEEDING, *AUTO, *LOW, "decode.beam_size=1"), "hypothesis tokens", "decoding"
    ),
    "translation_beam5": Row((*TRANSLATION, *FEEDING, *AUTO, "decode.beam_size=5"), "hypothesis tokens", "decoding"),
    "translation_beam5_bf16": Row(
        (*TRANSLATION, *FEEDING, *AUTO, *LOW, "decode.beam_size=5"), "hypothesis tokens", "decoding"
    ),
    "translation_start": Row(TRANSLATION, "seconds to the first step", "start"),
    "sentiment": Row(SENTIMENT, "samples"),
    "sentiment_bf16": Row((*SENTIMENT, *BF16), "samples"),
    "characters": Row(CHARACTERS, "characters", seconds=8.0, warmup=4),
    "characters_bf16": Row((*CHARACTERS, *BF16), "characters", seconds=8.0, warmup=4),
    "characters_sampling": Row(CHARACTERS, "characters", "sampling"),
    "characters_sampling_bf16": Row((*CHARACTERS, *LOW), "characters", "sampling"),
    "forecasting": Row(FORECASTING, "windows"),
    "forecasting_bf16": Row((*FORECASTING, *BF16), "windows"),
    "mingru_256": Row(("mingru", "256"), "times the speed of nn.GRU", "layer"),
    "mingru_1024": Row(("mingru", "1024"), "times the speed of nn.GRU", "layer"),
    "mingru_4096": Row(("mingru", "4096"), "times the speed of nn.GRU", "layer"),
    "transformer_128": Row(("transformer", "128"), "times the speed of nn.TransformerEncoder", "layer"),
}


def scaling() -> dict[str, Row]:
    """What is changed in a row, and what it is changed to."""
    rows = {}
    for n in (25, 50, 100, 200):
        rows[f"length_{n}"] = Row((*SENTIMENT, f"task.max_length={n}"), "samples")
    for n in (2000, 4000, 8000, 16000):
        words = ("task.tokenizer.unit=bpe", f"task.tokenizer.vocab_size={n}")
        rows[f"vocabulary_{n}"] = Row((*TRANSLATION, *words), "target tokens")
    for n in (128, 256, 512, 1024):
        rows[f"hidden_{n}"] = Row((*TRANSLATION, f"model.hidden_size={n}"), "target tokens")
    for n in EXAMPLES:
        rows[f"examples_{n}"] = Row((*DATES, f"data.size={n}"), "examples", "epoch")
    rows["examples_doubled"] = Row(DATES, "times the seconds of half as many", "doubling")
    for name in ("translation", "sentiment", "forecasting"):
        for n in (1, 2):
            words = (*ROWS[name].overrides, f"device.processes={n}")
            rows[f"processes_{n}_{name}"] = Row(words, "target values", "command")
    return rows


# ------------------------------------------------------------------------------------------ one row, in its process


class Bench:
    """A configuration, put together as a training would do it."""

    def __init__(self, row: Row, folder: Path, train_steps: int):
        import torch

        from seqtrain.commands import run_folder as folders
        from seqtrain.commands.assembly import Assembly
        from seqtrain.config import compose, sources

        folders.register_resolvers()
        self.row, self.train_steps = row, train_steps
        write_texts(folder)
        words = [word.replace("{folder}", str(folder)) for word in row.overrides]
        cfg: dict[str, Any] = compose.compose(sources.Configs(), words).config | {"trust": True}
        (folder / "config.yaml").write_text("")
        torch.manual_seed(0)
        parts = Assembly(cfg, folder)
        self.task: Any = parts.task
        self.device, self.trainer = parts.device, parts.trainer
        self.records, self.job = parts.records, parts.job
        self.train: Any = parts.job.train  # a Loader: no row has shards
        self.batches = self.job.batches()

    def wait(self) -> None:
        """Until the device has done what it was told."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def count(self, batch: Any) -> int:
        return len(batch.target) if self.row.unit in ("samples", "windows") else int(batch.target_lengths.sum())

    def training(self) -> dict[str, Any]:
        """Rates of whole updates; then, in some more of them, where the time goes and what is useful work."""
        for _ in range(self.row.warmup):
            self.trainer.update(self.job, [next(self.batches)])
        self.wait()
        rates = []
        for _ in range(REPEATS):
            begin, done = time.perf_counter(), 0
            while time.perf_counter() - begin < self.row.seconds:
                batch = next(self.batches)
                self.trainer.update(self.job, [batch])
                done += self.count(batch)
            self.wait()
            rates.append(done / (time.perf_counter() - begin))
        progress = self.job.progress
        found = {"padding": progress.padding / progress.positions, "time": self.split()}
        return {"rates": rates, "operations": self.operations()} | found

    def split(self, steps: int = 10) -> dict[str, float]:
        """The share of an update's time that goes into each part."""
        import torch

        from seqtrain.engine import optimizer

        spent: dict[str, float] = defaultdict(float)

        @contextmanager
        def timed(what: str) -> Iterator[None]:
            self.wait()
            begin = time.perf_counter()
            yield
            self.wait()
            spent[what] += time.perf_counter() - begin

        def timing(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with timed(what):
                    return function(*args, **kwargs)

            return wrapped

        model, task, step, backward = self.job.model, self.task, optimizer.step, torch.Tensor.backward
        model.forward = timing("forward", model.forward)
        task.loss = timing("forward", task.loss)
        optimizer.step = timing("optimizer", step)
        torch.Tensor.backward = timing("backward", backward)
        with timed("all"):
            for _ in range(steps):
                with timed("data"):
                    batch = next(self.batches)
                self.trainer.update(self.job, [batch])
        optimizer.step, torch.Tensor.backward = step, backward
        del model.forward, task.loss
        whole = spent.pop("all")
        return {what: seconds / whole for what, seconds in spent.items()} | {"other": 1 - sum(spent.values()) / whole}

    def operations(self, batches: int = 10) -> float:
        """Useful floating-point operations of training for one unit: the matrix products of all layers at real
        positions, forward and twice that backward."""
        import torch
        from torch import nn

        from seqtrain.backbones.recurrent import Recurrent
        from seqtrain.layers import Attention

        found = [0.0]
        share = 1.0

        def linear(module: Any, args: Any, output: Any) -> None:
            real = share if output.ndim > 2 else 1.0  # scores are of real positions only
            found[0] += real * 2 * output.numel() * module.in_features

        def recurrent(module: Any, args: Any, output: Any) -> None:
            positions = args[0].shape[0] * args[0].shape[1]
            weights = sum(
                p.numel() for layer in (*module.ahead, *module.back) for p in layer.parameters() if p.ndim > 1
            )
            found[0] += share * 2 * positions * weights

        def attention(module: Any, args: Any, output: Any) -> None:
            context, weights = output
            found[0] += share * 4 * weights.numel() * context.size(-1)

        kinds: list[tuple[type, Any]] = [(nn.Linear, linear), (Recurrent, recurrent), (Attention, attention)]
        hooks = [
            module.register_forward_hook(hook)
            for module in self.job.model.modules()
            for kind, hook in kinds
            if isinstance(module, kind)
        ]
        units = 0
        with torch.no_grad():
            for _ in range(batches):
                batch = next(self.batches)
                real, every = batch.positions()
                share = real / every
                self.job.model(batch.to(self.device))
                units += self.count(batch)
        for hook in hooks:
            hook.remove()
        return 3 * found[0] / units

    def trained(self) -> Any:
        """The model after some training, kept for the next time: what an untrained one writes has no length."""
        from safetensors.torch import load_file, save_file

        from seqtrain.engine.checkpoint import put_weights, weights_of

        model, steps = self.job.model, self.train_steps
        size = sum(parameter.numel() for parameter in model.parameters())
        file = FOLDER / f"weights-{size}-{steps}.safetensors"
        if not file.exists():
            for _ in range(steps):
                self.trainer.update(self.job, [next(self.batches)])
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: weight.contiguous() for name, weight in weights_of(model).items()}, file)
        put_weights(model, load_file(file))
        return model.eval()

    def decoding(self) -> dict[str, Any]:
        """The test sources, from texts to texts, in batches of 64."""
        model = self.trained()
        sources = [pair.source for pair in self.records["test"]]
        rates, sentences = [], []
        for _ in range(REPEATS + 1):
            self.wait()
            begin = time.perf_counter()
            answers = self.task.predict(model, sources, self.job.decoder)
            seconds = time.perf_counter() - begin
            rates.append(
                sum(len(self.task.target.tokenizer.split(answer["output"])) + 1 for answer in answers) / seconds
            )
            sentences.append(len(sources) / seconds)
        return {"rates": rates[1:], "sentences": median(sentences[1:])}

    def sampling(self) -> dict[str, Any]:
        """One text, one character after the other, by an untrained model: any character costs the same."""
        import torch

        from seqtrain.codecs.text import END

        model: Any = self.job.model.eval()
        with torch.no_grad():
            model.output.scores.bias[END] = -100  # no text ends before its bound
        decoder = replace(self.job.decoder, temperature=1.0, max_length=1000)
        rates = []
        for _ in range(REPEATS + 1):
            begin = time.perf_counter()
            (answer,) = self.task.predict(model, [""], decoder)
            rates.append(len(answer["output"]) / (time.perf_counter() - begin))
        return {"rates": rates[1:]}

    def portion(self) -> float:
        """CPU seconds of a few updates, or of a few predictions by an untrained model."""
        begin = time.process_time()
        if self.row.measure == "training":
            self.seconds(islice(self.batches, 4))
        else:
            asked = [""] if self.row.measure == "sampling" else [pair.source for pair in self.records["test"][:64]]
            self.task.predict(self.job.model.eval(), asked, replace(self.job.decoder, max_length=20))
        return time.process_time() - begin

    def epoch(self) -> dict[str, Any]:
        """Seconds of an epoch, for the growth with the number of examples."""
        self.seconds(self.train.first_batches(100).epoch())  # kernels are made, and memory taken, for all shapes
        count = len(self.records["train"])
        rates = [count / self.seconds(self.train.epoch(epoch)) for epoch in range(3)]
        return {"rates": rates, "seconds": count / median(rates)}

    def seconds(self, batches: Iterator[Any]) -> float:
        """How long an update on each of the batches takes."""
        begin = time.perf_counter()
        for batch in batches:
            self.trainer.update(self.job, [batch])
        self.wait()
        return time.perf_counter() - begin


def write_texts(folder: Path) -> None:
    """texts.csv: lengths from 50 to 200, ten thousand words, two labels."""
    draw = random.Random(0)
    words = [f"w{i}" for i in range(10_000)]
    texts = [" ".join(draw.choices(words, k=draw.randint(50, 200))) for _ in range(6400)]
    lines = [f"{text},{draw.choice(('yes', 'no'))}" for text in texts]
    (folder / "texts.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")


def prepare() -> None:
    threads.limit_spinning()
    allocator.keep_freed_memory()
    allocator.limit_kernel_cache()


def measure(name: str, train_steps: int) -> dict[str, Any]:
    """One row, in this process, which is prepared as the command prepares its own."""
    prepare()
    import torch

    row = {**ROWS, **scaling()}[name]
    with tempfile.TemporaryDirectory() as folder:
        if row.measure in ("start", "command", "doubling", "layer"):
            return globals()[row.measure](row, Path(folder))
        bench = Bench(row, Path(folder), train_steps)
        low = row.measure == "training" and bench.trainer.precision == "bfloat16"
        dtype = torch.bfloat16 if low else torch.float32
        limit = matmul_rate(bench.device, dtype)
        found = getattr(bench, row.measure)()
        limit = max(limit, matmul_rate(bench.device, dtype))
    if bench.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    found |= {"rate": median(found["rates"]), "limit": limit, "memory_mib": memory, "device": str(bench.device)}
    found["threads"] = torch.get_num_threads()
    if "operations" in found:
        found["share"] = found["rate"] * found["operations"] / limit
    return found


def matmul_rate(device: Any, dtype: Any) -> float:
    """Operations a second of the best square matrix product."""
    import torch

    best = 0.0
    for size in SIZES:
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        for _ in range(8):
            float((a @ b)[0, 0])
            begin = time.perf_counter()
            float((a @ b)[0, 0])
            best = max(best, 2 * size**3 / (time.perf_counter() - begin))
    return best


def start(row: Row, folder: Path) -> dict[str, Any]:
    """Seconds from the command to the end of the first update, the data being prepared already."""
    seconds = []
    for turn in range(REPEATS + 1):
        begin = time.time()
        seconds.append(updates(row, folder / str(turn), 1)[0][0] - begin)
    return {"rates": seconds[1:], "rate": median(seconds[1:])}


def command(row: Row, folder: Path) -> dict[str, Any]:
    """Rates of updates in a process that the command has started, or several."""
    write_texts(folder)
    rates = []
    for turn in range(REPEATS):
        (begin, before), *_, (end, after) = updates(row, folder / str(turn), 40)[9:]
        rates.append((after - before) / (end - begin))
    return {"rates": rates, "rate": median(rates)}


def doubling(row: Row, folder: Path) -> dict[str, Any]:
    """How much longer an epoch takes than one of half as many examples. A part of each is made in turn, so that the
    machine's drift is in all of them."""
    benches = [Bench(replace(row, overrides=(*row.overrides, f"data.size={n}")), folder, 0) for n in EXAMPLES]
    for bench in benches:
        bench.seconds(bench.train.first_batches(100).epoch())
    seconds = []
    for epoch in range(REPEATS):
        seconds.append([0.0] * len(benches))
        epochs = [bench.train.epoch(epoch) for bench in benches]
        for part in range(PARTS):
            for i, bench in enumerate(benches):
                count = None if part == PARTS - 1 else EXAMPLES[i] // 64 // PARTS
                seconds[-1][i] += bench.seconds(islice(epochs[i], count))
    rates = [twice / once for spent in seconds for once, twice in pairwise(spent)]
    return {"rates": rates, "rate": median(rates), "seconds": seconds}


def against_plain(name: str) -> dict[str, Any]:
    """Times that device.kernels=auto is faster than plain, by portions in turn: in CPU time, which a busy machine
    changes least. The first two are not counted: in them ways are tried and kernels made."""
    prepare()
    with tempfile.TemporaryDirectory() as folder:
        kinds = [replace(ROWS[name], overrides=(*ROWS[name].overrides, f"device.kernels={k}")) for k in KERNELS]
        benches = [Bench(row, Path(folder), 0) for row in kinds]
        seconds = [[bench.portion() for bench in benches] for _ in range(2 + 2 * REPEATS)][2:]
    plain, auto = (median(column) for column in zip(*seconds, strict=True))
    return {"rates": [one / other for one, other in seconds], "rate": plain / auto}


def layer(row: Row, folder: Path) -> dict[str, Any]:
    """How many times as fast as layers of torch a backbone of 256 numbers trains on 4,096 positions, in turns. Seconds
    are those of the processor, so that a neighbour counts for less."""
    import torch
    from torch import nn

    from seqtrain.config import build, compose, sources
    from seqtrain.machine.accelerate import accelerate
    from seqtrain.machine.kernels import Kernels

    name, length = row.overrides[0], int(row.overrides[1])
    made = compose.compose(sources.Configs(), [f"backbone={name}"]).config["backbone"]
    layers = {"mingru": 1, "transformer": 2}[name]
    sizes = {"input_size": 256, "hidden_size": 256, "num_layers": layers, "dropout": 0.0, "causal": True}
    ours: Any = build(made, **sizes, summary_size=None)
    accelerate(ours, Kernels())
    x = torch.randn(4096 // length, length, 256)
    if name == "mingru":
        plain: Any = nn.GRU(256, 256, batch_first=True)
        theirs = lambda: plain(x)[0]  # noqa: E731
    else:
        one = nn.TransformerEncoderLayer(256, 4, 1024, 0.0, "gelu", batch_first=True, norm_first=True)
        plain = nn.TransformerEncoder(one, layers, nn.LayerNorm(256), enable_nested_tensor=False)
        future = nn.Transformer.generate_square_subsequent_mask(length)
        theirs = lambda: plain(x, mask=future, is_causal=True)  # noqa: E731
    rates = []
    for _ in range(REPEATS + 1):
        seconds = []
        for forward in (lambda: ours(x)[0], theirs):
            begin = time.process_time()
            forward().square().mean().backward()
            seconds.append(time.process_time() - begin)
        rates.append(seconds[1] / seconds[0])
    return {"rates": rates[1:], "rate": median(rates[1:])}


def updates(row: Row, folder: Path, count: int) -> list[list[float]]:
    """Runs the command up to its last update: after each one, the time of day and the items trained on so far."""
    words = [*(word.replace("{folder}", str(folder.parent)) for word in row.overrides), f"hydra.run.dir={folder}"]
    command = [sys.executable, __file__, "--updates", str(count), *words]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(told.splitlines()[-1])


def watch(count: int, words: list[str]) -> None:
    """Runs a command line up to its last update, and prints what `updates` reads."""
    from seqtrain import cli

    found: list[tuple[float, int]] = []

    def watched(config: dict[str, Any], place: Path, resume: bool = False) -> float:
        from seqtrain.commands.train import train
        from seqtrain.engine.trainer import Trainer

        update = Trainer.update

        def counted(self: Trainer, job: Any, group: Any) -> Any:
            given = update(self, job, group)
            found.append((time.time(), job.progress.items))
            if len(found) == count:
                print(f"\n{json.dumps(found)}")
                raise SystemExit(0)
            return given

        Trainer.update = counted  # pyright: ignore[reportAttributeAccessIssue]
        return train(config, place, resume)

    cli.train = watched
    sys.exit(cli.main(words))


# ------------------------------------------------------------------------------------------ all rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"first letters of {', '.join(ROWS)}")
    parser.add_argument("--scaling", action="store_true", help="the tables of growth instead")
    parser.add_argument("--kernels", action="store_true", help="the accelerated model against the plain one instead")
    parser.add_argument("--train-steps", type=int, default=400, help="updates before decoding")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--updates", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.updates:
        return watch(int(args.updates[0]), args.updates[1:])
    if args.one:
        return print(json.dumps(against_plain(args.one) if args.kernels else measure(args.one, args.train_steps)))
    rows = scaling() if args.scaling else ROWS
    chosen = [name for name in rows if not args.rows or name.startswith(tuple(args.rows))]
    if args.kernels:
        chosen = [name for name in chosen if rows[name].measure in ("training", "decoding", "sampling")]
    if not chosen:
        parser.error(f"no such row; there are {', '.join(rows)}")
    before = newest()
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{datetime.now():%Y-%m-%d_%H-%M-%S}.json"
    results = {}
    for name in chosen:
        command = [sys.executable, __file__, "--one", name, "--train-steps", str(args.train_steps)]
        command += ["--kernels"] * args.kernels
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{name:26} failed", flush=True)
            continue
        results[name] = json.loads(done.stdout.splitlines()[-1])
        unit = "times as fast as plain" if args.kernels else rows[name].unit
        print(told(name, unit, results[name], None if args.kernels else before.get(name)), flush=True)
        if not args.kernels:
            file.write_text(json.dumps(results, indent=1) + "\n")
    return None


def newest() -> dict[str, Any]:
    """All rows of the results there are, the newest of each."""
    found: dict[str, Any] = {}
    for file in sorted(FOLDER.glob("*.json")):
        found |= json.loads(file.read_text())
    return found


def told(name: str, unit: str, found: dict[str, Any], before: dict[str, Any] | None) -> str:
    low, high = min(found["rates"]), max(found["rates"])
    rate = f"{found['rate']:,.2f}" if found["rate"] < 100 else f"{found['rate']:,.0f}"
    line = (
        f"{name:26} {rate:>9} {unit}{'' if unit.startswith(('seconds', 'times')) else '/s'} ({low:,.4g} to {high:,.4g})"
    )
    if "share" in found:
        line += f", {found['share']:.0%} of the limit ({found['limit'] / 1e9:,.0f} GFLOP/s)"
        line += f", {found['padding']:.1%} padding; "
        line += ", ".join(f"{what} {share:.0%}" for what, share in found["time"].items())
    if "sentences" in found:
        line += f", {found['sentences']:,.0f} sentences/s"
    if "memory_mib" in found:
        line += f"; {found['memory_mib']:,.0f} MiB, {found['threads']} threads on {found['device']}"
    return line + (f"; {found['rate'] / before['rate']:.2f} times the one before" if before else "")


if __name__ == "__main__":
    main()
