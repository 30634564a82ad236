"""What a training runs on: TensorFlow's distribution strategies by name, and the devices by theirs."""

from __future__ import annotations

from functools import cache
from typing import Any

from ..errors import UsageError, one_line


def strategy_of(asked: Any) -> Any:
    """Return the ``tf.distribute.Strategy`` that was asked for, by a name of `options.STRATEGIES` or itself; or None.

    Raises:
        UsageError: It cannot be made here, or does not train step by step.
    """
    import tensorflow as tf

    if isinstance(asked, tf.distribute.Strategy):
        if isinstance(asked, tf.distribute.ParameterServerStrategy):
            raise UsageError(
                "ParameterServerStrategy trains through a coordinator of its own, out of step, so that neither "
                "checkpoints nor seeds would hold; train with mirrored or multi_worker."
            )
        return asked
    makers = {
        "mirrored": tf.distribute.MirroredStrategy,
        "multi_worker": join_workers,
        "central_storage": tf.distribute.experimental.CentralStorageStrategy,
        "one_device": lambda: tf.distribute.OneDeviceStrategy(_first_device()),
        "tpu": _tpu_strategy,
    }
    if asked is None or asked in makers:
        return None if asked is None else makers[asked]()
    raise UsageError(f"Received a strategy of type {type(asked).__name__}; expected a tf.distribute.Strategy.")


@cache
def join_workers() -> Any:
    """Return the strategy of all workers of ``TF_CONFIG``; made once, before TensorFlow computes anything.

    Raises:
        UsageError: TensorFlow has begun to compute.
    """
    import tensorflow as tf

    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UsageError(
            "strategy='multi_worker' came after TensorFlow had begun to compute (making a model is enough), which is "
            "too late for its collective operations; run `edgeopt optimize` on a model file, or, in Python, make "
            "tf.distribute.MultiWorkerMirroredStrategy() first of all and pass that as the strategy."
        ) from error


@cache
def _tpu_strategy() -> Any:
    import tensorflow as tf

    try:
        return tf.distribute.TPUStrategy(tf.distribute.cluster_resolver.TPUClusterResolver.connect())
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise UsageError(
            f"strategy='tpu' found no TPU ({one_line(error)}); set TPU_NAME to one (local on a TPU's own machine), or "
            "train with another strategy."
        ) from error


def needs_tf_keras(strategy: Any) -> bool:
    """Whether only tf_keras trains under a strategy: Keras 3's `fit` fails on several workers, and knows no TPU."""
    import tensorflow as tf

    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy | tf.distribute.TPUStrategy)


def _first_device() -> str:
    import tensorflow as tf

    return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"


def devices_of(strategy: Any) -> tuple[str, ...]:
    """Return the devices that a training computes on, a GPU with its model: ``("GPU:0 (NVIDIA L4)",)``.

    Args:
        strategy: A ``tf.distribute.Strategy`` of this process; None: TensorFlow takes the first GPU, or the CPU.
    """
    import tensorflow as tf

    names = [_first_device()]
    if strategy is not None:
        names = [name.rpartition("device:")[2] for name in strategy.extended.worker_devices]
    models = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return tuple(_called(name, models) for name in names)


def _called(name: str, models: list[str]) -> str:
    kind, _, number = name.partition(":")
    known = kind == "GPU" and number.isdigit() and int(number) < len(models) and models[int(number)]
    return f"{name} ({known})" if known else name
