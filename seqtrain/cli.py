"""The command `seqtrain`: composes the configuration, checks it and runs the command.

This file never imports torch, which takes seconds: `seqtrain --help` has to answer at once.
"""

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

from seqtrain.commands import launcher, modes, run_folder, sweep, sweep_table, sweeper
from seqtrain.commands.inherited import inherited
from seqtrain.config import UserError, compose, expanded, in_brief, sources
from seqtrain.config.quoting import in_hydra, resume_command
from seqtrain.config.schema import conform
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.machine import allocator, threads
from seqtrain.machine.signals import PARENT, Lost, end_with, hand_on, importing
from seqtrain.storage import disk
from seqtrain.terminal import streams

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Runs one command line and returns its exit code: 0 done, 1 failed, 2 misconfigured, 128 + n ended by signal n."""
    streams.prepare()
    threads.limit_spinning()
    allocator.keep_freed_memory()
    allocator.limit_kernel_cache()
    os.environ["PYTHONSAFEPATH"] = "1"  # child processes do not import modules from the current folder
    argv = sys.argv[1:] if argv is None else argv
    return streams.finish(exit_code(lambda: start(read_arguments(argv))))


def start(args: argparse.Namespace) -> int:
    """Runs a command line, alone or as one of several processes that train together (see `threads.launched`).

    A flag that only prints something runs alone in any case: the variables of torchrun may be left over in the shell.
    """
    if threads.SHARE in os.environ:
        threads.read_number(threads.SHARE)  # raises `UserError` if it is not a number
    args.of_sweep = PARENT in os.environ  # a job, whose folder is there
    if args.of_sweep:
        end_with(threads.read_number(PARENT))
        del os.environ[PARENT]  # children of this process have another parent
    only_prints = args.help or args.version or args.hydra_help or args.shell_completion or args.cfg or args.info
    if only_prints or not threads.launched():
        return run(args)
    for variable in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        threads.read_number(variable)
    with importing():
        from seqtrain.commands.train import train_along
        from seqtrain.engine import processes

    if os.environ["RANK"] != "0":
        return processes.follow(train_along)
    return processes.work() if threads.STORE in os.environ else processes.lead(lambda: exit_code(lambda: run(args)))


def exit_code(work: Callable[[], int | None], resume: str = "", new_folder: Path | None = None) -> int:
    """Calls `work` and returns the exit code. Reports errors on standard error and in the log of the run.

    resume: the command that continues the run, shown after an error of the disk. new_folder: the run folder that this
    command has created; it is removed after a mistake of the user.
    """
    try:
        return work() or 0  # None: done
    except UserError as error:
        report(f"seqtrain: {error}")
        if new_folder is not None:
            run_folder.discard(new_folder)
        return 2
    except KeyboardInterrupt:
        report("seqtrain: interrupted")
        return 130
    except BrokenPipeError:  # `seqtrain --help | head`
        return 0
    except (FloatingPointError, Lost) as error:  # diverged, or a process has died: the message needs no traceback
        report(f"seqtrain: {error}")
    except OSError as error:  # usually the disk
        where = "standard output: " if error.filename is None and streams.unwritable() else ""
        report(f"seqtrain: {where}{disk.explain(error)}" + (resume and f"; when that is mended: {resume}"))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        report(traceback.format_exc().rstrip())
    return 1


def report(message: str) -> None:
    """Writes an error to standard error, and to the run's log."""
    streams.say(message)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            record = log.makeRecord(log.name, logging.ERROR, fn="", lno=0, msg=message, args=(), exc_info=None)
            handler.handle(record)


# -------------------------------------------------------------------------------- command line


class Parser(argparse.ArgumentParser):
    """Raises `UserError`, with the flag that is spelled most like an unknown one, where argparse would exit."""

    def error(self, message: str) -> NoReturn:
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        unknown = message.removeprefix("unrecognized arguments: ")
        hint = did_you_mean(near(unknown.split()[0], flags)) if unknown != message else ""
        raise UserError(f"{message}{hint or '; seqtrain --help shows the flags'}")


def read_arguments(argv: list[str]) -> argparse.Namespace:
    """Parses Hydra's flags, which may stand anywhere among the overrides."""
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
    args = parser.parse_intermixed_args(argv)
    if empty := [name.replace("_", "-") for name, value in vars(args).items() if value == ""]:
        raise UserError(f"--{empty[0]} is empty: is a variable of the shell not set?")
    return args


