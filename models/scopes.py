"""Names for parts of the graph, by which profiles and TensorBoard tell them apart."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, cast

import tensorflow as tf

Function = TypeVar("Function", bound=Callable[..., object])


def in_scope(name: str) -> Callable[[Function], Function]:
    """A decorator: what the function adds to a graph is named `name/...`."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def named(*args: object, **kwargs: object) -> object:
            with tf.name_scope(name):
                return function(*args, **kwargs)

        return cast(Function, named)

    return decorate
