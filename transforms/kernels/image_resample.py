"""Crop, resize by a separable filter, window, flip and write one image: uint8 RGB in, any output type out.

Weights are Pillow's (`src/libImaging/Resample.c`): a triangle (bilinear) or Keys' cubic with a = -0.5 (bicubic), centred
at `(i + 0.5) * scale`, stretched by the scale when it shrinks and antialiasing is on, cut at the edges and normalized.
Pillow rounds to uint8 between its two passes and works horizontally first; here the vertical pass comes first, since it
runs along memory, and its sums stay float32, so both round once, at the end, and differ by at most one grey level.

Sums are made in one order with separate multiplications and additions (no contraction), so that the result is the same on
every machine. Letters: K taps, W width of the output.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

NEAREST, BILINEAR, ANTIALIAS, BICUBIC = range(4)
"""Filters: none (the image is not resized), bilinear of 2 taps, bilinear and bicubic with antialiasing."""
START, STRIDE, Y_LOW, Y_HIGH, X_LOW, X_HIGH, HEIGHT, WIDTH, TOP, LEFT, ROWS, COLUMNS, FLIP_Y, FLIP_X, FILTER, OUT = (
    range(16)
)
"""Columns of the integer plan of an image: first byte and bytes a row of its source; rows and columns of it that may be
read; size it is resized to; window of that; flips; filter; first place in the output."""
FIELDS = 16
TO_FLOAT32, TO_UINT8, TO_BITS16 = range(3)
"""What is written: value * scale + shift, the value, or the entry of a table of 16-bit patterns."""

_RO8 = types.Array(types.uint8, 1, "C", readonly=True)


@intrinsic(prefer_literal=True)
def _four_pixels(typingctx, row, starts, weights, pairs, x, line, plane):
    """Four output pixels from x on: `sum over k of weights[x, k] * row[starts[x] + 3 k ...]`, stored to three planes.

    Two neighbouring taps are 6 floats, read as a vector of 8 against 8 weights of which the last two are 0; so even and
    odd taps are summed apart and then added. Numba leaves LLVM's SLP vectorizer off, and scalar sums take four times as
    long, so the vectors are written out. `pairs` may be a literal: a loop of one or two turns costs as much as they do.
    """
    signature = types.void(row, starts, weights, types.int64, x, line, plane)
    turns = pairs.literal_value if isinstance(pairs, types.IntegerLiteral) else 0

    def codegen(context, builder, signature, args):
        data = [
            make_array(one)(context, builder, value).data if isinstance(one, types.Array) else value
            for one, value in zip(signature.args, args, strict=True)
        ]
        row, starts, weights, pairs, x, line, plane = data
        word, lane = ir.IntType(64), ir.IntType(32)
        half, vector = ir.VectorType(ir.FloatType(), 4), ir.VectorType(ir.FloatType(), 8)

        def shuffled(left, right, lanes):
            return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(lane, 4), lanes))

        def loaded(place):
            return builder.load(builder.bitcast(place, vector.as_pointer()), align=4)

        places = [builder.add(x, word(pixel)) for pixel in range(4)]
        sources = [builder.gep(row, [builder.load(builder.gep(starts, [at]))]) for at in places]
        pens = [builder.gep(weights, [builder.mul(at, builder.shl(pairs, word(3)))]) for at in places]
        totals = [cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * 8)) for _ in range(4)]

        def add(turn):
            step, pen_step = builder.mul(turn, word(6)), builder.shl(turn, word(3))
            for total, source, pen in zip(totals, sources, pens, strict=True):
                product = builder.fmul(loaded(builder.gep(source, [step])), loaded(builder.gep(pen, [pen_step])))
                builder.store(builder.fadd(builder.load(total), product), total)

        if turns:
            for turn in range(turns):
                add(word(turn))
        else:
            with cgutils.for_range(builder, pairs, intp=word) as loop:
                add(loop.index)
        sums = []
        for total in totals:
            both = builder.load(total)
            sums.append(builder.fadd(shuffled(both, both, [0, 1, 2, 3]), shuffled(both, both, [3, 4, 5, 6])))
        for channel in range(3):
            first, second = (shuffled(sums[i], sums[i + 1], [channel, channel + 4, 0, 4]) for i in (0, 2))
            place = builder.gep(line, [builder.add(x, builder.mul(plane, word(channel)))])
            builder.store(shuffled(first, second, [0, 1, 4, 5]), builder.bitcast(place, half.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, codegen


@njit(error_model="numpy")
def _filter(kind, distance):
    x = abs(distance)
    if kind != BICUBIC:
        return max(1.0 - x, 0.0)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    if x < 2.0:
        return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return 0.0


@njit(error_model="numpy")
def _weights(kind, box, size, low, high, first, flip, taps, starts, weights):
    """Starts (count,) and normalized weights (count, taps) of the outputs `first` and on; reversed when flipped."""
    scale = box[1] / size
    stretch = max(scale, 1.0) if kind != BILINEAR else 1.0
    support, narrow = stretch * (2.0 if kind == BICUBIC else 1.0), 1.0 / stretch
    count = len(starts)
    for i in range(count):
        centre = box[0] + (first + i + 0.5) * scale
        begin = min(max(int(np.floor(centre - support + 0.5)), low), high - 1)
        end = min(max(int(np.floor(centre + support + 0.5)), begin + 1), high)
        at = count - 1 - i if flip else i
        starts[at] = begin
        row = weights[at * taps : (at + 1) * taps]
        away, total = (begin + 0.5 - centre) * narrow, 0.0
        for k in range(taps):
            value = _filter(kind, away + k * narrow) if k < end - begin else 0.0
            row[k] = value
            total += value
        unit = np.float32(1.0 / total)
        for k in range(taps):
            row[k] *= unit


@njit(error_model="numpy")
def _spread(weights, count, taps, wide, out):
    """Weights as `_four_pixels` reads them, 8 for two taps, each three times; taps that are 0 for all are left out.

    Gives the pairs of taps. Pixels from `count` up to `wide` weigh nothing.
    """
    used = 1
    for x in range(count):
        for k in range(used, taps):
            if weights[x * taps + k] != 0:
                used = k + 1
    pairs = (used + 1) // 2
    out[: wide * pairs * 8] = np.float32(0)
    for x in range(count):
        for k in range(used):
            weight = weights[x * taps + k]
            at = (x * pairs + k // 2) * 8 + (k % 2) * 3
            out[at] = weight
            out[at + 1] = weight
            out[at + 2] = weight
    return pairs


@njit(error_model="numpy", inline="always")
def _column_sums(source, begin, stride, weights, first, used, out, length):
    """out = the weighted sum of rows of uint8; two rows a pass, since a pass is bound by reading and writing `out`.

    Places are unsigned and nothing is sliced: a slice and a call for each row would cost a third of the whole kernel.
    """
    one, two, at = np.uint64(begin), np.uint64(begin + stride), np.uint64(first)
    a, b = weights[at], weights[at + np.uint64(1)]
    for i in range(np.uint64(length)):
        out[i] = np.float32(source[one + i]) * a + np.float32(source[two + i]) * b
    for k in range(2, used - 1, 2):
        one, two = two + np.uint64(stride), two + np.uint64(2 * stride)
        a, b = weights[at + np.uint64(k)], weights[at + np.uint64(k + 1)]
        for i in range(np.uint64(length)):
            out[i] += np.float32(source[one + i]) * a + np.float32(source[two + i]) * b
    if used > 2 and used % 2:
        one, a = two + np.uint64(stride), weights[at + np.uint64(used - 1)]
        for i in range(np.uint64(length)):
            out[i] += np.float32(source[one + i]) * a


@njit(error_model="numpy", inline="always")
def _grey(value):
    """The nearest uint8, halves up, as an int32."""
    return min(max(np.int32(value + np.float32(0.5)), np.int32(0)), np.int32(255))


@njit(error_model="numpy", inline="always")
def _write_planar(line, first, n, a, b, place, out32):
    """The most used kind of row by itself: in one function with the others LLVM makes no vectors of it."""
    at, to = np.uint64(first), np.uint64(place)
    for x in range(np.uint64(n)):
        out32[to + x] = np.float32(_grey(line[at + x])) * a + b


@njit(error_model="numpy", inline="always")
def _write_planar8(line, first, n, place, out8):
    """The same for pixels that are kept, as a cache does."""
    at, to = np.uint64(first), np.uint64(place)
    for x in range(np.uint64(n)):
        out8[to + x] = np.uint8(_grey(line[at + x]))


@njit(error_model="numpy", inline="always")
def _write(line, first, n, kind, channel, place, step, scale, shift, table, out32, out8, out16):
    """One row of one channel from `place` on, with `step` places from pixel to pixel."""
    at, to, gap, count = np.uint64(first), np.uint64(place), np.uint64(step), np.uint64(n)
    if kind == TO_FLOAT32:
        a, b = scale[channel], shift[channel]
        if step == 1:
            for x in range(count):
                out32[to + x] = np.float32(_grey(line[at + x])) * a + b
        else:
            for x in range(count):
                out32[to + x * gap] = np.float32(_grey(line[at + x])) * a + b
    elif kind == TO_UINT8:
        if step == 1:
            for x in range(count):
                out8[to + x] = np.uint8(_grey(line[at + x]))
        else:
            for x in range(count):
                out8[to + x * gap] = np.uint8(_grey(line[at + x]))
    else:
        for x in range(count):
            out16[to + x * gap] = table[channel, _grey(line[at + x])]


@njit(error_model="numpy")
def _rows(source, p, pairs, taps_y, starts_y, weights_y, starts_x, spread, line, sums, room, kind, channels, last,
          scale, shift, table, out32, out8, out16):  # fmt: skip
    rows, columns, wide, length = p[ROWS], p[COLUMNS], len(line) // 3, len(sums)
    for y in range(rows):
        begin = p[START] + starts_y[y] * p[STRIDE] + p[X_LOW] * 3
        used = min(taps_y, p[Y_HIGH] - starts_y[y])
        while used > 2 and weights_y[y * taps_y + used - 1] == 0:
            used -= 1
        stride = p[STRIDE] if used > 1 else 0  # a lone row is read twice, the second time with weight 0
        _column_sums(source, begin, stride, weights_y, y * taps_y, used, sums, length)
        if pairs == 2:
            for x in range(0, wide, 4):
                _four_pixels(room, starts_x, spread, 2, x, line, wide)
        elif pairs == 1:
            for x in range(0, wide, 4):
                _four_pixels(room, starts_x, spread, 1, x, line, wide)
        else:
            for x in range(0, wide, 4):
                _four_pixels(room, starts_x, spread, pairs, x, line, wide)
        if kind == TO_FLOAT32 and not last:
            for channel in range(channels):
                to = p[OUT] + (channel * rows + y) * columns
                _write_planar(line, channel * wide, columns, scale[channel], shift[channel], to, out32)
            continue
        if kind == TO_UINT8 and not last:
            for channel in range(channels):
                _write_planar8(line, channel * wide, columns, p[OUT] + (channel * rows + y) * columns, out8)
            continue
        for channel in range(channels):
            if last:
                place, step = p[OUT] + y * columns * channels + channel, channels
            else:
                place, step = p[OUT] + (channel * rows + y) * columns, 1
            first = channel * wide
            _write(line, first, columns, kind, channel, place, step, scale, shift, table, out32, out8, out16)


_SIGNATURE = types.void(
    _RO8, types.int64[:, ::1], types.float64[:, ::1], types.int64, types.int64, types.int64, types.boolean,
    types.float32[::1], types.float32[::1], types.uint16[:, ::1], types.int64[::1], types.float32[::1],
    types.float32[::1], types.uint8[::1], types.uint16[::1],
)  # fmt: skip


@njit([_SIGNATURE], cache=True, nogil=True, error_model="numpy")
def resample_into(
    source, plan, boxes, image, kind, channels, last, scale, shift, table, starts, scratch, out32, out8, out16
):
    """Write one image.

    Args:
        source: bytes of the pixels, 3 a pixel.
        plan: (N, FIELDS) see above; boxes: (N, 4) top, height, left, width of the crop, in pixels of the source.
        image: row of plan and boxes.
        kind: TO_FLOAT32, TO_UINT8 or TO_BITS16; channels: 1 or 3; last: whether the channel comes last in the output.
        scale, shift: (channels,); table: (channels, 256).
        starts, scratch: room, see `scratch_of`.
        out32, out8, out16: the output, of the kind's type; the other two are not touched.
    """
    p, box = plan[image], boxes[image]
    rows, columns = p[ROWS], p[COLUMNS]
    wide, span = (columns + 3) & ~3, p[X_HIGH] - p[X_LOW]
    filtered = p[FILTER]
    radius = 2.0 if filtered == BICUBIC else 1.0
    shrinks = filtered != BILINEAR
    taps_y = int(np.ceil(radius * (max(box[1] / p[HEIGHT], 1.0) if shrinks else 1.0))) * 2 + 1
    taps_x = int(np.ceil(radius * (max(box[3] / p[WIDTH], 1.0) if shrinks else 1.0))) * 2 + 1
    starts_y, starts_x = starts[:rows], starts[rows : rows + wide]
    weights_y = scratch[: rows * taps_y]
    at = rows * taps_y
    weights_x = scratch[at : at + wide * taps_x]
    at += wide * taps_x
    line = scratch[at : at + 3 * wide]
    at += 3 * wide
    sums, room = scratch[at : at + 3 * span], scratch[at : at + 3 * (span + taps_x) + 16]
    at += 3 * (span + taps_x) + 16
    spread = scratch[
        at + ((-(np.int64(scratch.ctypes.data) // 4 + at)) & 15) :
    ]  # no weights lie across two cache lines
    room[3 * span :] = np.float32(0)  # what taps of weight 0 behind the edge read
    _weights(filtered, box[:2], p[HEIGHT], p[Y_LOW], p[Y_HIGH], p[TOP], p[FLIP_Y], taps_y, starts_y, weights_y)
    starts_x[columns:] = p[X_LOW]
    _weights(
        filtered, box[2:], p[WIDTH], p[X_LOW], p[X_HIGH], p[LEFT], p[FLIP_X], taps_x, starts_x[:columns], weights_x
    )
    for x in range(wide):
        starts_x[x] = (starts_x[x] - p[X_LOW]) * 3
    pairs = _spread(weights_x, columns, taps_x, wide, spread)
    _rows(source, p, pairs, taps_y, starts_y, weights_y, starts_x, spread, line, sums, room, kind, channels, last,
          scale, shift, table, out32, out8, out16)  # fmt: skip
