"""``edgeopt.sensitivity``: which operators lose an int8 file's accuracy, and what would help each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import ConversionError, RecipeError
from ..evaluation.sensitivity import SensitivityReport
from ..process.isolation import OnEvent
from ..recipes.convert import ConvertRecipe
from .convert import Loading, run_conversion, settings_of
from .study import Labelled, Study


def sensitivity(
    model: Any,
    *,
    calibration: Any,
    data: Any = None,
    metric: str = "accuracy",
    output_name: str | None = None,
    recipe: ConvertRecipe | None = None,
    custom_objects: Sequence[str] = (),
    unsafe_load: bool = False,
    isolate: bool = True,
    on_event: OnEvent | None = None,
    **options: Any,
) -> SensitivityReport:
    """Say of each operator what it costs as int8: how near its result and the outputs are, and what would help.

    The model is calibrated once, and then quantised twice for each operator: with only that one float, and with only
    that one int8. All files run in TensorFlow's interpreter on this machine.

    Args:
        model: As `edgeopt.convert` takes it.
        calibration: As `edgeopt.convert` takes it; what it does not calibrate with judges.
        data: Samples with labels, which the metric is taken of, for each file; None for none.
        metric: "accuracy", "top5", "auc", "mae", "mse" or ``module:callable``.
        output_name: Name of the output that is scored, for a model with several.
        recipe: Settings of the conversion; `options` change single ones.
        custom_objects: ``module:NAME`` for what a model file needs.
        unsafe_load: Allow Python code stored in a model file to run.
        isolate: Work in a child process.
        on_event: Called with {``stage``: name, ``done``: ..., ``total``: ...} as the work goes on.
        **options: Fields of `edgeopt.recipes.convert.ConvertRecipe`.

    Raises:
        UsageError: A model, option or data that cannot be used.
        ModelError: The model cannot be converted, or its operators cannot be tried one by one (ConversionError).

    Example:
        >>> report = edgeopt.sensitivity("model.keras", calibration="train.npz", data="test.npz")
        >>> report.operators[0].layer, report.operators[0].remedy
        ('block_1_depthwise', 'float')
    """
    # A file whose operators are being asked about is not refused because of them.
    settings = replace(
        settings_of(recipe, options),
        allow_float_ops=True,
        float_ops=None,
        max_drop=None,
        min_fidelity=None,
        to="tflite",
    )
    if settings.quantize != "int8":
        raise RecipeError(f"Received quantize={settings.quantize!r}; the sensitivities are those of int8 files.")

    def ask(folder: Any) -> Study:
        return Study(True, None if data is None else Labelled.write(data, metric, output_name, folder))

    made = run_conversion(
        model,
        calibration,
        settings,
        Loading(tuple(custom_objects), unsafe_load),
        ask=ask,
        isolate=isolate,
        on_event=on_event,
    )
    found = made.report.sensitivity
    if found is None:
        raise ConversionError(
            "The operators cannot be tried one by one, because "
            + (
                "the model was trained quantised and holds its ranges itself; ask for the float model's."
                if made.report.trained_ranges
                else "the file does not run here; see what `edgeopt convert` says of it."
            )
        )
    return replace(SensitivityReport.from_dict(found), warnings=tuple(made.report.warnings))
