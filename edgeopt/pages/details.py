"""What a page says of one file: its classes, its operators, its fidelity, parity, mapping, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import tomli_w

from ..api.inspect import Inspection
from ..converters.accelerator import CPU, MAPPED, accelerator
from ..errors import EdgeoptError
from ..recipes.convert import ConvertRecipe
from .classes import classes_part
from .document import Block, Cell, Commands, Facts, Note, Section, table
from .evidence import Subject
from .measured import fidelity_of, profile_words, timings_of
from .operators import layer_words
from .records import Fidelity, Parity, Sensitivity
from .timing import time_part
from .words import bytes_cell, count_cell, percent

_MOST_ROWS = 120


def file_section(subject: Subject) -> Section:
    """Return all that is known of one file, in parts that can be folded."""
    parts = [
        classes_part(subject),
        *(time_part(timing, subject) for timing in timings_of(subject)),
        _fidelity_part(fidelity_of(subject)),
        *(_parity_part(parity) for parity in subject.parities),
        None if subject.inspection is None else _inside_part(subject.inspection),
        None if subject.inspection is None else _mapping_part(subject.inspection),
        _conversion_part(subject),
    ]
    warnings = {text: None for held in subject.validations for text in held.get("warnings", [])}
    warnings |= dict.fromkeys(subject.sidecar.get("warnings", []))
    # Why a timing does not count stands beside the timing.
    notes = tuple(Note(text, "unsure") for text in warnings if not text.startswith("The timing does not count"))
    return Section(subject.name, notes, tuple(part for part in parts if part is not None))


def _fidelity_part(found: Fidelity | None) -> Section | None:
    if found is None:
        return None
    rows = [
        (
            Cell(output["name"]),
            Cell(f"{output['snr_db']:.1f} dB"),
            Cell(f"{output['worst_channel_db']:.1f} dB"),
            Cell("–" if output["max_error_steps"] is None else f"{output['max_error_steps']:.1f}"),
            Cell(percent(output["same_class"])),
            Cell("; ".join(output["reasons"]) or "the model's", mark="bad" if output["reasons"] else "good"),
        )
        for output in found["outputs"]
    ]
    made = "that made no ranges of the file" if found["held_back"] else "some of which made its ranges"
    note = f"On {found['samples']} samples, {made}. 15 dB is the floor: noise of a sixth of the signal."
    columns = ("output", "signal to noise", "worst channel", "largest error, steps", "same class", "verdict")
    blocks: list[Block] = [table("Outputs of the file against the model's", columns, rows, note)]
    cause = found["cause"]
    if cause is not None:
        layer = f" of layer {cause['layer']}" if cause["layer"] else ""
        blocks.append(Note(f"It begins at {cause['op']}{layer} (operator {cause['index']}): {cause['remedy']}.", "bad"))
    return Section("Fidelity", tuple(blocks))


def _parity_part(found: Parity) -> Section:
    sides = [
        f"{side['device']} ({side['machine'] or 'machine unknown'}): {profile_words(side['kernel_profile'])}"
        for side in found["sides"]
    ]
    counts = sorted((int(step), count) for step, count in found["lsb_histogram"].items() if step.isdecimal())
    total = max(1, sum(count for _, count in counts))
    rows = [
        (
            Cell(f"{step}{' or more' if step >= 64 else ''}"),
            Cell(f"{count:,}"),
            Cell(percent(count / total), share=count / total),
        )
        for step, count in counts
    ]
    held = found.get("held", False)
    blocks: list[Block] = [
        Note(
            f"{found.get('level', 'Parity')} {'holds' if held else 'does not hold'}. {found.get('explanation', '')}",
            "good" if held else "bad",
        ),
        Facts((*((f"side {n}", side) for n, side in enumerate(sides, 1)), ("samples", str(found.get("samples", "–"))))),
        table("Elements by their difference", ("steps (LSB)", "elements", "share"), rows),
    ]
    at = found.get("first_divergence")
    if at is not None:
        blocks.append(
            Note(f"The first operator to differ: {at['op']} (operator {at['index']}; {layer_words(at['tensor'])}).")
        )
    return Section("Parity", tuple(blocks))


def _inside_part(found: Inspection) -> Section:
    facts = (
        ("fully int8", "yes" if found.fully_int8 else "no"),
        ("parameters", f"{found.parameters:,}"),
        ("MACs", f"{found.macs:,}" + (" at least" if found.macs_unknown else "")),
        ("activations", bytes_cell(found.peak_activation_bytes).text + " at most at once"),
        ("weight scales", ", ".join(f"{op} {kind}" for op, kind in found.granularity.items()) or "none"),
        *((f"input {spec.name}", f"{spec.dtype} {list(spec.shape)}") for spec in found.inputs),
        *((f"output {spec.name}", f"{spec.dtype} {list(spec.shape)}") for spec in found.outputs),
    )
    listed = found.to_dict()["operators"]
    operators = listed if isinstance(listed, list) else []
    most = max((row["macs"] or 0 for row in operators), default=0) or 1
    tensors = found.model.main.tensors
    rows = [
        (
            Cell(str(row["index"])),
            Cell(row["op"]),
            Cell(
                layer_words(tensors[row["outputs"][0]["tensor"]].name) if row["outputs"] and row["outputs"][0] else ""
            ),
            Cell(str(row["outputs"][0]["shape"]) if row["outputs"] and row["outputs"][0] else ""),
            replace(count_cell(row["macs"]), share=(row["macs"] or 0) / most),
            bytes_cell(row["weight_bytes"]),
        )
        for row in operators
        if row["subgraph"] == 0
    ]
    note = f"The first {_MOST_ROWS} of {len(rows)}." if len(rows) > _MOST_ROWS else ""
    columns = ("#", "operator", "layers", "output", "MACs", "weights")
    return Section("Inside the file", (Facts(facts), table("Operators", columns, rows[:_MOST_ROWS], note)), folded=True)


def _mapping_part(found: Inspection) -> Section | None:
    """Return what runs on the accelerator that a file was compiled for, or would be mapped to the Edge TPU."""
    if found.edgetpu:
        left = {name: count for name, count in found.ops.items() if name != "edgetpu-custom-op"}
        on_cpu = ", ".join(f"{count} {name}" for name, count in left.items()) or "nothing"
        facts = [("on the CPU", on_cpu)]
        for package in found.edgetpu:
            facts.append(("cached parameters", bytes_cell(package.cached_bytes).text))
            facts.append(("streamed parameters", bytes_cell(package.streamed_bytes).text))
        return Section("On the Edge TPU", (Facts(tuple(facts)),))
    if not found.fully_int8 or found.file is None:
        return None
    try:
        predicted = accelerator("edgetpu").predictor.predict(found.model, b"")
    except EdgeoptError:
        return None
    if predicted.refusal is not None:
        note = Note(f"Its compiler would refuse the file: {predicted.refusal.why} {predicted.refusal.remedy}", "bad")
        return Section("On an Edge TPU, as predicted", (note,), folded=True)
    kinds = {MAPPED: "good", CPU: "bad"}
    mapped = sum(item.verdict == MAPPED for item in predicted.operators)
    blocks: list[Block] = [
        Note(
            f"{mapped} of {len(predicted.operators)} operators would run on the chip.",
            "good" if mapped == len(predicted.operators) else "unsure",
        )
    ]
    rows = [
        (
            Cell(str(item.index)),
            Cell(item.op),
            Cell(item.verdict, mark=kinds.get(item.verdict, "unsure")),
            Cell(item.why),
            Cell(item.remedy),
        )
        for item in predicted.reasons[:_MOST_ROWS]
    ]
    if rows:
        blocks.append(table("What would not", ("#", "operator", "where", "why", "remedy"), rows))
    return Section("On an Edge TPU, as predicted", tuple(blocks), folded=True)


def _conversion_part(subject: Subject) -> Section | None:
    """Return how the file was made, and what proves which file it is."""
    side = subject.sidecar
    source, recipe, calibration = (
        side.get("source_model") or {},
        side.get("recipe") or {},
        side.get("calibration") or {},
    )
    facts = [("SHA-256 of the file", subject.sha256)]
    if side:
        facts += [
            ("model", _said(source.get("path") or source.get("name"))),
            ("SHA-256 of the model", _said(source.get("sha256"))),
            ("mode", _said(side.get("quantize"))),
            (
                "calibration",
                f"{_said(calibration.get('count'))} samples of {_said(calibration.get('source'))}"
                if calibration
                else None,
            ),
            ("seed", _said(recipe.get("seed"))),
            ("converter", _said((side.get("converter") or {}).get("name"))),
            ("versions", ", ".join(f"{name} {_said(version)}" for name, version in (side.get("tools") or {}).items())),
        ]
    known = tuple((name, value) for name, value in facts if value)
    again = [Commands("To make it again:", _again(recipe))] if recipe else []
    return Section("How it was made", (Facts(known), *again), folded=True) if known else None


def _again(recipe: Mapping[str, object]) -> str:
    """Return the command that converts anew, and the recipe that it takes, which has what is not as by default."""
    usual = ConvertRecipe().to_dict()
    asked = {name: value for name, value in recipe.items() if value is not None and value != usual.get(name)}
    if not asked:
        return "edgeopt convert MODEL --calibration DATA"
    try:
        table = tomli_w.dumps({"convert": asked})
    except (TypeError, ValueError):
        return f"edgeopt convert MODEL --calibration DATA  # with {', '.join(asked)}, which TOML cannot hold"
    return f"edgeopt convert MODEL --recipe convert.toml --calibration DATA\n\n# convert.toml\n{table}"


def _said(value: object) -> str:
    return "" if value is None else str(value)


def sensitivity_section(found: Sequence[Sensitivity]) -> Section | None:
    """Return where the accuracy goes, operator by operator."""
    blocks: list[Block] = []
    for held in found:
        rows = []
        for item in held.get("operators", [])[:_MOST_ROWS]:
            share = item.get("noise_share", 0.0)
            db = item.get("only_int8_db")
            rows.append(
                (
                    Cell(item.get("layer") or "–"),
                    Cell(item.get("op", "")),
                    Cell(percent(share), share=min(1.0, max(0.0, share))),
                    Cell("–" if db is None else f"{db:.1f} dB"),
                    Cell(percent(item.get("macs_share"))),
                    Cell(item.get("remedy", "") or "–", item.get("advice", "")),
                )
            )
        columns = ("layer", "operator", "share of the noise", "outputs, only it int8", "share of the MACs", "remedy")
        note = f"{held.get('snr_db', 0.0):.1f} dB of signal to noise in all, on {held.get('samples', 0)} samples."
        blocks.append(table("What each operator costs as int8", columns, rows, note))
    return Section("Where the accuracy goes", tuple(blocks)) if blocks else None
