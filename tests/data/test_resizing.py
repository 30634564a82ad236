"""`edgeopt.data.resizing`: NumPy gives what TensorFlow's kernels give."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.data.resizing import resize
from edgeopt.recipes.convert import IMAGE_RESIZES

# One unit in the last place of float32 at 255 is 2**-16, and a bilinear interpolation rounds a handful of times (or less,
# where TensorFlow fuses a product and a sum). In the others, weights also carry the rounding of the place that they are
# computed from, 2**-18 at places up to 90: of kernels, their slope (up to 1.3) and 6 taps multiply it, 6 * 1.3 * 255 *
# 2**-18 = 0.008; of areas, the extent of an output pixel (0.05 of an input pixel and more) divides it, twice: 0.04.
ROUNDING = 2.0**-16
TOLERANCE = {
    "bilinear": 8 * ROUNDING,
    "crop": 8 * ROUNDING,
    "letterbox": 8 * ROUNDING,
    "nearest": 0.0,
    "bicubic": 32 * ROUNDING,
    "bilinear-antialias": 0.008,
    "lanczos": 0.008,
    "area": 0.04,
}
SIZES = [(40, 56), (90, 61), (17, 23), (64, 64), (1, 5), (37, 32)]


def by_tensorflow(image, size, method):
    import tensorflow as tf
    from keras.src.backend import tensorflow as backend
    from keras.src.utils.image_utils import smart_resize

    if method == "crop":
        return np.asarray(smart_resize(tf.constant(image), size, interpolation="bilinear", backend_module=backend))
    if method == "letterbox":
        return tf.image.resize_with_pad(image, *size).numpy()
    name, antialias = method.removesuffix("-antialias"), method.endswith("-antialias")
    return tf.image.resize(image, size, method="lanczos3" if name == "lanczos" else name, antialias=antialias).numpy()


@pytest.mark.parametrize("method", IMAGE_RESIZES)
@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("size", [(32, 32), (64, 48), (7, 100)])
def test_numpy_gives_what_tensorflow_gives(method, own, size):
    image = np.random.default_rng(0).integers(0, 256, (*own, 3)).astype(np.uint8)
    ours, theirs = resize(image, size, method), by_tensorflow(image, size, method)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE[method], rtol=0)


@pytest.mark.parametrize("method", sorted(set(IMAGE_RESIZES) - {"bilinear"}))
def test_the_methods_differ_so_that_one_taken_for_another_is_seen(method):
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    assert np.abs(resize(image, (20, 20), method) - resize(image, (20, 20), "bilinear")).max() > 1


@pytest.mark.parametrize("method", IMAGE_RESIZES)
def test_a_picture_of_the_right_size_stays_what_it_is(method):
    image = np.random.default_rng(0).integers(0, 256, (9, 5, 1)).astype(np.uint8)
    assert resize(image, (9, 5), method) is image
