"""Vela's summary CSV and its reasons, as it wrote them."""

from __future__ import annotations

import pytest

from edgeopt.converters.ethosu.summary import read_reasons, read_summary
from edgeopt.errors import CompilerError

CSV = (
    "experiment,network,system_config,memory_mode,core_clock,inferences_per_second,inference_time,sram_memory_used,"
    "dram_memory_used,on_chip_flash_memory_used,off_chip_flash_memory_used,nn_macs,cycles_npu,cycles_total\n"
    "default,kws,Ethos_U55_High_End_Embedded,Shared_Sram,500000000.0,5561.735261401557,0.0001798,21.671875,0.0,0.0,"
    "30.375,2664792,88902,89900\n"
)


def test_the_figures_carry_their_units():
    found = read_summary(CSV)
    # 21.671875 KiB and 30.375 KiB, as bytes; 0.0001798 s, as milliseconds.
    assert (found["sram_bytes"], found["off_chip_flash_bytes"]) == (22_192, 31_104)
    assert found["inference_ms"] == pytest.approx(0.1798)
    assert (found["estimated_cycles"], found["npu_cycles"], found["macs"]) == (89_900, 88_902, 2_664_792)
    assert found["inferences_per_second"] == pytest.approx(500_000_000 / 89_900)
    assert found["memory_mode"] == "Shared_Sram"


@pytest.mark.parametrize(
    "text", ["", "experiment,network\n", CSV.replace("21.671875", "many"), CSV.replace("cycles_total", "c")]
)
def test_another_form_is_refused(text):
    with pytest.raises(CompilerError, match=r"Vela's summary has no usable .*install ethos-u-vela 5.2"):
        read_summary(text)


def test_reasons_go_by_the_tensor_that_is_written():
    log = (
        "Warning (supported operators) operator: RESIZE_BILINEAR, ofm: 'ResizeBilinear_1'\n"
        "Reason: Scaling matches and operation has unsupported scale-factor=16\n"
        "IF not (IFM H == IFM W == 1) AND not IFM Shape == OFM Shape:\n\n"
        "Warning (supported operators) operator: CUSTOM, ofm: 'poses'\nReason: Unsupported opType\n"
    )
    assert read_reasons(log) == {
        "ResizeBilinear_1": "Scaling matches and operation has unsupported scale-factor=16",
        "poses": "Unsupported opType",
    }
    assert read_reasons("Network summary") == {}


@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "x" * 200_000])
def test_a_figure_that_is_none_is_refused(value):
    with pytest.raises(CompilerError, match="Vela's summary has no usable"):
        read_summary(CSV.replace("21.671875", value))


def test_of_a_model_that_is_not_mapped_there_is_no_time():
    """Vela writes nan, which no JSON holds."""
    found = read_summary(CSV.replace("5561.735261401557", "nan"))
    assert found["inferences_per_second"] is None
