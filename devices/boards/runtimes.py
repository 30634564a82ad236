"""Which TFLite runtime fits which board: Python, glibc and machine, as the wheels were built."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import DeviceError

Version = tuple[int, int]


@dataclass(frozen=True)
class Wheel:
    """One release of a runtime and what its wheels need.

    Attributes:
        package: "ai-edge-litert", "tflite-runtime" or "onnxruntime".
        version: The version of the release.
        pythons: First and last minor version of Python 3 that there are wheels for.
        machines: The oldest glibc that the wheels run with, by machine, as `uname -m` prints that.
        numpy: The requirement that goes with it. tflite-runtime was built for NumPy 1 and states no upper bound.
    """

    package: str
    version: str
    pythons: tuple[int, int]
    machines: dict[str, Version]
    numpy: str = "numpy<2"

    @property
    def module(self) -> str:
        """The name by which the agent knows it."""
        return self.package.replace("-", "_")

    def fits(self, facts: BoardFacts) -> bool:
        """Whether its wheels can be installed on a board."""
        first, last = self.pythons
        glibc = self.machines.get(facts.machine)
        return facts.python[0] == 3 and first <= facts.python[1] <= last and glibc is not None and facts.glibc >= glibc


@dataclass(frozen=True)
class BoardFacts:
    """What decides: Python and glibc as (major, minor), and the machine."""

    python: Version
    glibc: Version
    machine: str

    def __str__(self) -> str:
        python, glibc = (".".join(map(str, version)) for version in (self.python, self.glibc))
        return f"Python {python}, glibc {glibc}, {self.machine}"


_MANYLINUX2014 = (2, 17)

# The first that fits is the choice. ai-edge-litert comes first: it gives int8 models to XNNPACK.
WHEELS = (
    Wheel("ai-edge-litert", "2.3.0", (10, 13), {"aarch64": (2, 27), "x86_64": (2, 27)}, "numpy>=1.23.2"),
    Wheel("tflite-runtime", "2.14.0", (8, 11),
          {"aarch64": (2, 34), "armv7l": (2, 34), "x86_64": _MANYLINUX2014}),
    Wheel("tflite-runtime", "2.13.0", (8, 11),
          {"aarch64": _MANYLINUX2014, "armv7l": _MANYLINUX2014, "x86_64": _MANYLINUX2014}),
    Wheel("tflite-runtime", "2.11.0", (7, 10),
          {"aarch64": _MANYLINUX2014, "armv7l": _MANYLINUX2014, "x86_64": _MANYLINUX2014}),
)  # fmt: skip

# For .onnx files; only where it is asked for.
ONNX = "onnxruntime"
ONNX_WHEELS = (
    Wheel(ONNX, "1.32.0", (11, 14), {"aarch64": (2, 28), "x86_64": (2, 28)}, "numpy>=1.21.6"),
    Wheel(ONNX, "1.23.2", (10, 10), {"aarch64": (2, 27), "x86_64": (2, 27)}, "numpy>=1.21.6"),
    Wheel(ONNX, "1.19.2", (8, 9), {"aarch64": (2, 27), "x86_64": (2, 27)}, "numpy>=1.21.6"),
)

# Machines without NumPy wheels: there it comes from the system's packages.
NUMPY_FROM_SYSTEM = frozenset({"armv7l"})


def choose(facts: BoardFacts, runtime: str | None = None) -> Wheel:
    """Return the best release for a board, of `runtime` (a package or module name) if one is asked for.

    Raises:
        DeviceError: None was built for it.

    Example:
        >>> choose(BoardFacts((3, 7), (2, 28), "aarch64")).version
        '2.11.0'
    """
    wanted = None if runtime is None else runtime.replace("_", "-")
    packages = [wheel for wheel in (ONNX_WHEELS if wanted == ONNX else WHEELS) if wanted in (None, wheel.package)]
    if not packages:
        known = ", ".join(sorted({wheel.package for wheel in (*WHEELS, *ONNX_WHEELS)}))
        raise DeviceError(f"Unknown runtime {runtime!r}; expected one of {known}.")
    found = next((wheel for wheel in packages if wheel.fits(facts)), None)
    if found is None:
        built = "; ".join(_describe(wheel) for wheel in packages)
        kind = ONNX if wanted == ONNX else "TFLite runtime"
        raise DeviceError(f"No {kind} was built for {facts} ({built}); use another Python or system.")
    return found


def _describe(wheel: Wheel) -> str:
    first, last = wheel.pythons
    machines = ", ".join(f"{name} with glibc {major}.{minor}" for name, (major, minor) in wheel.machines.items())
    return f"{wheel.package} {wheel.version} for Python 3.{first} to 3.{last} on {machines}"