def call_hydra(args: argparse.Namespace, overrides: list[str], configs: sources.Configs) -> int:
    """Calls hydra.main with these flags and overrides as its command line; Hydra calls `job` for each training."""
    import hydra
    from hydra.errors import HydraException

    names = ("cfg", "config_dir", "hydra_help", "info", "multirun", "package", "resolve", "shell_completion")
    given = {name.replace("_", "-"): vars(args)[name] for name in names if vars(args)[name]}
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]
    saved = sys.argv
    sys.argv = [sys.argv[0], *flags, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # it raises what it would print
    logging.raiseExceptions = False  # a closed standard output must not stop a training
    try:
        hydra.main(version_base="1.3", config_path=str(configs.root.absolute()), config_name=configs.name)(job)()
    except HydraException as error:
        raise UserError(str(error)) from error
    except Exception as error:
        if type(error).__name__ != "FailedJobError":  # of submitit, which need not be installed
            raise
        raise UserError(f"the cluster does not take the jobs: {in_brief(error, 300)}") from None
    finally:
        sys.argv = saved
    return 0


# -------------------------------------------------------------------------------- what a command does


def run(args: argparse.Namespace) -> int:
    """Does what the flags ask for, or runs the mode of the configuration, in this process alone."""
    if args.version:
        from importlib.metadata import version

        print(f"seqtrain {version('seqtrain')}")
        return 0
    run_folder.register_resolvers()
    configs = sources.Configs(Path(args.config_path or sources.ROOT), args.config_dir, args.config_name or "config")
    if args.shell_completion and args.overrides[:1] and args.overrides[0].startswith("query="):
        from seqtrain.config.completion import proposals

        print("\n".join(proposals(os.environ.get("COMP_LINE", ""), configs)))
        return 0
    if args.shell_completion or args.hydra_help:
        return call_hydra(args, args.overrides, configs)
    if args.help:
        from seqtrain.commands.help import help_text

        print(help_text(configs))
        return 0
    if sides := run_folder.named_sides(args.overrides):
        return run_several(sides, configs, args)
    if named := run_folder.named_on_command_line(args.overrides):
        mode, path = named
        if mode == "train" and isinstance(path, str) and os.path.exists(expanded(path) / "multirun.yaml"):
            return resume_sweep(expanded(path), configs, args)
        return run_existing(mode, path, configs, args)
    return run_new(configs, args)


def run_new(configs: sources.Configs, args: argparse.Namespace) -> int:
    """Runs a command that names no run folder: a training, a sweep, or a mode that does not train."""
    auto = "resume=auto" in args.overrides or threads.restarted()
    args.overrides = [line for line in args.overrides if line != "resume=auto"]
    args.overrides = [*inherited(args.overrides, configs, args.multirun), *args.overrides]
    composed = compose.compose(configs, args.overrides, args.multirun)
    if composed.config["mode"] == "train" and (
        folds := sweep_table.of_each_fold(composed.config["data"], composed.swept, composed.config["trust"])
    ):
        args.multirun, args.overrides = True, [*args.overrides, folds]
        composed = compose.compose(configs, args.overrides, multirun=True)
    config = composed.config
    sweeps = args.multirun or composed.hydra.hydra.mode == RunMode.MULTIRUN
    modes.check(config, sweeps)
    if not sweeps and sweeper.searches(composed):
        raise UserError("hydra/sweeper goes with a sweep: add -m")
    if args.cfg or args.info:
        return call_hydra(args, composed.overrides, configs)
    if config["mode"] != "train":
        return run_mode(config | {"trust": True})
    if sweeps:
        return run_sweep(composed, configs, args)
    if auto and (folder := run_folder.unfinished(composed.hydra, config, configs)):
        args.overrides = [line for line in args.overrides if line.lstrip("+").startswith("device")]
        return run_existing("train", str(folder), configs, args)
    if args.of_sweep:
        return call_hydra(args, composed.overrides, configs)
    with run_folder.reserved(composed.hydra, composed.overrides, "run") as folder_override:
        if auto:
            parent = Path(composed.hydra.hydra.run.dir).parent
            streams.say(f"resume=auto: {parent} has no unfinished run with these settings, so a new one begins")
        return call_hydra(args, [*composed.overrides, folder_override], configs)


def run_existing(mode: str, path: str, configs: sources.Configs, args: argparse.Namespace) -> int:
    """Runs a mode with the configuration that the run folder `path` keeps; mode=train resumes its training."""
    if args.multirun:
        raise UserError("--multirun trains new runs; it does not go with a run that is there already")
    folder = run_folder.find(path, "resume" if mode == "train" else "checkpoint")
    config, schema = run_folder.run_config(folder, configs, args.overrides, mode)
    if args.cfg or args.info:
        print(OmegaConf.to_yaml(OmegaConf.create(config)), end="")
        return 0
    if mode != "train":
        return run_mode(config, folder)
    with disk.locked(folder):
        run_folder.log_to_run(folder)
        old_config = disk.Folder(folder).read("config.yaml")
        code = exit_code(lambda: run_folder.rewrite(folder, config, schema, configs))
        if code == 0:
            code = exit_code(lambda: train(config, folder, resume=True), resume_command(folder, config["device"]))
        if code == 2:  # the settings were refused: the folder keeps those it had
            disk.Folder(folder).replace("config.yaml", old_config)
    return code


def run_several(sides: list[list[Path]], configs: sources.Configs, args: argparse.Namespace) -> int:
    """Runs mode=compare with the configurations that run folders keep. sides: the folders that are compared."""
    if args.multirun:
        raise UserError("--multirun trains new runs; it does not go with runs that are there already")
    read = [[(run_folder.run_config(folder, configs, args.overrides, "compare")[0], folder) for folder in side]
            for side in sides]  # fmt: skip
    return run_mode(read[0][0][0], read)


def run_mode(config: dict[str, Any], *run: Any) -> int:
    """Runs a mode that does not train and leaves no run folder. run: the run folder, for a mode that reads one, or what
    is read of several."""
    from seqtrain.commands.outputs import check_streams

    check_streams(config)
    function = modes.function(config["mode"])
    logging.raiseExceptions = False  # a closed standard output must not stop the command
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    return exit_code(lambda: int(function(config, *run) is False))  # False: the mode has found problems


def run_sweep(composed: compose.Composed, configs: sources.Configs, args: argparse.Namespace) -> int:
    """Runs every job of a sweep, then prints the table of their results."""
    if threads.launched():
        raise UserError("--multirun starts its trainings itself: leave torchrun out, device.processes=N will do")
    sweeper.check(composed, configs)
    overrides = [*composed.overrides, *launcher.settings(composed)]
    with run_folder.reserved(composed.hydra, composed.overrides, "sweep") as folder_override:
        try:
            call_hydra(args, [*overrides, folder_override], configs)
        finally:
            failed = sweep_table.finish(Path(composed.hydra.hydra.sweep.dir))
    return int(failed)


def resume_sweep(folder: Path, configs: sources.Configs, args: argparse.Namespace) -> int:
    """Goes on with a sweep: jobs that have ended are left as they are. Only what is in `sweep.CHANGES` may change."""
    added = [line for line in args.overrides if not line.startswith("resume=")]
    keys = {line.partition("=")[0] for line in added}
    if wrong := [line for line in added if not line.startswith(sweep.CHANGES)]:
        raise UserError(f"{wrong[0]}: a resumed sweep keeps its settings, but for jobs, device, hydra/launcher and "
                        "hydra.sweeper.n_trials; leave it out")  # fmt: skip
    stored = [line for line in sweep.stored_overrides(folder) if line.lstrip("+").partition("=")[0] not in keys]
    composed = compose.compose(configs, [*stored, *added], multirun=True)
    args.multirun = True
    sweeper.check(composed, configs, resumed=True)
    with disk.locked(folder):
        sweep.wait(folder)
        overrides = [*composed.overrides, *launcher.settings(composed), f"hydra.sweep.dir={in_hydra(folder)}"]
        try:
            call_hydra(args, overrides, configs)
        finally:
            failed = sweep_table.finish(folder)
    return int(failed)


def job(cfg: DictConfig) -> float:
    """Trains one run in the folder that Hydra has made for it. Hydra calls this, once for each job of a sweep.

    Returns the number that a sweeper of Hydra minimizes or maximizes: the metric named by trainer.monitor.
    """
    run_folder.register_resolvers()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    schema = compose.schema_of_job()
    config = conform(compose.plain(cfg)[0], schema)

    def work() -> int | None:
        with disk.locked(folder):
            row = sweep.read(folder)
            if row and row["status"] in sweep.ENDED:  # before the sweep was killed
                return None
            begun = row is not None and disk.Folder(folder).has("config.yaml")  # by a sweep that goes on now
            if not begun:
                run_folder.claim(folder, config, schema)
            config["trust"] = True  # it came from the user's own command line, or names options that are here
            if hydra.mode == RunMode.MULTIRUN:
                sweep.begin(folder, list(hydra.overrides.task), list(hydra.job.config.override_dirname.exclude_keys),
                            hydra.job.num)  # fmt: skip
            if sweep.read(folder):  # a job of this sweep, or of the sweep that has started this process
                return sweep.run_job(config, folder, begun)
            resume = resume_command(folder, config["device"])
            return exit_code(lambda: train(config, folder), resume, new_folder=folder)

    if code := exit_code(work):
        hand_on(code)
        raise SystemExit(code)
    return sweep.objective(folder)


def train(config: dict[str, Any], folder: Path, resume: bool = False) -> None:
    """Trains in a run folder. A resumed job of a sweep is not scored on the test split, like all jobs of a sweep."""
    row = sweep.read(folder) if resume else None
    swept = row["swept"] if row else None
    modes.function("train")(config, folder, resume, swept)
    sweep.complete(folder)
