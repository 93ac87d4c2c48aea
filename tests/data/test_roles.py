"""The roles of names, on lines whose roles are known."""

from collections.abc import Iterator

import pytest
import tiny

from seqtrain.data.roles import Roles, lines, modules

MODULES = modules  # of which tests have but a few

CODE = '''
from os import path as p
class Ünit(Base, mixin.Other):
    limit: int = 0x10
    def read(self, *names, key=None):
        """A text."""
        with open(p.join("a", 'b'), mode="rb") as file:
            return [self.go(name, key=1.5).end for name in names]
global_one = lambda x: x
def f():
    global global_one, other
'''


@pytest.fixture(autouse=True)
def few() -> Iterator[None]:
    with tiny.few_topics():
        yield


def tagged(code: str) -> list[str]:
    found = [zip(line.tokens, line.tags, strict=True) for line in lines(code)]
    return [" ".join(token if tag == "O" else f"{token}/{tag}" for token, tag in line) for line in found]


def test_each_name_has_its_role():
    assert tagged(CODE) == [
        "from os/import import path/import as p/import",
        "class Ünit/class ( Base/base , mixin/load . Other/attribute ) :",
        "limit/store : int/load = 0",
        "def read/function ( self/parameter , * names/parameter , key/parameter = None ) :",
        'with open/call ( p/load . join/method ( "" , "" ) , mode/keyword = "" ) as file/store :',
        "return [ self/load . go/method ( name/load , key/keyword = 0 ) . end/attribute for name/store in names/load ]",
        "global_one/store = lambda x/parameter : x/load",
        "def f/function ( ) :",
        "global global_one/store , other/store",
    ]


def test_no_line_is_in_two_splits():
    data = Roles(size=24, valid_size=9, test_size=7, seed=1)
    found = {split: list(data.read(split)) for split in ("train", "valid", "test")}
    assert {split: len(part) for split, part in found.items()} == {"train": 24, "valid": 9, "test": 7}
    every = [record.tokens for part in found.values() for record in part]
    assert len(set(every)) == len(every)
    assert all(len(record.tokens) == len(record.tags) for part in found.values() for record in part)
    assert found["test"] == Roles(24, 9, 7, 1).splits["test"]
    assert found["test"] != Roles(24, 9, 7, 2).splits["test"]


def test_the_library_has_modules_and_no_tests():
    names = list(MODULES())
    assert any(name.endswith("argparse.py") for name in names)
    assert not any("site-packages" in name or "/test/" in name for name in names)
