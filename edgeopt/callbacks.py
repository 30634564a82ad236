"""Keras callbacks for people who keep their own training loop.

`TFLiteEvaluation` is a callback of both flavours: an instance goes into the `fit` of a Keras 3 or a tf_keras model.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .recipes.convert import ConvertRecipe
from .recipes.values import require_number, require_whole

if TYPE_CHECKING:
    from .data.dataset import Dataset
    from .evaluation.report import ValidationReport


class _AnyFlavour:
    """What both flavours ask of a callback, doing nothing: neither's base class would do for the other."""

    model: Any = None

    def __init__(self) -> None:
        self.params: dict[str, object] = {}

    def set_model(self, model: Any) -> None:
        """Take the model that is trained (called by Keras)."""
        self.model = model

    def set_params(self, params: dict[str, object] | None) -> None:
        """Take the training's parameters (called by Keras)."""
        self.params = dict(params or {})

    def _nothing(self, *_arguments: Any, **_named: Any) -> None:
        return None

    def _no_batches(self) -> bool:
        return False

    on_train_begin = on_train_end = on_epoch_begin = on_epoch_end = on_batch_begin = on_batch_end = _nothing
    on_train_batch_begin = on_train_batch_end = on_test_batch_begin = on_test_batch_end = _nothing
    on_predict_batch_begin = on_predict_batch_end = _nothing
    on_test_begin = on_test_end = on_predict_begin = on_predict_end = _nothing
    _implements_train_batch_hooks = _implements_test_batch_hooks = _implements_predict_batch_hooks = _no_batches


class TFLiteEvaluation(_AnyFlavour):
    """Log, during `fit`, what the exported file scores: the int8 file's accuracy, not the float model's.

    Every `every` epochs the model is converted, the file is run in the deployment runtime on `data`, and its metric is
    put into the epoch's logs as ``tflite_accuracy`` (``tflite_`` and the metric's name), where History, CSVLogger and
    callbacks behind this one see it. With `log_dir` it becomes a TensorBoard scalar of that name. Of a model that is
    being pruned or clustered, the file is that of a copy without TFMOT's wrappers.

    Args:
        every: Epochs between two evaluations, 1 by default; the last epoch is always evaluated.
        data: Samples with labels, of any kind that `edgeopt.data.load_dataset` takes; they are looked at when the
            training begins, as is whether they fit the model.
        calibration: Samples for the conversion; None takes those of `data`, which flatters the file a little.
        recipe: How to convert; None, the default, is full int8.
        metric: What is scored, as `edgeopt.validate` names it; accuracy by default.
        output_name: Name of the output that is scored, of a model with several.
        log_dir: The folder where TensorBoard looks; None, the default, writes no events.
        seconds: Time each file for so many seconds, and log its median as ``tflite_latency_ms``; 0, the default, does
            not time.

    Raises:
        UsageError: `every` is less than 1, `seconds` negative, or the metric unknown. When the training begins: there
            are several outputs and none was named, or the data do not fit or have no labels (DataError).

    Example:
        >>> watch = edgeopt.callbacks.TFLiteEvaluation(every=5, data=(x_test, y_test), calibration=x_train)
        >>> model.fit(x_train, y_train, epochs=20, callbacks=[watch])
        >>> watch.history
        [{'epoch': 4, 'tflite_accuracy': 0.871}, ...]
    """

    def __init__(
        self,
        *,
        every: int = 1,
        data: Any,
        calibration: Any = None,
        recipe: ConvertRecipe | None = None,
        metric: str = "accuracy",
        output_name: str | None = None,
        log_dir: str | Path | None = None,
        seconds: float = 0.0,
    ) -> None:
        from .evaluation.metrics import load_metric

        super().__init__()
        self._scoring = load_metric(metric)
        require_whole("every", every, 1)
        require_number("seconds", seconds, "0 (no timing) or more", lambda value: value >= 0)
        self.every, self.metric, self.output_name, self.seconds = every, metric, output_name, seconds
        self.history: list[dict[str, float]] = []
        self.reports: list[ValidationReport] = []
        self._data, self._calibration, self._recipe = data, calibration, recipe or ConvertRecipe()
        self._log_dir = log_dir
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Look at the data and the model: what is wrong with them would end the training at its first evaluation."""
        from .data.dataset import Dataset
        from .evaluation.metrics import check_output
        from .evaluation.scoring import require_labels
        from .models.load import describe
        from .passes.tfmot.unwrapping import without_wrappers

        dataset = self._read()
        if dataset.labels is None:
            require_labels(self._scoring, None, "data of TFLiteEvaluation")
        try:
            spec = describe(without_wrappers(self.model)).spec
        except UsageError:
            return  # a subclassed model that was never called
        if spec.output_names:
            check_output(self._scoring, self.output_name, spec.output_names)
            dataset.labels_of(self.output_name, spec.output_names)
        for samples in (dataset, self._calibration) if spec.firm else ():
            if isinstance(samples, Dataset):
                samples.bind([item.name for item in spec.inputs], [item.shape for item in spec.inputs])

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Evaluate the exported file, if it is its turn."""
        last = epoch + 1 == self.params.get("epochs")
        if (epoch + 1) % self.every and not last:
            return
        values = self.evaluate(self.model)
        self.history.append({"epoch": epoch, **values})
        if logs is not None:
            logs.update(values)
        self._write(epoch, values)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def evaluate(self, model: Any) -> dict[str, float]:
        """Convert `model`, run the file on the data, and return its figures.

        Raises:
            UsageError: Data that do not fit.
            ModelError: The model cannot be converted, or the file fails.
        """
        from .api.convert import convert
        from .api.validate import validate
        from .devices import BenchPlan
        from .passes.tfmot.unwrapping import without_wrappers

        data, calibration = self._read(), self._calibration
        if calibration is None and self._recipe.needs_calibration:
            calibration = data
        artifact = convert(without_wrappers(model), calibration=calibration, recipe=self._recipe)
        timed = self.seconds > 0
        plan = BenchPlan(min_seconds=min(1.0, self.seconds), max_seconds=self.seconds) if timed else _shortest()
        report = validate(artifact, data=data, metric=self.metric, output_name=self.output_name, bench=plan)
        self.reports.append(report)
        values = {f"tflite_{report.scores.metric.name}": float(report.scores.candidate.value)}
        if timed and report.latency_ms is not None:
            values["tflite_latency_ms"] = float(report.latency_ms["p50"])
        return values

    def _read(self) -> Dataset:
        """Return the data, read once: a generator gives them once only. So it is with samples for the conversion."""
        from .data.dataset import load_dataset

        recipe = self._recipe
        self._data = load_dataset(
            self._data,
            image_size=recipe.image_size,
            image_scaling=recipe.image_scaling,
            image_resize=recipe.image_resize,
        )
        if self._calibration is not None and not isinstance(self._calibration, (str, os.PathLike)):
            self._calibration = load_dataset(self._calibration, limit=self._recipe.calibration_samples)
        found: Dataset = self._data
        return found

    def _write(self, epoch: int, values: dict[str, float]) -> None:
        if self._log_dir is None:
            return
        import tensorflow as tf

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._log_dir))
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=epoch)
        self._writer.flush()


def _shortest() -> Any:
    """The least timing that a validation makes: one run."""
    from .devices import BenchPlan

    return BenchPlan(
        warmup_runs=0, warmup_seconds=0.0, min_runs=1, max_runs=1, min_seconds=0.0, max_seconds=0.1, processes=1
    )
