"""What holds arguments and results against their annotations; an int will do for a float, as in PEP 484.

jaxtyping's own decorator binds the arguments of each call and checks them twice, whether they have shapes or not, which
took half of the time of most tests. With this one in its place, beartype checks a function itself, and only one whose
annotations name sizes has a memory of them, for the time of a call.
"""

import inspect
from functools import wraps
from types import CodeType, FunctionType
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import _storage

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
general = jaxtyping.jaxtyped
inner: dict[CodeType, FunctionType] = {}  # functions inside of others, which are made again and again


def resolved(function: Any) -> dict[str, Any]:
    """The annotations of a function; Any for one that cannot be evaluated yet, as in jaxtyping."""
    found = dict[str, Any]()
    for name, annotation in function.__annotations__.items():
        try:
            found[name] = eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
        except Exception:
            found[name] = Any
    return found


def shapes(annotation: Any) -> list[str]:
    """The shapes that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return [annotation.dim_str]
    return [shape for part in get_args(annotation) for shape in shapes(part)]


def checking(function: Any) -> Any:
    """beartype's wrapper of a function; it is made once for all functions of the same code."""
    known = inner.get(function.__code__)
    if known is None:
        known = check(function)
        if known is not function and "<locals>" in function.__qualname__:
            inner[function.__code__] = known
        return known
    made = FunctionType(known.__code__, known.__globals__, known.__name__)
    made.__kwdefaults__ = (known.__kwdefaults__ or {}) | {"__beartype_func": function}
    return wraps(function)(made)


def jaxtyped(function: Any, typechecker: Any) -> Any:
    """As jaxtyping's own; for plain functions quicker."""
    if not inspect.isfunction(function) or inspect.isgeneratorfunction(function):
        return general(function, typechecker=typechecker)
    written, function.__annotations__ = function.__annotations__, resolved(function)
    found = [shape for annotation in function.__annotations__.values() for shape in shapes(annotation)]
    checked = checking(function)
    function.__annotations__ = written
    named = inspect.signature(function) if any("{" in shape for shape in found) else None  # sizes that arguments give

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        if not found:
            return checked(*args, **kwargs)
        _storage.push_shape_memo(named.bind(*args, **kwargs).arguments if named else {})
        try:
            return checked(*args, **kwargs)
        finally:
            _storage.pop_shape_memo()

    return wrapped


jaxtyping.jaxtyped = lambda function=None, *, typechecker: (
    (lambda function: jaxtyped(function, typechecker)) if function is None else jaxtyped(function, typechecker)
)
