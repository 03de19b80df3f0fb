"""Formulas of position, such as ``8 + 20*y``: read into a function without running any code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError

Float = NDArray[np.floating[Any]]

FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "sqrt": (np.sqrt, 1),
    "exp": (np.exp, 1),
    "log": (np.log, 1),
    "sin": (np.sin, 1),
    "cos": (np.cos, 1),
    "tanh": (np.tanh, 1),
    "abs": (np.abs, 1),
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
    "atan2": (np.arctan2, 2),
    "step": (lambda v: np.heaviside(v, 1.0), 1),
}
"""Functions a formula may call, and how many values each takes; ``step`` is 0 below zero and 1 from there on."""

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}

_LONGEST = 500


def evaluate(text: str, values: Mapping[str, Float]) -> Float:
    """Work out a formula of named values.

    Parameters
    ----------
    text
        Numbers, the names in `values`, ``pi``, ``+ - * / **``, brackets, and :data:`FUNCTIONS`.
    values
        What the names stand for: arrays of shapes that can be broadcast.

    Raises
    ------
    InputError
        If the formula cannot be read, or its result is not finite everywhere.

    Examples
    --------
    >>> evaluate("8 + 20*y**2", {"y": np.array([0.0, 0.5])})
    array([ 8., 13.])
    """
    try:
        tree = ast.parse(text.strip(), mode="eval") if len(text) <= _LONGEST else None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        tree = None
    if tree is None:
        raise InputError(f"cannot read the formula {text[:60]!r}; write it like 8 + 20*y")
    with np.errstate(all="ignore"):
        try:
            found = np.asarray(_value(tree.body, values, text), dtype=np.float64)
        except (OverflowError, ZeroDivisionError, TypeError, RecursionError):
            found = np.asarray(np.nan)
    if not np.isfinite(found).all():
        raise InputError(f"the formula {text!r} is not a finite number everywhere")
    return found


def _value(node: ast.AST, values: Mapping[str, Float], text: str) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return np.float64(number)
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.Name(id="pi"):
            return np.pi
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, values, text), _value(right, values, text))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(operand, values, text))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in FUNCTIONS:
            function, count = FUNCTIONS[name]
            if len(given) == count:
                return function(*(_value(one, values, text) for one in given))
    part = ast.unparse(node)
    known = ", ".join([*values, "pi", *FUNCTIONS])
    raise InputError(f"formula {text!r}: cannot use {part!r}; a formula has numbers, + - * / **, brackets and {known}")
