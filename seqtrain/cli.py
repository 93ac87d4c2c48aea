"""The command `seqtrain`: composes, checks, runs. Light: torch is imported by what trains, never here."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from seqtrain import allocator, disk, folder, launcher, sweep, threads
from seqtrain.config import UserError, compose, sources
from seqtrain.config.schema import conform
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.interruption import Lost

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Runs one command line and returns its exit code: 0 done, 1 failed, 2 misconfigured, 128 + n ended by signal n."""
    threads.wait_politely()
    allocator.keep_memory()
    allocator.bound_kernels()
    if not threads.launched():
        return command(argv)
    from seqtrain import run, team

    return run.follow() if os.environ["RANK"] != "0" else team.lead(lambda: command(argv))


def command(argv: list[str] | None) -> int:
    try:
        code = run(read_arguments(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"seqtrain: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("seqtrain: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `seqtrain --help | head`; what Python flushes at its end must not meet the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)


# -------------------------------------------------------------------------------- command line


class Parser(argparse.ArgumentParser):
    """Tells an error as any other: in a line, with the nearest right spelling."""

    def error(self, message: str) -> NoReturn:
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        unknown = message.removeprefix("unrecognized arguments: ")
        hint = did_you_mean(near(unknown.split()[0], flags)) if unknown != message else ""
        raise UserError(f"{message}{hint or '; seqtrain --help shows the flags'}")


def read_arguments(argv: list[str]) -> argparse.Namespace:
    """Hydra's flags, at any place among the overrides."""
    parser = Parser(prog="seqtrain", add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    for name, short in (("help", "h"), ("run", "r"), ("multirun", "m"), ("shell-completion", "sc")):
        parser.add_argument(f"--{name}", f"-{short}", action="store_true")
    for name in ("version", "hydra-help", "resolve"):
        parser.add_argument(f"--{name}", action="store_true")
    for name, short in (("package", "p"), ("config-path", "cp"), ("config-name", "cn"), ("config-dir", "cd")):
        parser.add_argument(f"--{name}", f"-{short}")
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    infos = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=infos)
    return parser.parse_intermixed_args(argv)


def hydra_flags(args: argparse.Namespace) -> list[str]:
    """The flags as Hydra's own parser reads them."""
    words = [
        f"--{n.replace('_', '-')}" for n in ("resolve", "multirun", "hydra_help", "shell_completion") if vars(args)[n]
    ]
    values = {name: vars(args)[name] for name in ("cfg", "package", "info", "config_dir")}
    return words + [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]


def run(args: argparse.Namespace) -> int:
    if args.version:
        from importlib.metadata import version

        print(f"seqtrain {version('seqtrain')}")
        return 0
    folder.register_resolvers()
    root, name = Path(args.config_path or sources.ROOT), args.config_name or "config"
    if args.shell_completion or args.hydra_help:
        return call_hydra([*hydra_flags(args), *args.overrides], root, name)
    configs = sources.Configs(root, args.config_dir, name)
    if args.help:
        from seqtrain.config.help import help_text

        print(help_text(configs))
        return 0
    if (wanted := folder.wanted(args.overrides)) is not None:
        return run_from(*wanted, configs, args)
    auto = "resume=auto" in args.overrides
    args.overrides = [word for word in args.overrides if word != "resume=auto"]
    composed = compose.compose(configs, args.overrides, args.multirun)
    words = [*hydra_flags(args), *composed.overrides]
    if args.cfg == "job" and not args.package and not args.resolve:
        keys = [str(key) for key in composed.hydra if key != "hydra"]
        print(OmegaConf.to_yaml(OmegaConf.masked_copy(composed.hydra, keys)), end="")
        return 0
    if args.cfg or args.info:
        return call_hydra(words, root, name)
    sweeps = args.multirun or composed.hydra.hydra.mode == RunMode.MULTIRUN
    if (jobs := composed.config["jobs"]) != 1 and not sweeps:
        raise UserError(f"jobs={jobs} goes with a sweep: add -m, or leave it out; device.processes shares out one run")
    if composed.config["mode"] == "inspect":
        return inspect(composed.config, sweeps)
    if composed.config["mode"] == "doctor":
        return doctor(composed.config, sweeps)
    if sweeps:
        if threads.launched():
            raise UserError("--multirun starts its trainings itself: leave torchrun out, device.processes=N will do")
        return run_sweep(composed, words, root, name)
    if auto and (place := folder.unfinished(composed.hydra, composed.config, configs)):
        return run_from("train", str(place), configs, argparse.Namespace(**vars(args) | {"overrides": []}))
    return call_hydra([*words, folder.reserve(composed.hydra, composed.overrides, "run")], root, name)


def call_hydra(words: list[str], root: Path, name: str) -> int:
    """hydra.main with a command line of our own."""
    import hydra

    saved, sys.argv = sys.argv, [sys.argv[0], *words]
    logging.raiseExceptions = False  # a closed standard output must not stop a training
    try:
        hydra.main(version_base="1.3", config_path=str(root.absolute()), config_name=name)(job)()
    finally:
        sys.argv = saved
    return 0


# -------------------------------------------------------------------------------- what a command does


def run_sweep(composed: compose.Composed, words: list[str], root: Path, name: str) -> int:
    """Runs every job, then shows how they did."""
    pack = pack_jobs(composed)
    place = folder.reserve(composed.hydra, composed.overrides, "sweep")
    keys = [word.lstrip("+~").partition("=")[0] for word in composed.overrides]
    fixed = ",".join(key for key in keys if key not in composed.swept and not key.startswith("hydra"))
    words = [*words, *pack, place, f"hydra.job.config.override_dirname.exclude_keys=[{fixed}]"]
    try:
        call_hydra(words, root, name)
    finally:
        failed = sweep.finish(Path(composed.hydra.hydra.sweep.dir))
    return int(failed)


def pack_jobs(composed: compose.Composed) -> list[str]:
    """The overrides by which several jobs run at a time."""
    if "jobs" in composed.swept:
        raise UserError("jobs says how many jobs of the sweep run at a time: give one value")
    if composed.config["jobs"] == 1:
        return []
    if composed.hydra.hydra.launcher._target_ != launcher.BASIC:
        raise UserError("jobs goes with Hydra's own launcher: leave out either jobs or hydra/launcher")
    return [f"hydra.launcher._target_={launcher.PACKED}"]


def job(cfg: DictConfig) -> float:
    """One training, called by Hydra with a folder of its own; in a sweep perhaps in another process."""
    folder.register_resolvers()
    hydra = HydraConfig.get()
    place, schema = Path(hydra.runtime.output_dir), compose.schema_of_job()
    config = conform(compose.plain(cfg)[0], schema)

    def work() -> float:
        with disk.locked(place):
            folder.claim(place, config, schema)
            config["trust"] = True  # it came from the user's own command line
            if hydra.mode == RunMode.MULTIRUN:
                return sweep.run_job(config, place, list(hydra.overrides.task))
            return guard(lambda: train(config, place), place, new=True)

    return guard(work)


def train(config: dict[str, Any], place: Path, **how: bool) -> float:
    from seqtrain import run

    return run.train(config, place, **how)


def guard(work: Callable[[], Any], place: Path | None = None, new: bool = False) -> Any:
    """Does the work of a run. The user's mistakes end in exit code 2 and leave no new folder; anything else, with its
    traceback, in 1."""
    try:
        return work()
    except UserError as error:
        tell(f"seqtrain: {error}")
        if place and new:
            folder.discard(place)
        raise SystemExit(2) from None
    except (FloatingPointError, Lost) as error:  # diverged, or a process has died: the message says it all
        tell(f"seqtrain: {error}")
        raise SystemExit(1) from None
    except BrokenPipeError:
        raise
    except OSError as error:  # the disk, as a rule
        tell(f"seqtrain: {disk.told(error)}" + (f"; when that is mended: seqtrain resume={place}" if place else ""))
        raise SystemExit(1) from None
    except Exception:
        tell(traceback.format_exc().rstrip())
        raise SystemExit(1) from None


def tell(message: str) -> None:
    """Writes an error to standard error, and to the run's log."""
    print(message, file=sys.stderr)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(log.makeRecord(log.name, logging.ERROR, "", 0, message, (), None))


def inspect(config: dict[str, Any], sweeps: bool) -> int:
    """Reports on the data of a configuration, and leaves no run folder."""
    if sweeps:
        raise UserError("--multirun trains new runs; it does not go with mode=inspect")
    log_to([logging.StreamHandler(sys.stderr)])
    guard(lambda: use_run("inspect", config | {"trust": True}, Path()))
    return 0


def log_to(handlers: list[logging.Handler]) -> None:
    handlers[0].setFormatter(logging.Formatter("%(message)s"))
    logging.raiseExceptions = False
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)


