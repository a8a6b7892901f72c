"""Adam in one pass over the weights, and how gradients that are already summed reach an optimizer."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from models import replicas


@keras.saving.register_keras_serializable(package="heliograph")
class FusedAdam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015) whose update of a variable is TensorFlow's one kernel, `ResourceApplyAdam`.

    `keras.optimizers.Adam` writes the same formula as a dozen operations, each of which reads and writes the whole
    variable; for the tutorial's 14 million weights that took 50 ms of a 450 ms step on two cores.

    Under a distribution strategy each replica updates its own copies. So its gradients must be dense and already
    summed over the replicas, unlike those for other Keras optimizers, which sum themselves; `apply_reduced` knows both.

    Args:
        learning_rate: number or schedule.
        ema_momentum: momentum m of an exponential moving average of the weights, or `None` for none. After update i,
            counted from 0, `average = d average + (1 - d) weight` with `d = min(m, (1 + i) / (10 + i))`, 0 for i = 0:
            early weights do not linger.
        **options: beta_1, beta_2, epsilon and name of `keras.optimizers.Adam`.
    """

    def __init__(self, learning_rate: Any = 1e-3, ema_momentum: float | None = None, **options: Any) -> None:
        unknown = options.keys() - {"beta_1", "beta_2", "epsilon", "name"}
        if unknown:
            raise ValueError(f"options must be beta_1, beta_2, epsilon and name, got {', '.join(sorted(unknown))}")
        if ema_momentum is not None and not 0.0 < ema_momentum < 1.0:
            raise ValueError(f"ema_momentum must lie between 0 and 1, got {ema_momentum}")
        averaged = {} if ema_momentum is None else {"use_ema": True, "ema_momentum": ema_momentum}
        super().__init__(learning_rate, **options, **averaged)

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Sequence[Any] | None = None) -> None:
        """One update with dense gradients that are the same on all replicas."""
        variables = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        if not self.built:
            self.build(variables)
        for gradient, variable in zip(grads, variables, strict=True):
            self._update(gradient, variable)
        self.iterations.assign_add(1)

    def _update(self, gradient: tf.Tensor, variable: Any) -> None:
        index = self._get_variable_index(variable)
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(self.learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )
        if self.use_ema:
            done = tf.cast(self.iterations, dtype)
            decay = tf.minimum(tf.cast(self.ema_momentum, dtype), (1.0 + done) / (10.0 + done))
            decay = tf.where(done > 0, decay, tf.zeros_like(decay))
            average = _handle(self._model_variables_moving_average[index])
            value, mean = (tf.raw_ops.ReadVariableOp(resource=h, dtype=dtype) for h in (_handle(variable), average))
            tf.raw_ops.AssignVariableOp(resource=average, value=decay * mean + (1.0 - decay) * value)

    @property
    def averages(self) -> list[Any]:
        """The moving averages, in the order of the trainable variables; empty without `ema_momentum` or updates."""
        return list(self._model_variables_moving_average) if self.use_ema and self.built else []

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        kept = {name: super(FusedAdam, self).get_config()[name] for name in ("name", "learning_rate")}
        options = {name: getattr(self, name) for name in ("beta_1", "beta_2", "epsilon")}
        return {**kept, **options, "ema_momentum": self.ema_momentum if self.use_ema else None}


def inner(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer itself, or the one inside Keras' `LossScaleOptimizer`."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def check_clipping(optimizer: keras.optimizers.Optimizer) -> None:
    """Raise `ValueError` if the optimizer clips: it would do so before or apart from the sum over replicas."""
    for name in ("clipnorm", "global_clipnorm", "clipvalue"):
        value = getattr(inner(optimizer), name)
        if value is not None:
            raise ValueError(f"optimizer must not clip, got {name}={value}: give clip_norm to compile instead")


def loss_scale(optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
    """What float16 training multiplies the loss by, and its gradients; 1 for every other."""
    return tf.convert_to_tensor(optimizer.scale_loss(tf.ones([])))


def apply_reduced(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[Any]
) -> None:
    """One update, in a replica, with gradients that are already summed over all replicas."""
    if not isinstance(inner(optimizer), FusedAdam):
        gradients = [gradient / replicas.count() for gradient in gradients]  # Keras is going to sum them
    optimizer.apply(gradients, variables)


def _handle(variable: Any) -> tf.Tensor:
    """The resource behind a TensorFlow variable or Keras' wrapper of one; in a replica, behind its copy."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
