"""Triton kernels of the four-directional scan and of the convolution before it.

The scan is chunked, because one sequence of 4,131 tokens is too little work in a row for a
GPU and too much of it. A chunk is CHUNK steps in the order of one direction; since A is
diagonal, all that a chunk does to the state is h -> exp(A * sum of dt) h + end:

1. `chunk_states`: every chunk by itself, its `end` and its sum of dt;
2. `carry`: the states before all chunks, a scan over the chunks;
3. `chunk_outputs`: every chunk from its state; y of each direction, in place on the grid.

The gradient goes the same way backwards (`chunk_pulls`, `carry`, `chunk_gradients`) and
recomputes the states inside a chunk from the state before it. Programs never add to one
another's output, so results do not depend on the order in which they run: each direction
writes its own y, and each block of channels its own gradient of the projections.

Layout: values (B, L, D) with token = frame * JOINTS + joint; projections (B, 4 * E, L), so
that neighbouring tokens of one row are neighbours in memory; E = RANK + 2 * STATES rows per
direction: dt, B, C. The directions are index arithmetic (`_tokens`), limb partners a second
load. A program's tile is CHUNK steps x BLOCK channels with one channel per thread, which
makes scans and sums over the steps register arithmetic.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

import math

import triton
import triton.language as tl

LOG2E = tl.constexpr(math.log2(math.e))
_SIZES = ("frames", "chunks", "batch", "channels", "stride")
"""Windows of another length shall not need kernels of their own."""


@triton.jit
def increment(x):
    """Adds one to a number: shows that Triton works here."""
    tl.store(x, tl.load(x) + 1.0)


@triton.jit
def _channels(block, BLOCK: tl.constexpr):
    """Channels of a program, of which the compiler shall not know that they are aligned: it
    would give each thread four of them and spread the steps over the lanes of the warp."""
    return tl.multiple_of(block * BLOCK + tl.arange(0, BLOCK), 1)


@triton.jit
def _recurrence(decay_a, value_a, decay_b, value_b):
    """Step a, then step b, as one step."""
    return decay_a * decay_b, decay_b * value_a + value_b


@triton.jit
def _softplus(x):
    e = tl.exp(-tl.abs(x))
    # log(1 + e) loses the low bits of a small e; (1 + e) - 1 says how much of it is left.
    one_e = 1.0 + e
    log1p = tl.where(one_e == 1.0, e, tl.log(one_e) * (e / tl.maximum(one_e - 1.0, 1e-30)))
    return tl.maximum(x, 0.0) + log1p


@triton.jit
def _tokens(
    partner,
    chunk,
    k,
    shift: tl.constexpr,
    frames,
    CAUSAL: tl.constexpr,
    JOINTS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Tokens of a chunk's steps, each moved on by `shift`, in the order of direction k.

    Returns tokens, their limb partners, whether the steps exist in this chunk, and whether
    the partners count: they do in directions 0 and 2.
    """
    length = frames * JOINTS
    joint_major = k % 2 == 1
    segment = length
    if CAUSAL:  # each joint is a sequence of its own
        segment = tl.where(joint_major, frames, length)
    per_segment = (segment + CHUNK - 1) // CHUNK
    first = chunk // per_segment * segment
    step = tl.arange(0, CHUNK) + shift
    within = chunk % per_segment * CHUNK + step
    position = first + within
    exists = (within < segment) & (step < CHUNK) & (position < length)
    # Compared as a vector: a scalar condition would lose its type in Triton's interpreter.
    limb = exists & (tl.zeros_like(position) + k % 2 == 0)
    position = tl.minimum(position, length - 1)
    if not CAUSAL:
        position = tl.where(k >= 2, length - 1 - position, position)
    frame = tl.where(joint_major, position % frames, position // JOINTS)
    joint = tl.where(joint_major, position // frames, position % JOINTS)
    if CAUSAL:
        joint = tl.where(k == 2, JOINTS - 1 - joint, joint)
    return frame * JOINTS + joint, frame * JOINTS + tl.load(partner + joint), exists, limb


@triton.jit
def _tile(u, token, partner_token, exists, limb, channel, CHANNELS: tl.constexpr):
    """Values of CHUNK steps x BLOCK channels; of joint plus partner in limb directions."""
    own = u + token[:, None] * CHANNELS + channel[None, :]
    other = u + partner_token[:, None] * CHANNELS + channel[None, :]
    x = tl.load(own, mask=exists[:, None], other=0.0).to(tl.float32)
    return x + tl.load(other, mask=limb[:, None], other=0.0).to(tl.float32)


@triton.jit
def _row(p, token, partner_token, exists, limb):
    """One row of the projections at CHUNK steps."""
    own = tl.load(p + token, mask=exists, other=0.0).to(tl.float32)
    return own + tl.load(p + partner_token, mask=limb, other=0.0).to(tl.float32)


@triton.jit
def _raw_step_size(
    p,
    token,
    partner_token,
    exists,
    limb,
    dt_weight,
    dt_bias,
    row,
    length,
    RANK: tl.constexpr,
):
    """dt before softplus, CHUNK x BLOCK. `row` = k * D + channel, of the parameters."""
    bias = tl.load(dt_bias + row).to(tl.float32)
    raw = tl.zeros((token.shape[0], row.shape[0]), tl.float32) + bias[None, :]
    for r in tl.static_range(RANK):
        low = _row(p + r * length, token, partner_token, exists, limb)
        raw += tl.load(dt_weight + row * RANK + r).to(tl.float32)[None, :] * low[:, None]
    return raw


@triton.jit
def _rate(a_logs, row, n, STATES: tl.constexpr):
    """A * log2(e) of state n."""
    return -tl.exp(tl.load(a_logs + row * STATES + n).to(tl.float32)) * LOG2E


@triton.jit(do_not_specialize=_SIZES)
def chunk_states(
    u,
    p,
    dt_weight,
    dt_bias,
    a_logs,
    partner,
    ends,
    totals,
    frames,
    chunks,
    CAUSAL: tl.constexpr,
    INTEGER: tl.constexpr,
    CHANNELS: tl.constexpr,
    RANK: tl.constexpr,
    STATES: tl.constexpr,
    JOINTS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """State after each chunk that started from zero, and its sum of dt.

    Grid (chunks, D / BLOCK, B * 4).
    Writes ends (B * 4, chunks, STATES, D) and totals (B * 4, chunks, D).
    """
    chunk, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    k = tl.program_id(2) % 4
    length = frames * JOINTS
    channel = _channels(tl.program_id(1), BLOCK)
    row = k * CHANNELS + channel
    u += item // 4 * length * CHANNELS
    p += item * (RANK + 2 * STATES) * length
    token, other, exists, limb = _tokens(partner, chunk, k, 0, frames, CAUSAL, JOINTS, CHUNK)
    x = _tile(u, token, other, exists, limb, channel, CHANNELS)
    raw = _raw_step_size(p, token, other, exists, limb, dt_weight, dt_bias, row, length, RANK)
    dt = tl.where(exists[:, None], _softplus(raw), 0.0)
    # Sum of the steps after each one: what its contribution still decays by. (With reverse=True
    # Triton would flip the lanes of the warp, by exchanges; tl.flip here only renames registers.)
    after = tl.flip(tl.cumsum(tl.flip(dt, 0), 0), 0) - dt
    at = (item * chunks + chunk) * CHANNELS + channel
    tl.store(totals + at, tl.sum(dt, 0))
    dtx = dt * x
    base = tl.exp2(after * -LOG2E)
    left = dtx
    for n in range(STATES):
        rate = _rate(a_logs, row, n, STATES)
        left = left * base if INTEGER else dtx * tl.exp2(after * rate[None, :])
        b = _row(p + (RANK + n) * length, token, other, exists, limb)
        end = tl.sum(left * b[:, None], 0)
        tl.store(ends + (item * chunks + chunk) * STATES * CHANNELS + n * CHANNELS + channel, end)


@triton.jit(do_not_specialize=_SIZES)
def carry(
    ends,
    totals,
    a_logs,
    starts,
    frames,
    chunks,
    REVERSE: tl.constexpr,
    CAUSAL: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATES: tl.constexpr,
    JOINTS: tl.constexpr,
    CHUNK: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Scan over the chunks, TILE at a time: what arrives at each one from all before it.

    start_c = exp(A * total_{c-1}) start_{c-1} + end_{c-1}, zero where a sequence starts;
    with REVERSE from the last chunk to the first (c+1 for c-1), as gradients go.
    Grid (B * 4, STATES, D / BLOCK). All (B * 4, chunks, STATES, D), totals without STATES.
    """
    item, n = tl.program_id(0).to(tl.int64), tl.program_id(1)
    k = tl.program_id(0) % 4
    channel = _channels(tl.program_id(2), BLOCK)
    ends += item * chunks * STATES * CHANNELS + n * CHANNELS
    starts += item * chunks * STATES * CHANNELS + n * CHANNELS
    totals += item * chunks * CHANNELS
    rate = _rate(a_logs, k * CHANNELS + channel, n, STATES)
    index = tl.arange(0, TILE)
    last = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, chunks, TILE):
        inside = first + index < chunks
        if REVERSE:
            chunk = chunks - 1 - first - index
            source = chunk + 1
        else:
            chunk = first + index
            source = chunk - 1
        goes_on = (source >= 0) & (source < chunks) & inside
        if CAUSAL:
            segment = tl.where(k % 2 == 1, frames, frames * JOINTS)
            fresh = source if REVERSE else chunk
            goes_on &= fresh % ((segment + CHUNK - 1) // CHUNK) != 0
        use = goes_on[:, None]
        at = source[:, None] * CHANNELS + channel[None, :]
        total = tl.load(totals + at, mask=use, other=0.0)
        at = source[:, None] * (STATES * CHANNELS) + channel[None, :]
        end = tl.load(ends + at, mask=use, other=0.0)
        decay = tl.where(use, tl.exp2(total * rate[None, :]), 0.0)
        decay, state = tl.associative_scan((decay, end), 0, _recurrence)
        state += decay * last[None, :]
        last = tl.sum(tl.where((index == TILE - 1)[:, None], state, 0.0), 0)
        at = chunk[:, None] * (STATES * CHANNELS) + channel[None, :]
        tl.store(starts + at, state, mask=inside[:, None])


@triton.jit(do_not_specialize=_SIZES)
def chunk_outputs(
    u,
    p,
    dt_weight,
    dt_bias,
    a_logs,
    ds,
    partner,
    starts,
    y,
    frames,
    chunks,
    batch,
    CAUSAL: tl.constexpr,
    INTEGER: tl.constexpr,
    CHANNELS: tl.constexpr,
    RANK: tl.constexpr,
    STATES: tl.constexpr,
    JOINTS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Outputs of each direction, skip included: y (4, B, L, D).

    Grid (chunks, D / BLOCK, B * 4); starts as `carry` wrote them.
    """
    chunk, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    k = tl.program_id(2) % 4
    length = frames * JOINTS
    channel = _channels(tl.program_id(1), BLOCK)
    row = k * CHANNELS + channel
    u += item // 4 * length * CHANNELS
    p += item * (RANK + 2 * STATES) * length
    y += (k * batch + item // 4) * length * CHANNELS
    starts += (item * chunks + chunk) * STATES * CHANNELS
    token, other, exists, limb = _tokens(partner, chunk, k, 0, frames, CAUSAL, JOINTS, CHUNK)
    x = _tile(u, token, other, exists, limb, channel, CHANNELS)
    raw = _raw_step_size(p, token, other, exists, limb, dt_weight, dt_bias, row, length, RANK)
    dt = tl.where(exists[:, None], _softplus(raw), 0.0)
    dtx = dt * x
    total = tl.load(ds + row).to(tl.float32)[None, :] * x
    base = tl.exp2(dt * -LOG2E)
    decay = tl.full((CHUNK, BLOCK), 1.0, tl.float32)
    for n in range(STATES):
        rate = _rate(a_logs, row, n, STATES)
        decay = decay * base if INTEGER else tl.exp2(dt * rate[None, :])
        b = _row(p + (RANK + n) * length, token, other, exists, limb)
        c = _row(p + (RANK + STATES + n) * length, token, other, exists, limb)
        before = tl.load(starts + n * CHANNELS + channel)
        fade, state = tl.associative_scan((decay, dtx * b[:, None]), 0, _recurrence)
        total += (state + fade * before[None, :]) * c[:, None]
    tl.store(y + token[:, None] * CHANNELS + channel[None, :], total, mask=exists[:, None])


@triton.jit(do_not_specialize=_SIZES)
def chunk_pulls(
    p,
    dt_weight,
    dt_bias,
    a_logs,
    partner,
    dy,
    pulls,
    frames,
    chunks,
    CAUSAL: tl.constexpr,
    INTEGER: tl.constexpr,
    CHANNELS: tl.constexpr,
    RANK: tl.constexpr,
    STATES: tl.constexpr,
    JOINTS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradient with respect to the state before each chunk, through its own outputs only.

    Grid (chunks, D / BLOCK, B * 4); dy (B, L, D); pulls (B * 4, chunks, STATES, D).
    """
    chunk, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    k = tl.program_id(2) % 4
    length = frames * JOINTS
    channel = _channels(tl.program_id(1), BLOCK)
    row = k * CHANNELS + channel
    p += item * (RANK + 2 * STATES) * length
    dy += item // 4 * length * CHANNELS
    token, other, exists, limb = _tokens(partner, chunk, k, 0, frames, CAUSAL, JOINTS, CHUNK)
    at = token[:, None] * CHANNELS + channel[None, :]
    grad = tl.load(dy + at, mask=exists[:, None], other=0.0).to(tl.float32)
    raw = _raw_step_size(p, token, other, exists, limb, dt_weight, dt_bias, row, length, RANK)
    until = tl.cumsum(tl.where(exists[:, None], _softplus(raw), 0.0), 0)
    base = tl.exp2(until * -LOG2E)
    left = grad
    for n in range(STATES):
        rate = _rate(a_logs, row, n, STATES)
        left = left * base if INTEGER else grad * tl.exp2(until * rate[None, :])
        c = _row(p + (RANK + STATES + n) * length, token, other, exists, limb)
        pull = tl.sum(left * c[:, None], 0)
        tl.store(pulls + (item * chunks + chunk) * STATES * CHANNELS + n * CHANNELS + channel, pull)


@triton.jit(do_not_specialize=_SIZES)
def chunk_gradients(
    u,
    p,
    dt_weight,
    dt_bias,
    a_logs,
    ds,
    partner,
    starts,
    arriving,
    dy,
    dx,
    dp,
    dprm,
    frames,
    chunks,
    batch,
    CAUSAL: tl.constexpr,
    INTEGER: tl.constexpr,
    CHANNELS: tl.constexpr,
    RANK: tl.constexpr,
    STATES: tl.constexpr,
    JOINTS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Everything else, from the state before a chunk and the gradient after it.

    Grid (chunks, D / BLOCK, B * 4). Reads starts, arriving (B * 4, chunks, STATES, D).
    Writes, for each direction's own values (limb values in directions 0 and 2):
        dx (4, B, L, D);
        dp (D / BLOCK, B, 4 * E, L), each channel block's share;
        dprm (B * 4, chunks, STATES + 2 + RANK, D), each chunk's share: a_logs (not with
        INTEGER), skip, dt bias, dt weight.
    """
    chunk, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    k = tl.program_id(2) % 4
    length = frames * JOINTS
    channel = _channels(tl.program_id(1), BLOCK)
    row = k * CHANNELS + channel
    u += item // 4 * length * CHANNELS
    dy += item // 4 * length * CHANNELS
    dx += (k * batch + item // 4) * length * CHANNELS
    p += item * (RANK + 2 * STATES) * length
    dp += (tl.program_id(1).to(tl.int64) * batch * 4 + item) * (RANK + 2 * STATES) * length
    starts += (item * chunks + chunk) * STATES * CHANNELS + channel
    arriving += (item * chunks + chunk) * STATES * CHANNELS + channel
    dprm += (item * chunks + chunk) * (STATES + 2 + RANK) * CHANNELS + channel

    token, other, exists, limb = _tokens(partner, chunk, k, 0, frames, CAUSAL, JOINTS, CHUNK)
    x = _tile(u, token, other, exists, limb, channel, CHANNELS)
    raw = _raw_step_size(p, token, other, exists, limb, dt_weight, dt_bias, row, length, RANK)
    dt = tl.where(exists[:, None], _softplus(raw), 0.0)
    # The gradient at a step decays by the dt of the step after it; the last step's comes in
    # from the next chunk already decayed.
    token1, other1, exists1, limb1 = _tokens(partner, chunk, k, 1, frames, CAUSAL, JOINTS, CHUNK)
    raw1 = _raw_step_size(p, token1, other1, exists1, limb1, dt_weight, dt_bias, row, length, RANK)
    dt1 = tl.where(exists1[:, None], _softplus(raw1), 0.0)
    at = token[:, None] * CHANNELS + channel[None, :]
    grad = tl.load(dy + at, mask=exists[:, None], other=0.0).to(tl.float32)
    dtx = dt * x

    d_dtx = tl.zeros((CHUNK, BLOCK), tl.float32)
    d_dt = tl.zeros((CHUNK, BLOCK), tl.float32)
    for n in range(STATES):
        # Powers of one exponential would be cheaper but for the registers that they take.
        rate = _rate(a_logs, row, n, STATES)
        decay, decay1 = tl.exp2(dt * rate[None, :]), tl.exp2(dt1 * rate[None, :])
        b = _row(p + (RANK + n) * length, token, other, exists, limb)
        c = _row(p + (RANK + STATES + n) * length, token, other, exists, limb)
        before = tl.load(starts + n * CHANNELS)
        after = tl.load(arriving + n * CHANNELS)
        entering = dtx * b[:, None]
        fade, state = tl.associative_scan((decay, entering), 0, _recurrence)
        state += fade * before[None, :]
        fade, d_state = tl.associative_scan(
            (tl.flip(decay1, 0), tl.flip(grad * c[:, None], 0)), 0, _recurrence
        )
        d_state = tl.flip(d_state + fade * after[None, :], 0)
        tl.store(dp + (RANK + n) * length + token, tl.sum(d_state * dtx, 1), mask=exists)
        tl.store(dp + (RANK + STATES + n) * length + token, tl.sum(grad * state, 1), mask=exists)
        d_dtx += d_state * b[:, None]
        # d log(decay); the state carried over is what is left without the step's own input.
        through = d_state * (state - entering) * (rate / LOG2E)[None, :]
        d_dt += through
        if not INTEGER:
            tl.store(dprm + n * CHANNELS, tl.sum(through * dt, 0))

    # Again, for the same reason.
    x = _tile(u, token, other, exists, limb, channel, CHANNELS)
    raw = _raw_step_size(p, token, other, exists, limb, dt_weight, dt_bias, row, length, RANK)
    skip = tl.load(ds + row).to(tl.float32)
    tl.store(dx + at, d_dtx * dt + skip[None, :] * grad, mask=exists[:, None])
    d_raw = (d_dt + d_dtx * x) * tl.sigmoid(raw)
    d_raw = tl.where(exists[:, None], d_raw, 0.0)
    tl.store(dprm + STATES * CHANNELS, tl.sum(grad * x, 0))
    tl.store(dprm + (STATES + 1) * CHANNELS, tl.sum(d_raw, 0))
    for r in tl.static_range(RANK):
        low = _row(p + r * length, token, other, exists, limb)
        tl.store(dprm + (STATES + 2 + r) * CHANNELS, tl.sum(d_raw * low[:, None], 0))
        weight = tl.load(dt_weight + row * RANK + r).to(tl.float32)
        tl.store(dp + r * length + token, tl.sum(d_raw * weight[None, :], 1), mask=exists)


@triton.jit
def _neighbour(
    u,
    frame,
    joint,
    exists,
    channel,
    frames,
    channels,
    JOINTS: tl.constexpr,
):
    """Values at (frame, joint), zero outside the grid."""
    inside = exists & (frame >= 0) & (frame < frames) & (joint >= 0) & (joint < JOINTS)
    at = (frame * JOINTS + joint)[:, None] * channels + channel[None, :]
    return tl.load(u + at, mask=inside[:, None], other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=_SIZES)
def convolve(
    u,
    weight,
    bias,
    out,
    frames,
    channels,
    stride,
    CENTRE: tl.constexpr,
    ADJOINT: tl.constexpr,
    JOINTS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """SiLU of a depth-wise 3x3 convolution over frames x joints, or (ADJOINT) the transpose
    of the convolution alone, without bias and SiLU.

    Grid (tokens / CHUNK, D / BLOCK, B). CENTRE is the tap on the frame itself: 1, or 2 for
    the causal one. Tokens of u are `stride` apart, those of out are dense.
    """
    sample = tl.program_id(2).to(tl.int64)
    channel = _channels(tl.program_id(1), BLOCK)
    token = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
    exists = token < frames * JOINTS
    frame, joint = token // JOINTS, token % JOINTS
    sign: tl.constexpr = -1 if ADJOINT else 1
    u += sample * frames * JOINTS * stride
    total = tl.zeros((CHUNK, BLOCK), tl.float32)
    if not ADJOINT:
        total += tl.load(bias + channel).to(tl.float32)[None, :]
    for tap in tl.static_range(9):
        value = _neighbour(
            u, frame + sign * (tap // 3 - CENTRE), joint + sign * (tap % 3 - 1), exists, channel,
            frames, stride, JOINTS,
        )  # fmt: skip
        total += tl.load(weight + channel * 9 + tap).to(tl.float32)[None, :] * value
    if not ADJOINT:
        total = total * tl.sigmoid(total)
    at = sample * frames * JOINTS * channels + token[:, None] * channels + channel[None, :]
    tl.store(out + at, total, mask=exists[:, None])


@triton.jit(do_not_specialize=_SIZES)
def convolve_gradients(
    u,
    weight,
    bias,
    dy,
    dz,
    dprm,
    frames,
    channels,
    stride,
    CENTRE: tl.constexpr,
    JOINTS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradients of `convolve` before the SiLU: dz (B, L, D), and each program's share of the
    parameters', dprm (B, tokens / CHUNK, 10, D): nine taps, bias.
    """
    sample = tl.program_id(2).to(tl.int64)
    channel = _channels(tl.program_id(1), BLOCK)
    token = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
    exists = token < frames * JOINTS
    frame, joint = token // JOINTS, token % JOINTS
    u += sample * frames * JOINTS * stride
    z = tl.zeros((CHUNK, BLOCK), tl.float32) + tl.load(bias + channel).to(tl.float32)[None, :]
    for tap in range(9):
        value = _neighbour(
            u, frame + tap // 3 - CENTRE, joint + tap % 3 - 1, exists, channel, frames, stride,
            JOINTS,
        )  # fmt: skip
        z += tl.load(weight + channel * 9 + tap).to(tl.float32)[None, :] * value
    at = sample * frames * JOINTS * channels + token[:, None] * channels + channel[None, :]
    grad = tl.load(dy + at, mask=exists[:, None], other=0.0).to(tl.float32)
    s = tl.sigmoid(z)
    grad = grad * s * (1.0 + z * (1.0 - s))
    tl.store(dz + at, grad, mask=exists[:, None])
    dprm += (sample * tl.num_programs(0) + tl.program_id(0)) * 10 * channels + channel
    for tap in range(9):
        value = _neighbour(
            u, frame + tap // 3 - CENTRE, joint + tap % 3 - 1, exists, channel, frames, stride,
            JOINTS,
        )  # fmt: skip
        tl.store(dprm + tap * channels, tl.sum(grad * value, 0))
    tl.store(dprm + 9 * channels, tl.sum(grad, 0))
