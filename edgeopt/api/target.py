"""Converting for an accelerator: what its compiler wants, what it would map, and the compiled file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..artifact.artifact import Artifact
from ..artifact.atomic import refuse_to_overwrite, write_atomically
from ..converters.accelerator import CompiledFile, Prediction, accelerator
from ..devices.agent.hardware import EDGE_TPU_LIBRARY
from ..errors import RecipeError
from ..flatbuffer import read_model
from ..recipes.convert import ConvertRecipe

_IO_TYPES = ("input_type", "output_type")
_INTEGER_IO = ("int8", "uint8")
_AS_GOOD = {**dict.fromkeys(_IO_TYPES, _INTEGER_IO), "edges": ("prepared",)}


def recipe_for(target: str, recipe: ConvertRecipe) -> ConvertRecipe:
    """Return the recipe for `target`: what its compiler wants, unless `recipe` says the same.

    Args:
        target: Name of an accelerator, such as ``edgetpu`` or ``ethos-u55-128``.
        recipe: What the user set; fields that have their default count as left to the target.

    Raises:
        UsageError: There is no such accelerator.
        RecipeError: The recipe contradicts what the compiler can read.
    """
    wants = accelerator(target).wants.recipe
    defaults, asked, chosen = ConvertRecipe().to_dict(), recipe.to_dict(), {}
    for name, wanted in wants.items():
        given = asked[name]
        if given == defaults[name]:
            chosen[name] = wanted
        elif given != wanted and given not in _AS_GOOD.get(name, ()):
            raise RecipeError(
                f"{name}={given!r} does not go with target {target}, whose compiler wants {wanted!r}; drop it."
            )
    if recipe.dynamic_batch:
        raise RecipeError(
            f"dynamic_batch does not go with target {target}, whose compiler wants fixed shapes; drop it."
        )
    if recipe.float_ops is not None:
        raise RecipeError(
            f"float_ops does not go with target {target}, which computes with integers only: all behind a float "
            "operator would be left to the CPU; drop it."
        )
    return replace(recipe, **chosen)


def predict(target: str, data: bytes) -> Prediction:
    """Return what the compiler of `target` would map of a .tflite file.

    Raises:
        UsageError: There is no such accelerator, or the file is compiled already.
        CompilerError: The prediction needs a compiler that is not installed.
    """
    return accelerator(target).predictor.predict(read_model(data), data)


def require_compiler(target: str) -> str:
    """Return the name and version of the target's compiler.

    Raises:
        CompilerError: It is not installed; the message says how to get it.
    """
    return accelerator(target).compiler.version()


def compiled_path(target: str, path: str | os.PathLike[str], force: bool) -> Path:
    """Return where the compiled form of `path` goes, as the target's users expect it.

    Raises:
        OutputError: It, or its log, exists and `force` is not set.
    """
    plain = Path(path)
    suffix = "edgetpu" if target == "edgetpu" else "vela"
    compiled = plain.with_name(f"{plain.stem}_{suffix}.tflite")
    for file in (compiled, compiled.with_suffix(".log")):
        refuse_to_overwrite(file, force)
    return compiled


def compile_beside(
    target: str, path: str | os.PathLike[str], data: bytes, *, force: bool = False
) -> tuple[Path, CompiledFile]:
    """Compile `data` for `target`; write the compiled file, and the compiler's log, beside `path`.

    Raises:
        OutputError: A file of that name exists and `force` is not set.
        ModelError: The compiler refuses the file, or maps none of its operators.
        CompilerError: The compiler is missing or failed.
    """
    compiled = compiled_path(target, path, force)
    (made,) = accelerator(target).compiler.compile(data, Path(path).stem)
    write_atomically(compiled.with_suffix(".log"), made.log.encode())
    write_atomically(compiled, made.model)
    return compiled, made


def with_target(artifact: Artifact, prediction: Prediction, compiled: tuple[Path, CompiledFile] | None) -> Artifact:
    """Return an artifact whose sidecar tells its target: what was predicted, and the compiled file if there is one.

    Args:
        artifact: What was converted for the target.
        prediction: What `predict` says of it.
        compiled: What `compile_beside` made of it.
    """
    found: dict[str, object] | None = None
    if compiled is not None:
        path, made = compiled
        delegate = EDGE_TPU_LIBRARY if made.target == "edgetpu" else None
        found = {"path": str(path), "delegate": delegate, **made.to_dict()}
    fields = {"target": prediction.target, "prediction": prediction.to_dict(), "compiled": found}
    return replace(artifact, sidecar={**artifact.sidecar, **fields})
