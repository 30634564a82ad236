"""What a compilation changed: which operators moved to the chip and which stayed."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError
from ...flatbuffer import Model, Operator
from ...flatbuffer.specs import TensorSpec, input_specs, output_specs
from ..accelerator import histogram
from .package import CUSTOM_OP, Package, is_compiled, packages
from .predict import refuse_compiled


@dataclass(frozen=True)
class CompiledDiff:
    """A model and its compiled form, side by side.

    Attributes:
        moved: Histogram of the operators that run on the chip.
        stayed: Histogram of those that run on the CPU.
        moved_operators: Those that run on the chip, as (index, name) in the plain file; empty where tensor names do not
            tell.
        stayed_operators: Those that run on the CPU, in the same form.
        changed_ends: What differs between the inputs and outputs of the two, as sentences.
        packages: What is inside for the chip.
    """

    moved: dict[str, int]
    stayed: dict[str, int]
    moved_operators: tuple[tuple[int, str], ...]
    stayed_operators: tuple[tuple[int, str], ...]
    changed_ends: tuple[str, ...]
    packages: tuple[Package, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {
            "moved_ops": dict(self.moved),
            "stayed_ops": dict(self.stayed),
            "moved_operators": [{"index": index, "op": op} for index, op in self.moved_operators],
            "stayed_operators": [{"index": index, "op": op} for index, op in self.stayed_operators],
            "changed_ends": list(self.changed_ends),
            "packages": [package.to_dict() for package in self.packages],
        }


def diff(plain: Model, compiled: Model) -> CompiledDiff:
    """Compare a model with its compiled form.

    Raises:
        UsageError: `plain` is compiled, `compiled` is not, or it holds operators that `plain` does not.
        FileFormatError: The package is corrupt.
    """
    refuse_compiled(plain)
    if not is_compiled(compiled):
        raise UsageError("The second model holds no edgetpu-custom-op, expected a compiled one; compile the first.")
    left = [operator for operator in compiled.main.operators if operator.name != CUSTOM_OP]
    before = histogram(operator.name for operator in plain.main.operators)
    stayed = histogram(operator.name for operator in left)
    for op, count in stayed.items():
        if count > before.get(op, 0):
            raise UsageError(
                f"The compiled model holds {count} {op}, but the plain one {before.get(op, 0)}; expected the model "
                "that it was compiled from."
            )
    places = _places(plain, compiled, left)
    others = [(operator.index, operator.name) for operator in plain.main.operators]
    return CompiledDiff(
        moved={op: count - stayed.get(op, 0) for op, count in before.items() if count > stayed.get(op, 0)},
        stayed=stayed,
        moved_operators=tuple(item for item in others if item not in places) if len(places) == len(left) else (),
        stayed_operators=tuple(places) if len(places) == len(left) else (),
        changed_ends=_changed_ends(plain, compiled),
        packages=packages(compiled),
    )


def _places(plain: Model, compiled: Model, left: list[Operator]) -> list[tuple[int, str]]:
    """Return where the operators that were left stand in the plain file, by the tensors that they write."""
    places = {
        plain.main.tensors[index].name: (operator.index, operator.name)
        for operator in plain.main.operators
        for index in operator.outputs
    }
    found = []
    for operator in left:
        names = [compiled.main.tensors[index].name for index in operator.outputs]
        place = next((places[name] for name in names if name in places), None)
        if place is not None and place[1] == operator.name:
            found.append(place)
    return found


def _changed_ends(plain: Model, compiled: Model) -> tuple[str, ...]:
    changed: list[str] = []
    for kind, specs in (("input", input_specs), ("output", output_specs)):
        before, after = specs(plain), specs(compiled)
        if len(before) != len(after):
            changed.append(f"{len(before)} {kind}s became {len(after)}")
        for old, new in zip(before, after, strict=False):
            changed += _changed(kind, old, new)
    return tuple(changed)


def _changed(kind: str, old: TensorSpec, new: TensorSpec) -> list[str]:
    fields = ("tensor_name", "shape", "dtype", "scale", "zero_point")
    return [
        f"{kind} {old.tensor_name!r}: {field} {getattr(old, field)} became {getattr(new, field)}"
        for field in fields
        if getattr(old, field) != getattr(new, field)
    ]
