"""While the tests run, every function of the package is held against its signature, shapes included."""

from jaxtyping import install_import_hook

hook = install_import_hook("seqtrain", "typechecker.check")  # before anything of the package is imported

from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--as-written", action="store_true", help="run the commands of README.md without shortening them")
    parser.addoption("--long", action="store_true", help="tests of faults with all their repetitions")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQTRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
