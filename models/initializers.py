"""Where weights start: the tutorial's uniform range, or Keras' defaults."""

from typing import Literal

import keras


def weight_initializer(
    init_scale: float | None, default: Literal["glorot_uniform", "orthogonal", "uniform"] = "glorot_uniform"
) -> keras.initializers.Initializer:
    """Uniform in ±`init_scale`, or the Keras initializer named `default` where `init_scale` is `None`."""
    if init_scale is None:
        return keras.initializers.get(default)
    return keras.initializers.RandomUniform(-init_scale, init_scale)


def bias_initializer(init_scale: float | None) -> keras.initializers.Initializer:
    """Uniform in ±`init_scale`, or zeros where `init_scale` is `None`."""
    return keras.initializers.Zeros() if init_scale is None else weight_initializer(init_scale)
