"""`edgeopt.artifact.snippet`: what is printed for the board runs as it is, and gives what the interpreter gives."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import edgeopt
from edgeopt.artifact.snippet import inference_snippet

X = np.random.default_rng(0).uniform(-1, 1, size=(20, 6, 4)).astype(np.float32)


def two_ends(keras):
    """Two inputs, one of them called as a Python word; two outputs, one called as an input."""
    image, ids = keras.Input((6, 4), name="class"), keras.Input((3,), name="ids", dtype="int32")
    flat = keras.layers.Flatten()(image)
    words = keras.layers.Flatten()(keras.layers.Embedding(9, 2)(ids))
    both = keras.layers.Concatenate()([flat, words])
    return keras.Model(
        [image, ids], [keras.layers.Dense(3, name="ids_")(both), keras.layers.Dense(2, name="2nd")(flat)]
    )


@pytest.mark.parametrize("types", [{}, {"input_type": "uint8", "output_type": "float32"}])
def test_the_snippet_gives_what_the_interpreter_gives(tmp_path, running, types):
    import keras

    ids = np.random.default_rng(1).integers(0, 9, size=(20, 3)).astype(np.int32)
    data = {"class": X, "ids": ids}
    artifact = edgeopt.convert(
        two_ends(keras), calibration=data, calibration_samples=20, preprocess="scaled to\n-1..1", isolate=False, **types
    )
    artifact.save(tmp_path / "m.tflite")
    np.savez(tmp_path / "inputs.npz", **{"x_class": X[:1], "ids": ids[:1]})
    text = inference_snippet("m.tflite", artifact.sidecar)
    assert "# prepared so: scaled to -1..1" in text
    # The one thing that its user changes: the values.
    text, count = re.subn(r"^(\w+) = np\.zeros\(.*$", r"\1 = np.load('inputs.npz')['\1']", text, flags=re.M)
    assert count == 2
    text += "np.savez('outputs.npz', ids_out, x_2nd)\n"
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout
    expected = running(artifact.model).real({"class": X[:1], "ids": ids[:1]})
    with np.load(tmp_path / "outputs.npz") as found:
        for index, value in enumerate(expected):
            assert found[f"arr_{index}"].dtype == np.float32
            np.testing.assert_array_equal(found[f"arr_{index}"], value)


def sidecar(**changes):
    item = {"name": "x", "dtype": "int8", "shape": [1, 4], "scale": 0.5, "zero_point": 3}
    return {"inputs": [item], "outputs": [{**item, "name": "y"}], **changes}


def test_a_delegate_is_loaded_for_the_compiled_file():
    text = inference_snippet("m_edgetpu.tflite", sidecar(), delegate="libedgetpu.so.1")
    compile(text, "snippet", "exec")
    assert text.count("import Interpreter, load_delegate") == 2  # of either runtime
    made = "Interpreter('m_edgetpu.tflite', experimental_delegates=[load_delegate('libedgetpu.so.1')])"
    assert f"interpreter = {made}" in text
    assert "delegate" not in inference_snippet("m.tflite", sidecar())


def helper():
    """The snippet's own `quantize`."""
    text = inference_snippet("m.tflite", sidecar())
    names: dict = {"np": np}
    exec(text[text.index("def quantize") : text.index("interpreter = ")], names)
    return names["quantize"]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_its_rounding_is_that_of_the_shared_arithmetic(dtype):
    from edgeopt.devices.agent.arith import quantize

    halves = np.arange(-300, 300, dtype=np.float32) / 4  # halves, quarters and what saturates
    real = np.concatenate([halves, np.float32([0.49999997, -0.49999997, 1e9, -1e9])])
    np.testing.assert_array_equal(helper()(real, 1.0, 7, dtype), quantize(real, 1.0, 7, dtype))
    naive = np.clip(np.round(real) + 7, np.iinfo(dtype).min, np.iinfo(dtype).max)  # halves to even
    assert not np.array_equal(naive, quantize(real, 1.0, 7, dtype))


def test_a_float_file_needs_no_helper():
    item = {"name": "x", "dtype": "float32", "shape": [-1, 4], "scale": None, "zero_point": None}
    text = inference_snippet("m.tflite", {"inputs": [item], "outputs": [{**item, "name": "x"}]})
    assert "quantize" not in text
    assert "x = np.zeros((1, 4), np.float32)" in text
    assert "x_out = interpreter.get_tensor(outputs[0]['index'])" in text
    compile(text, "snippet", "exec")


def test_a_file_that_keeps_state_is_reset():
    assert "interpreter.reset_all_variables()  # before each new sequence" in inference_snippet(
        "m", sidecar(stateful=True)
    )
    assert "reset" not in inference_snippet("m", sidecar())


