"""The digits dataset: shapes, values, and the fixed split, with and without NumPy."""

from collections import Counter

import numpy as np
import pytest

from tensorbrook.keras import data_conversion
from tensorbrook.keras.datasets import digits


@pytest.fixture(scope="module")
def data():
    return digits.load_data()


def test_shapes_types_and_range(data):
    for (images, labels), n in zip(data, (1437, 360)):
        assert (images.shape, images.dtype) == ((n, 8, 8, 1), np.float32)
        assert (labels.shape, labels.dtype) == ((n,), np.int32)
        assert (images.min(), images.max()) == (0, 1)


def test_the_test_split_has_36_images_of_each_digit(data):
    (_, y_train), (_, y_test) = data
    assert Counter(y_test.tolist()) == dict.fromkeys(range(10), 36)
    assert set(y_train.tolist()) == set(range(10))


def test_no_image_is_in_both_splits(data):
    (x_train, _), (x_test, _) = data
    assert not {x.tobytes() for x in x_train} & {x.tobytes() for x in x_test}


def test_without_numpy_the_data_are_tensors(data, monkeypatch):
    monkeypatch.setattr(data_conversion, "HAS_NUMPY", False)
    (images, labels), _ = digits.load_data()
    assert tuple(images.shape) == (1437, 8, 8, 1)
    np.testing.assert_array_equal(np.asarray(images), data[0][0])
    np.testing.assert_array_equal(np.asarray(labels), data[0][1])
