"""Small kernels over rows of floats, which the loops of `compiled` are made of; needs numba."""

from math import exp, sqrt

import numpy as np

from worker.engine.sambert.layers import NORM_EPS
from worker.engine.sambert.loops import Array
from worker.engine.sambert.tiles import Rows, address, compiled, multiply

_EPS = np.float32(NORM_EPS)


@compiled
def affine(weight: Array, bias: Array, x: Array, out: Array) -> None:
    """out[b] = weight @ x[b] + bias, for packed weights; `out` holds whole panels a row."""
    to = Rows(address(out), out.strides[0], 0)
    multiply(x.shape[0], Rows(address(x), x.strides[0], 0), weight, bias, to)


@compiled
def copy(source: Array, target: Array) -> None:
    """One row; slice assignment would compile numba's whole string formatting for its errors."""
    for j in range(source.shape[0]):
        target[j] = source[j]


@compiled
def relu(x: Array) -> None:
    for b in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[b, j] = max(x[b, j], np.float32(0))


@compiled
def add(x: Array, y: Array) -> None:
    for b in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[b, j] += y[b, j]


@compiled
def normalise(x: Array, out: Array) -> None:
    """Each row with mean 0 and variance 1; scale and bias are folded into what follows."""
    width = x.shape[1]
    for b in range(x.shape[0]):
        total = np.float32(0)
        for j in range(width):
            total += x[b, j]
        mean = total / np.float32(width)
        squares = np.float32(0)
        for j in range(width):
            squares += (x[b, j] - mean) * (x[b, j] - mean)
        scale = np.float32(1) / np.float32(sqrt(squares / np.float32(width) + _EPS))
        for j in range(width):
            out[b, j] = (x[b, j] - mean) * scale


@compiled
def find_tops(scores: Array, edge: Array) -> None:
    """The largest of each column of scores [window, heads] into `edge` [heads]."""
    copy(scores[0], edge)
    for i in range(1, scores.shape[0]):
        for h in range(scores.shape[1]):
            edge[h] = max(edge[h], scores[i, h])


@compiled
def soften(scores: Array, edge: Array) -> None:
    """Softmax down each column of scores [window, heads]; `edge` [heads] is scratch."""
    n, n_heads = scores.shape
    find_tops(scores, edge)
    for i in range(n):
        for h in range(n_heads):
            scores[i, h] = np.float32(exp(scores[i, h] - edge[h]))
    for h in range(n_heads):
        edge[h] = np.float32(0)
    for i in range(n):
        for h in range(n_heads):
            edge[h] += scores[i, h]
    for i in range(n):
        for h in range(n_heads):
            scores[i, h] /= edge[h]


@compiled
def attend(query: Array, rows: Array, first: int, last: int, scratch: Array, out: Array) -> None:
    """Mix the values of rows `first`..`last` by how well their keys fit `query`.

    `rows` [slots, 2D] holds keys then values and is a ring: row i lies in slot i % slots. Channels
    of the heads alternate, so that one vector operation serves all heads. `scratch` is
    [window + 1, heads].
    """
    width, slots, n_heads = out.shape[0], rows.shape[0], scratch.shape[1]
    n = last - first + 1
    scores = scratch[:n]
    for i in range(n):
        row = rows[(first + i) % slots]
        for h in range(n_heads):
            scores[i, h] = np.float32(0)
        for at in range(0, width, n_heads):
            for h in range(n_heads):
                scores[i, h] += query[at + h] * row[at + h]
    soften(scores, scratch[n])
    for j in range(width):
        out[j] = np.float32(0)
    for i in range(n):
        row = rows[(first + i) % slots]
        for at in range(0, width, n_heads):
            for h in range(n_heads):
                out[at + h] += scores[i, h] * row[width + at + h]
