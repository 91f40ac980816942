"""Products with weights of 24 bits: as near the true ones as float32 weights are."""

import numpy as np
import pytest

from tests.reference import worst
from worker.engine.sambert.kernels import affine
from worker.engine.sambert.slim import OUTPUTS, Slim, beside, multiply_one, slim
from worker.engine.sambert.tiles import pack


def rounded(n: int) -> int:
    return -(-n // OUTPUTS) * OUTPUTS


@pytest.mark.parametrize(("n_out", "n_in"), [(1, 1), (64, 5), (100, 128), (256, 33)])
def test_a_product_errs_no_more_than_one_of_float32(n_out: int, n_in: int) -> None:
    random = np.random.default_rng(n_out)
    matrices = random.standard_normal((2, n_out, n_in)).astype(np.float32)
    x = random.standard_normal((1, n_in)).astype(np.float32)
    start = random.standard_normal(rounded(n_out)).astype(np.float32)
    [both] = beside([slim(matrices)])
    for layer, matrix in enumerate(matrices):
        true = matrix.astype(np.float64) @ x[0] + start[:n_out]
        out = np.full(rounded(n_out), np.nan, dtype=np.float32)
        multiply_one(x[0], Slim(both.records[layer], both.scale[layer]), start, out)
        plain = np.zeros((1, rounded(n_out)), dtype=np.float32)
        affine(pack(matrix.T[None]), start, x, plain)
        # Both round sums of n_in terms; half a float32 step of the largest weight comes on top.
        room = 2**-24 * np.abs(matrix).max() * np.abs(x).sum() + 1e-6
        assert worst(out[:n_out], true) <= worst(plain[0, :n_out], true) + room
        assert (out[n_out:] == start[n_out:]).all()


def test_weights_of_every_size_and_none_keep_their_place() -> None:
    """Rows of zeros, of one sign, and of magnitudes far apart, each output with its own scale."""
    matrix = np.zeros((64, 4), dtype=np.float32)
    matrix[1], matrix[2], matrix[3] = 1e-20, -1e20, [1, -1, 2**-20, 0]
    matrix[40], matrix[63] = [3, 5, 7, 11], [-3, -5, -7, -11]
    [kept] = beside([slim(matrix[None])])
    for column in range(4):
        out = np.empty(64, dtype=np.float32)
        x = np.eye(4, dtype=np.float32)[column]
        multiply_one(x, Slim(kept.records[0], kept.scale[0]), np.zeros(64, dtype=np.float32), out)
        # Rounded to an integer, the integer to a float, and the float scaled.
        room = 3 * 2**-24 * np.abs(matrix).max(axis=1).astype(np.float64)
        assert (np.abs(out - matrix[:, column].astype(np.float64)) <= room).all()