@pytest.mark.parametrize("name", ["serving_default/x:0", "1", "für", "np", "lambda", "", "inputs", "quantize", "a\nb"])
def test_any_name_becomes_valid_python(name):
    item = {"name": name, "dtype": "int8", "shape": [1], "scale": 0.5, "zero_point": 0}
    compile(inference_snippet("m.tflite", {"inputs": [item, item], "outputs": [item]}), "snippet", "exec")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_becomes_what_the_calibration_was_made_of(tmp_path, channels):
    from PIL import Image

    from edgeopt.data.dataset import load_dataset

    picture = np.random.default_rng(0).integers(0, 256, (19, 23, channels)).astype(np.uint8)
    Image.fromarray(picture.squeeze()).save(tmp_path / "a.png")
    images = {"size": [8, 12], "resize": "bilinear", "scaling": "-1..1"}
    item = {"name": "x", "dtype": "float32", "shape": [1, 8, 12, channels], "scale": None, "zero_point": None}
    text = inference_snippet("m.tflite", {"inputs": [item], "outputs": [item], "images": images})
    compile(text, "snippet", "exec")
    (line,) = re.findall(r"^# (x = resize\(.*)$", text, flags=re.M)
    names: dict = {"np": np, "Image": Image, "FILE": tmp_path / "a.png"}
    exec(text[text.index("def resize") : text.index("interpreter = ")] + line, names)
    expected = load_dataset(tmp_path, image_size=(8, 12), image_scaling="-1..1").arrays[0]
    # A rounding or two of values up to 1, in another order.
    np.testing.assert_allclose(names["x"], expected, atol=4 * 2.0**-24, rtol=0)


def test_another_resizing_is_named_and_not_written_out():
    images = {"size": [8, 12], "resize": "area", "scaling": "0..1"}
    text = inference_snippet("m.tflite", sidecar(images=images, preprocess="images resized by area"))
    assert "def resize" not in text
    assert "# prepared so: images resized by area" in text


WHOLE = """\
interpreter = Interpreter('m.tflite')
interpreter.allocate_tensors()
inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

# prepared so: a b
x = np.zeros((1, 4), np.float32)  # put your values here: 'x', as in training
ids = np.zeros((1, 2), np.int32)  # put your values here: 'ids', as in training
interpreter.reset_all_variables()  # before each new sequence
interpreter.set_tensor(inputs[0]['index'], quantize(x, 0.5, 3, np.int8))
interpreter.set_tensor(inputs[1]['index'], ids)
interpreter.invoke()
y = np.float32(0.5) * (interpreter.get_tensor(outputs[0]['index']).astype(np.float32) - 3)  # 'y'
x_out = interpreter.get_tensor(outputs[1]['index'])  # 'x'
print(y, x_out)
"""


def test_each_input_is_stored_and_each_output_made_real_in_its_own_way():
    ids = {"name": "ids", "dtype": "int32", "shape": [-1, 2], "scale": None, "zero_point": None}
    plain = {"name": "x", "dtype": "float32", "shape": [1, 2], "scale": None, "zero_point": None}
    found = sidecar(preprocess=" a\n b", stateful=True)
    found["inputs"].append(ids)
    found["outputs"].append(plain)
    text = inference_snippet("m.tflite", found)
    assert text.endswith("\n\n\n" + WHOLE) and text.startswith("import numpy as np\n\ntry:\n    from ai_edge_litert")
    assert text.count("def ") == 1
    assert inference_snippet("m.tflite", {"inputs": [plain], "outputs": [ids]}).count("def ") == 0


@pytest.mark.parametrize(
    ("channels", "scaling", "expected"),
    [
        (1, "0..255", "# x = resize(np.asarray(Image.open(FILE).convert('L'))[..., np.newaxis], 8, 12)[np.newaxis]"),
        (3, "-1..1", "# x = resize(np.asarray(Image.open(FILE).convert('RGB')), 8, 12)[np.newaxis] * 0.00784"),
        (3, "0..1", "# x = resize(np.asarray(Image.open(FILE).convert('RGB')), 8, 12)[np.newaxis] * 0.00392"),
    ],
)
def test_a_picture_is_scaled_only_where_the_calibration_was(channels, scaling, expected):
    item = {"name": "x", "dtype": "float32", "shape": [1, 8, 12, channels], "scale": None, "zero_point": None}
    images = {"size": [8, 12], "resize": "bilinear", "scaling": scaling}
    text = inference_snippet("m.tflite", {"inputs": [item], "outputs": [item], "images": images})
    (line,) = [line for line in text.splitlines() if line.startswith("# x = ")]
    assert line.startswith(expected) and line.endswith("  # Image is that of PIL")
    assert (" * " in line) is (scaling != "0..255") and (" + -1.0" in line) is (scaling == "-1..1")
    several = {"inputs": [item, item], "outputs": [item], "images": images}
    assert "resize" not in inference_snippet("m.tflite", several), "which of them is the picture?"


def test_names_are_made_words_and_kept_apart():
    names = ["a/b:0", "2nd", "class", "__", "np", "a/b:0", "a/b:0"]
    item = {"dtype": "int32", "shape": [1], "scale": None, "zero_point": None}
    text = inference_snippet("m", {"inputs": [{**item, "name": name} for name in names], "outputs": []})
    found = re.findall(r"^(\w+) = np.zeros", text, flags=re.M)
    assert found == ["a_b_0", "x_2nd", "x_class", "value", "np_out", "a_b_0_out", "a_b_0_out_out"]
