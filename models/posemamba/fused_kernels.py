"""Triton kernels for what lies between matrix products and scans: sums, norms, gates.

Each does in one pass over the tokens what takes PyTorch three to six. Tokens are rows of
WIDTH channels, all tensors dense; arithmetic is float32, whatever is stored.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

import triton
import triton.language as tl

_SIZES = ("rows", "frames", "stride")
"""Windows of another length shall not need kernels of their own."""


@triton.jit
def _layer_norm(x, weight, bias, channel, inside, EPS: tl.constexpr, WIDTH: tl.constexpr):
    """Layer norm of rows (ROWS, PADDED) whose padding is zero."""
    mean = tl.sum(x, 1) / WIDTH
    centred = tl.where(inside, x - mean[:, None], 0.0)
    variance = tl.sum(centred * centred, 1) / WIDTH
    scaled = centred / tl.sqrt(variance + EPS)[:, None]
    w = tl.load(weight + channel, mask=channel < WIDTH, other=0.0)
    b = tl.load(bias + channel, mask=channel < WIDTH, other=0.0)
    return scaled * w[None, :] + b[None, :]


@triton.jit(do_not_specialize=_SIZES)
def add_norm(
    x,
    delta,
    delta_bias,
    shared_weight,
    shared_bias,
    position,
    weight,
    bias,
    total,
    normed,
    rows,
    frames,
    ADD: tl.constexpr,
    BIAS: tl.constexpr,
    SHARED: tl.constexpr,
    POSITION: tl.constexpr,
    NEXT: tl.constexpr,
    SHARED_EPS: tl.constexpr,
    EPS: tl.constexpr,
    JOINTS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
):
    """total = x (+ delta) (+ its bias) (then the shared norm) (+ the frame's position);
    normed = the norm of total.

    Grid (rows / ROWS). x, total float32 (rows, WIDTH); position (frames, WIDTH). What a flag
    switches off is neither read nor written.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, PADDED)
    inside = (row < rows)[:, None] & (channel < WIDTH)[None, :]
    at = row.to(tl.int64)[:, None] * WIDTH + channel[None, :]
    value = tl.load(x + at, mask=inside, other=0.0)
    if ADD:
        value += tl.load(delta + at, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        value += tl.load(delta_bias + channel, mask=channel < WIDTH, other=0.0)[None, :]
    if SHARED:
        value = _layer_norm(value, shared_weight, shared_bias, channel, inside, SHARED_EPS, WIDTH)
    if POSITION:
        frame = row // JOINTS % frames
        here = position + frame[:, None] * WIDTH + channel[None, :]
        value += tl.load(here, mask=inside, other=0.0)
    tl.store(total + at, value, mask=inside)
    if NEXT:
        value = _layer_norm(value, weight, bias, channel, inside, EPS, WIDTH)
        tl.store(normed + at, value, mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def merge_gate(
    directions,
    gate,
    weight,
    bias,
    out,
    rows,
    stride,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Norm of the sum of the four scans, times SiLU of the gate.

    Grid (rows / ROWS). directions float32 (4, rows, WIDTH); rows of gate are `stride` apart.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, PADDED)
    inside = (row < rows)[:, None] & (channel < WIDTH)[None, :]
    at = row.to(tl.int64)[:, None] * WIDTH + channel[None, :]
    value = tl.zeros((ROWS, PADDED), tl.float32)
    for _k in tl.static_range(4):
        value += tl.load(directions + at, mask=inside, other=0.0)
        directions += rows.to(tl.int64) * WIDTH
    value = _layer_norm(value, weight, bias, channel, inside, EPS, WIDTH)
    at_gate = row.to(tl.int64)[:, None] * stride + channel[None, :]
    g = tl.load(gate + at_gate, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, value * g * tl.sigmoid(g), mask=inside)
