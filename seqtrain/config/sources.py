"""The folders of YAML files that a command line is composed from: those of seqtrain and of the user."""

import copy
import os
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult

from seqtrain.config import UserError, near_path
from seqtrain.config.spelling import did_you_mean

PACKAGE = Path(__file__).parents[1]
ROOT = next(p for p in (PACKAGE / "configs", PACKAGE.parent / "configs") if p.is_dir())


class Repository(ConfigRepository):
    """Reads each YAML file only once, though a command line is composed at least twice."""

    def __init__(self, path: ConfigSearchPath) -> None:
        super().__init__(path)
        self.cache: dict[str, ConfigResult | None] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Repository":
        return copy.copy(self)  # shares the cache; Hydra copies a repository to change the list of its folders

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self.cache:
            self.cache[config_path] = super().load_config(config_path)
        return copy.deepcopy(self.cache[config_path])


def make_loader(path: ConfigSearchPath) -> ConfigLoaderImpl:
    loader = ConfigLoaderImpl(path)
    loader.repository = Repository(path)
    return loader


class Configs:
    """The config folders of a command line.

    root: the folder of --config-path, which is seqtrain's own by default. config_dir: the user's folder, --config-dir;
    its options come first. name: the main file, --config-name.
    """

    def __init__(self, root: Path = ROOT, config_dir: str | None = None, name: str = "config") -> None:
        self.root, self.name = root, name.removesuffix(".yaml")
        if not (root / f"{self.name}.yaml").is_file():
            raise UserError(f"--config-path, --config-name: there is no file {root / self.name}.yaml")
        if config_dir is not None and not os.path.isdir(config_dir):
            raise UserError(
                f"--config-dir {config_dir}: there is no such folder{did_you_mean(near_path(Path(config_dir)))}"
            )
        path = create_config_search_path(str(root.absolute()))
        if config_dir is not None:
            path.prepend("command-line", f"file://{Path(config_dir).absolute()}", SearchPathQuery(provider="schema"))
        self.loader = make_loader(path)

    @classmethod
    def of_job(cls) -> "Configs":
        """Returns the folders that Hydra uses for the job that is running."""
        hydra = HydraConfig.get()
        path = ConfigSearchPathImpl()
        for source in hydra.runtime.config_sources:
            path.append(source.provider, f"{source.schema}://{source.path}")
        configs = cls.__new__(cls)
        configs.name = hydra.job.config_name
        configs.loader = make_loader(path)
        return configs

    def add(self, folders: list[str]) -> None:
        """Adds the folders that `hydra.searchpath` names."""
        path = self.loader.config_search_path
        for folder in folders:
            path.prepend("hydra.searchpath", folder, SearchPathQuery(provider="schema"))
        self.loader = make_loader(path)

    def groups(self) -> list[str]:
        return [g for g in self.loader.repository.get_group_options("", ObjectType.GROUP) if g != "hydra"]

    def is_group(self, name: str) -> bool:
        return name == "experiment" or self.loader.repository.group_exists(name)  # it may have no options yet

    def options(self, group: str) -> list[str]:
        return self.loader.repository.get_group_options(group, ObjectType.CONFIG)

    def file(self, name: str) -> Path | None:
        """Returns the YAML file of a config such as model/seq2seq; None where no folder has it."""
        for source in self.loader.get_sources():
            if source.scheme() == "file" and (path := Path(source.path, f"{name}.yaml")).is_file():
                return path
        return None
