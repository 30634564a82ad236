"""External delegates: device strings, and what is said when one does not load."""

from __future__ import annotations

import pytest

from edgeopt.devices.agent.delegate import check_runtime, parse, refusal, runtime_version, unresolved
from edgeopt.devices.agent.protocol import AgentError
from edgeopt.errors import DeviceError, ModelError

LIBRARY = "libedgetpu.so.1"
USB = {"path": "/dev/bus/usb/002/003", "speed_mbps": 5000.0, "permitted": True}
PCI = {"path": "/dev/apex_0", "permitted": True, "temperature_c": 41.5}


@pytest.mark.parametrize(
    ("text", "library", "options", "is_edge_tpu"),
    [
        ("edgetpu", LIBRARY, {}, True),
        ("edgetpu:usb", LIBRARY, {"device": "usb"}, True),
        ("edgetpu:usb:0", LIBRARY, {"device": "usb:0"}, True),
        ("edgetpu::1", LIBRARY, {"device": ":1"}, True),
        ("usb", LIBRARY, {"device": "usb"}, True),
        ("pci:1", LIBRARY, {"device": "pci:1"}, True),
        (":1", LIBRARY, {"device": ":1"}, True),
        ("/opt/libmine.so", "/opt/libmine.so", {}, False),
        ("/usr/lib/libedgetpu.so.1.0", "/usr/lib/libedgetpu.so.1.0", {}, True),
        ("usb.so", "usb.so", {}, False),
    ],
)
def test_devices_are_named_as_by_pycoral(text, library, options, is_edge_tpu):
    assert parse(text) == (library, options, is_edge_tpu)


def test_a_device_that_is_none_is_refused():
    with pytest.raises(AgentError, match="'edgetpu:usv' names no Edge TPU; expected edgetpu:usb"):
        parse("edgetpu:usv")


@pytest.mark.parametrize(
    ("text", "usb", "pci", "message", "remedy"),
    [
        ("edgetpu", [], [], "no Edge TPU was found on USB", "plug it in"),
        ("usb", [], [PCI], "no Edge TPU was found on USB", "plug it in"),
        ("pci", [USB], [], "no Edge TPU was found on PCIe", "driver"),
        ("edgetpu", [{**USB, "permitted": False}], [], "may not open the Edge TPU at /dev/bus/usb/002/003", "plugdev"),
        ("edgetpu", [], [{**PCI, "permitted": False}], "may not open the Edge TPU at /dev/apex_0", "apex for PCIe"),
        ("usb:1", [USB], [], "device 'usb:1' was asked for, but 1 are here", "name one of them"),
        ("edgetpu", [USB], [], r"refused the Edge TPU at /dev/bus/usb/002/003 (without a reason)", "other programs"),
        ("/opt/mine.so", [USB], [], "the delegate /opt/mine.so refused (no)", "documentation"),
    ],
)
def test_a_refusal_is_explained_by_what_is_on_the_board(text, usb, pci, message, remedy):
    said = "no" if text.startswith("/") else ""
    why, what = refusal(parse(text), said, {"library": LIBRARY, "usb": usb, "pci": pci})
    assert message in why
    assert remedy in what


def test_one_chip_that_may_be_opened_is_enough():
    why, _ = refusal(parse("edgetpu"), "", {"library": LIBRARY, "usb": [{**USB, "permitted": False}], "pci": [PCI]})
    assert "may not open" not in why


def test_an_old_runtime_is_told_apart():
    with pytest.raises(
        AgentError, match="runtime here is version 13, but the model was compiled for 14 or newer"
    ) as caught:
        check_runtime(13, 14)
    assert caught.value.details["remedy"] == "update libedgetpu1-std, or compile with --min-runtime 13"
    for found, needed in ((14, 14), (14, 12), (None, 14), (12, None)):
        check_runtime(found, needed)


def test_the_version_is_read_from_the_library_where_it_states_one():
    class Function:
        restype = None

        def __call__(self) -> bytes:
            return b"BuildLabel(COMPILER=6.3.0,DATE=redacted,TIME=redacted), RuntimeVersion(14)"

    class Library:
        edgetpu_version = Function()

    assert runtime_version(Library()) == 14
    assert runtime_version(object()) is None


def test_compiled_models_are_recognised_by_their_operator():
    text = "Encountered unresolved custom op: edgetpu-custom-op."
    error = unresolved(text)
    assert error is not None
    assert (error.kind, error.details["remedy"]) == (
        *("unsupported", "pass the delegate edgetpu, or run the file that it was compiled from"),
    )
    assert "Ethos-U" in unresolved("Encountered unresolved custom op: ethos-u.").message
    assert unresolved("Encountered unresolved custom op: Mine.") is None


# ------------------------------------------------------------------------------------- the real runtime, the real agent


def test_an_absent_libedgetpu_is_named_with_its_package(device, quick, shared_data):
    from dataclasses import replace

    model = (shared_data / "coral" / "split_concat_edgetpu.tflite").read_bytes()
    options = replace(quick, delegate="edgetpu")
    with pytest.raises(
        DeviceError, match=r"library libedgetpu.so.1 cannot be opened .*install libedgetpu1-std"
    ) as caught:
        device.measure(model, None, options)
    assert caught.value.exit_code == 5


def test_a_library_that_is_no_delegate_is_named(device, quick, shared_data):
    from dataclasses import replace

    model = (shared_data / "coral" / "split_concat.tflite").read_bytes()
    with pytest.raises(DeviceError, match=r"library libm.so.6 is no TFLite delegate \(it lacks tflite_plugin_create"):
        device.measure(model, None, replace(quick, delegate="libm.so.6"))


def test_a_compiled_model_without_the_delegate_says_so(device, quick, shared_data):
    model = (shared_data / "coral" / "split_concat_edgetpu.tflite").read_bytes()
    with pytest.raises(
        ModelError, match=r"compiled for the Edge TPU, and was run without it .*; pass the delegate edgetpu"
    ):
        device.measure(model, None, quick)
