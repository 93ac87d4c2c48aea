"""Signatures are enforced while the tests run, shapes included."""

from collections.abc import Callable, Iterator
from typing import Any

import jaxtyping
import numpy as np
import pytest
import typechecker
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError

from seqtrain.contract import length_mask

Matrix = np.ndarray
checked: Any = jaxtyping.jaxtyped(typechecker=typechecker.check)


@checked
def product(a: Float[Matrix, "N K"], b: "Float[Matrix, 'K M']") -> Float[Matrix, "N M"]:
    return a[:, :1] @ b[:1] if len(b) < 5 else a


@checked
def zeros(size: int) -> Float[Matrix, "{size}"]:
    return np.zeros(min(size, 3))


@checked
def adder(number: float) -> Callable[[int], int]:
    @checked
    def add(other: int) -> int:
        return other + number  # pyright: ignore

    return add


@checked
def rows(a: Float[Matrix, "N K"]) -> Iterator[Float[Matrix, "K"]]:
    yield from a


def outer(a: Any, b: Any) -> Any:
    """A function without shapes between two with shapes."""
    return product(a, b)


@checked
def square(a: Float[Matrix, "N N"]) -> Float[Matrix, "N"]:
    return outer(np.ones((7, 2)), np.ones((2, 4)))[: len(a), 0]


def test_what_fits_passes() -> None:
    assert product(np.ones((2, 3)), np.ones((3, 4))).shape == (2, 4)
    assert len(zeros(2)) == 2
    assert [adder(number)(1) for number in (1, 2)] == [2, 3]
    assert len([*rows(np.ones((2, 3)))]) == 2
    assert len(square(np.ones((3, 3)))) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: product(np.ones((2, 3)), np.ones((2, 4))),  # an argument beside another
        lambda: product(np.ones((5, 5)), np.ones((5, 4))),  # the result
        lambda: product(np.ones(3), np.ones((3, 4))),
        lambda: product(np.ones((2, 3), int), np.ones((3, 4))),
        lambda: zeros(4),
        lambda: zeros("4"),
        lambda: square(np.ones((3, 2))),
        lambda: square(np.ones((9, 9))),
        lambda: [adder(number)(1) for number in (1, 2.5)],  # the second function of the same code
        lambda: rows([1]),
        lambda: length_mask(np.ones(3), 4),  # pyright: ignore
    ],
)
def test_what_does_not_fit_is_found(wrong: Callable[[], Any]) -> None:
    with pytest.raises((TypeCheckError, BeartypeCallHintViolation)):
        wrong()