def run_from(mode: str, path: str, configs: sources.Configs, args: argparse.Namespace) -> int:
    """Evaluates, predicts, or goes on training with the configuration that a run folder keeps."""
    if args.multirun:
        raise UserError("--multirun trains new runs; it does not go with a run that is there already")
    place = folder.find(path, "resume" if mode == "train" else "checkpoint")
    config, schema = folder.run_config(place, configs, args.overrides, mode)
    if args.cfg or args.info:
        print(OmegaConf.to_yaml(OmegaConf.create(config)), end="")
        return 0
    if mode != "train":
        log_to([logging.StreamHandler(sys.stderr)])
        guard(lambda: use_run(mode, config, place))
        return 0
    with disk.locked(place):
        handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(place / "train.log")]
        handlers[1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log_to(handlers)
        before = (place / "config.yaml").read_bytes()
        guard(lambda: folder.rewrite(place, config, schema))
        try:
            guard(lambda: train(config, place, resume=True), place)
        except SystemExit as end:
            if end.code == 2:  # refused: nothing has changed
                disk.replace(place / "config.yaml", before)
            raise
    return 0


def use_run(mode: str, config: dict[str, Any], checkpoint: Path) -> Any:
    from seqtrain import use

    if mode == "inspect":
        return use.inspect(config)
    if mode == "replay":
        from seqtrain import replay

        return replay.replay(config, checkpoint)
    return use.evaluate(config, checkpoint) if mode == "evaluate" else use.predict(config, checkpoint)


def doctor(config: dict[str, Any], sweeps: bool) -> int:
    """Checks this machine and a configuration."""
    if sweeps:
        raise UserError("--multirun trains new runs; it does not go with mode=doctor")
    from seqtrain.doctor import examine

    log_to([logging.StreamHandler(sys.stderr)])
    return int(not guard(lambda: examine(config | {"trust": True})))
