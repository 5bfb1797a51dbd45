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


@intrinsic
def _four_pixels(typingctx, row, starts, weights, taps, x, line, plane):
    """Four output pixels from x on: `sum over k of weights[x, k] * row[starts[x] + 3 k ...]`, stored to three planes.

    One pixel is read as a vector of 4 floats, of which the last, the next pixel's red, comes to nothing. Numba leaves
    LLVM's SLP vectorizer off, and scalar sums take four times as long, so the vectors are written out.
    """
    signature = types.void(row, starts, weights, taps, x, line, plane)

    def codegen(context, builder, signature, args):
        data = [
            make_array(one)(context, builder, value).data if isinstance(one, types.Array) else value
            for one, value in zip(signature.args, args, strict=True)
        ]
        row, starts, weights, taps, x, line, plane = data
        word, lane, vector = ir.IntType(64), ir.IntType(32), ir.VectorType(ir.FloatType(), 4)

        def shuffled(left, right, lanes):
            return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(lane, 4), lanes))

        places = [builder.add(x, word(pixel)) for pixel in range(4)]
        sources = [builder.gep(row, [builder.load(builder.gep(starts, [at]))]) for at in places]
        pens = [builder.gep(weights, [builder.mul(at, taps)]) for at in places]
        totals = [cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * 4)) for _ in range(4)]
        with cgutils.for_range(builder, taps, intp=word) as loop:
            step = builder.mul(loop.index, word(3))
            for total, source, pen in zip(totals, sources, pens, strict=True):
                place = builder.bitcast(builder.gep(source, [step]), vector.as_pointer())
                weight = builder.load(builder.gep(pen, [loop.index]))
                weight = builder.insert_element(ir.Constant(vector, ir.Undefined), weight, lane(0))
                product = builder.fmul(builder.load(place, align=4), shuffled(weight, weight, [0] * 4))
                builder.store(builder.fadd(builder.load(total), product), total)
        sums = [builder.load(total) for total in totals]
        for channel in range(3):
            first, second = (shuffled(sums[i], sums[i + 1], [channel, channel + 4, 0, 4]) for i in (0, 2))
            place = builder.gep(line, [builder.add(x, builder.mul(plane, word(channel)))])
            builder.store(shuffled(first, second, [0, 1, 4, 5]), builder.bitcast(place, vector.as_pointer()), align=4)
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
def _squeeze(weights, count, taps, wide):
    """Leave out the taps that are 0 for all, put weights of 0 behind for the pixels up to `wide`; gives the taps left."""
    used = 1
    for x in range(count):
        for k in range(used, taps):
            if weights[x * taps + k] != 0:
                used = k + 1
    for x in range(count):
        for k in range(used):
            weights[x * used + k] = weights[x * taps + k]
    weights[count * used : wide * used] = np.float32(0)
    return used


@njit(error_model="numpy")
def _column_sums(source, begin, weights, stride, out):
    """out = the weighted sum of rows of uint8; two rows a pass, since a pass is bound by reading and writing `out`."""
    n, taps = len(out), len(weights)
    first, second = source[begin : begin + n], source[begin + stride : begin + stride + n]
    a, b = weights[0], weights[1]
    for i in range(n):
        out[i] = np.float32(first[i]) * a + np.float32(second[i]) * b
    for k in range(2, taps - 1, 2):
        begin += 2 * stride
        first, second = source[begin : begin + n], source[begin + stride : begin + stride + n]
        a, b = weights[k], weights[k + 1]
        for i in range(n):
            out[i] += np.float32(first[i]) * a + np.float32(second[i]) * b
    if taps % 2:
        begin += 2 * stride
        first, a = source[begin : begin + n], weights[taps - 1]
        for i in range(n):
            out[i] += np.float32(first[i]) * a


@njit(error_model="numpy", inline="always")
def _grey(value):
    """The nearest uint8, halves up, as an int32."""
    return min(max(np.int32(value + np.float32(0.5)), np.int32(0)), np.int32(255))


@njit(error_model="numpy")
def _write(line, kind, channel, place, step, scale, shift, table, out32, out8, out16):
    """One row of one channel from `place` on, with `step` places from pixel to pixel."""
    n = len(line)
    if kind == TO_FLOAT32:
        a, b = scale[channel], shift[channel]
        if step == 1:
            to32 = out32[place : place + n]
            for x in range(n):
                to32[x] = np.float32(_grey(line[x])) * a + b
        else:
            for x in range(n):
                out32[place + x * step] = np.float32(_grey(line[x])) * a + b
    elif kind == TO_UINT8:
        if step == 1:
            to8 = out8[place : place + n]
            for x in range(n):
                to8[x] = np.uint8(_grey(line[x]))
        else:
            for x in range(n):
                out8[place + x * step] = np.uint8(_grey(line[x]))
    else:
        for x in range(n):
            out16[place + x * step] = table[channel, _grey(line[x])]


@njit(error_model="numpy")
def _rows(source, p, taps_x, taps_y, starts_y, weights_y, starts_x, weights_x, line, sums, room, kind, channels, last,
          scale, shift, table, out32, out8, out16):  # fmt: skip
    rows, columns, wide = p[ROWS], p[COLUMNS], len(line) // 3
    for y in range(rows):
        begin = p[START] + starts_y[y] * p[STRIDE] + p[X_LOW] * 3
        used = min(taps_y, p[Y_HIGH] - starts_y[y])
        while used > 2 and weights_y[y * taps_y + used - 1] == 0:
            used -= 1
        stride = p[STRIDE] if used > 1 else 0
        used = max(used, 2)  # a lone row is read twice, the second time with weight 0
        _column_sums(source, begin, weights_y[y * taps_y : y * taps_y + used], stride, sums)
        for x in range(0, wide, 4):
            _four_pixels(room, starts_x, weights_x, taps_x, x, line, wide)
        for channel in range(channels):
            if last:
                place, step = p[OUT] + y * columns * channels + channel, channels
            else:
                place, step = p[OUT] + (channel * rows + y) * columns, 1
            row = line[channel * wide : channel * wide + columns]
            _write(row, kind, channel, place, step, scale, shift, table, out32, out8, out16)


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
    sums, room = scratch[at : at + 3 * span], scratch[at : at + 3 * (span + taps_x) + 1]
    room[3 * span :] = np.float32(0)  # what taps of weight 0 behind the edge read
    _weights(filtered, box[:2], p[HEIGHT], p[Y_LOW], p[Y_HIGH], p[TOP], p[FLIP_Y], taps_y, starts_y, weights_y)
    starts_x[columns:] = p[X_LOW]
    _weights(
        filtered, box[2:], p[WIDTH], p[X_LOW], p[X_HIGH], p[LEFT], p[FLIP_X], taps_x, starts_x[:columns], weights_x
    )
    for x in range(wide):
        starts_x[x] = (starts_x[x] - p[X_LOW]) * 3
    used = _squeeze(weights_x, columns, taps_x, wide)
    _rows(source, p, used, taps_y, starts_y, weights_y, starts_x, weights_x, line, sums, room, kind, channels, last,
          scale, shift, table, out32, out8, out16)  # fmt: skip
