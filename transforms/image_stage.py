"""The stage that runs fused image chains: decode, place, paint and normalize, into a new batch or a training batch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.formats.errors import BadRows, SchemaError
from forebay.formats.lent_memory import PIXELS
from forebay.transforms.compiled import kernels
from forebay.transforms.image_chain import Chain, Images, Segment
from forebay.transforms.image_form import DECODED
from forebay.transforms.image_jpeg import UndecodableError
from forebay.transforms.image_output import ImageOutput, plain
from forebay.transforms.image_pixels import Pixels, planar
from forebay.transforms.image_placement import Placement
from forebay.transforms.image_planar import PlanarImages
from forebay.transforms.image_render import Crops, Renderer, needed
from forebay.transforms.pieces_stage import check_take
from forebay.transforms.stage import ColumnRows, Gathering, TensorSpec
from forebay.transforms.transform import Rows

resample = kernels("image_resample")


class ImageStage:
    """Chains of image transforms, one a column (a `Stage` and a `SlotStage`). Thread-safe: a call keeps nothing."""

    def __init__(self, chains: Sequence[Chain], before: pa.Schema, schema: pa.Schema) -> None:
        self._chains = list(chains)
        self._before = before
        self.schema = schema
        self.label = "+".join(one.label for one in chains)
        self.reads = tuple(one.before.name for one in chains)
        self._outputs = [one.output for one in chains]
        self._specs = {
            one.after.name: TensorSpec(tuple(one.after.type.shape), output.dtype)
            for one, output in zip(self._chains, self._outputs, strict=True)
            if isinstance(one.after.type, pa.FixedShapeTensorType)
        }

    def tensors(self) -> Mapping[str, TensorSpec]:
        return self._specs

    def run(self, batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
        made = {}
        for chain, output in zip(self._chains, self._outputs, strict=True):
            name = chain.before.name
            drawing = _Drawing(chain, output, chain.open(self._column(batch, chain), None), rows)
            sizes = drawing.sizes
            ends = np.concatenate([[0], np.cumsum(sizes.prod(axis=1) * output.channels)])
            # of fresh memory the system clears each page first, which takes it as long as drawing takes us
            buffer, room = PIXELS.take(int(ends[-1]) * output.dtype.itemsize)
            drawing.draw(np.frombuffer(room, output.dtype), ends[:-1], 0)
            made[name] = _column(chain.after.type, buffer, ends, sizes, output)
        columns = [made[name] if name in made else batch.column(name) for name in self.schema.names]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def run_into(
        self,
        batch: pa.RecordBatch,
        rows: Rows,
        take: NDArray[np.int64] | None,
        out: Mapping[str, NDArray[Any]],
    ) -> None:
        check_take(take, batch.num_rows)
        n = batch.num_rows if take is None else len(take)
        for chain, output in zip(self._chains, self._outputs, strict=True):
            name = chain.after.name
            if name in self._specs:
                self._check(out[name], name, n)
                drawing = _Drawing(chain, output, chain.open(self._column(batch, chain), take), rows)
                drawing.draw_rows(out[name], 0, n, 0)

    @property
    def by_address(self) -> bool:
        return all(one.decode is None and one.after.name in self.tensors() for one in self._chains)

    @property
    def in_place(self) -> bool:
        return any(one.decode is not None for one in self._chains) and all(
            one.after.name in self.tensors() for one in self._chains
        )

    def gathering(self, found: Mapping[str, ColumnRows], rows: Rows) -> Gathering:
        drawings = {
            one.after.name: _Drawing(one, output, one.at(found[one.before.name]), rows)
            for one, output in zip(self._chains, self._outputs, strict=True)
        }

        def into(out: Mapping[str, NDArray[Any]], first: int, stop: int, to: int) -> None:
            for name, drawing in drawings.items():
                self._check(out[name], name, len(out[name]))
                drawing.draw_rows(out[name], first, stop, to)

        return into

    def _check(self, into: NDArray[Any], name: str, n: int) -> None:
        spec = self._specs[name]
        if into.dtype != spec.dtype or into.shape != (n, *spec.shape):
            raise SchemaError(
                f"{self.label}: the array for column {name!r} is {into.dtype}{list(into.shape)}; expected "
                f"{spec.dtype}{[n, *spec.shape]}, as tensors() says"
            )

    def _column(self, batch: pa.RecordBatch, chain: Chain) -> pa.Array:
        at = batch.schema.get_field_index(chain.before.name)
        found = batch.schema.field(at).type if at >= 0 else "missing"
        if found != chain.before.type:
            raise SchemaError(
                f"{self.label}: column {chain.before.name!r} is {found}; expected {chain.before.type}, as planned"
            )
        return batch.column(at)


_Step = tuple[Segment, Renderer, list[NDArray[np.float64]]]


class _Drawing:
    """One column's work: what happens to each image is known when it is made, and any thread may draw some of them."""

    def __init__(self, chain: Chain, output: ImageOutput, images: Images, rows: Rows) -> None:
        self._chain, self._output, self._images = chain, output, images
        self._refuse(self._images.bad)
        self._placements = chain.placements(self._images.sizes, rows)
        for placement in self._placements:
            self._refuse(placement.refused)
        self._colours = chain.colours(rows)
        self._painted = any(segment.paints for segment in chain.segments)
        alone = self._placements[0] if len(self._placements) == 1 and not self._painted else None
        self._crops: Crops | None = None
        if alone is not None and isinstance(images, PlanarImages) and alone.filter == resample.NEAREST:
            self._crops = Crops(images.data, images.starts, alone, output)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(N, 2) height and width of the results."""
        return self._placements[-1].sizes

    def draw_rows(self, into: NDArray[Any], first: int, stop: int, to: int) -> None:
        """Write results `first` to `stop` to rows `to` and on of an array."""
        if stop > first:
            flat, places = _flat(into)
            self.draw(flat, places[to : to + stop - first], first)

    def draw(self, flat: NDArray[Any], places: NDArray[np.int64], first: int) -> None:
        """Write as many results as there are places to `flat`, result `first + i` from `places[i]` on."""
        images, stop = self._images, first + len(places)
        if self._crops is not None:
            self._crops.write(flat, places, first)
            return
        reduce = self._chain.decode is not None and self._chain.decode.reduce
        factors, bottoms = needed(self._placements[0], reduce=reduce)
        factors = np.where(images.partly, factors, 1)
        bottoms = np.where(images.partly, bottoms, images.sizes[:, 0])
        renderers = [Renderer(self._placements[0], factors), *(Renderer(one) for one in self._placements[1:])]
        steps = list(zip(self._chain.segments, renderers, self._colours, strict=True))
        bad: dict[str, list[int]] = {}
        for row in range(first, stop):
            try:
                pixels = images.pixels(row, int(factors[row]), int(bottoms[row]))
            except UndecodableError as error:
                bad.setdefault(str(error), []).append(row)
                continue
            self._one(pixels, row, steps, (flat, int(places[row - first])))
        for reason, which in bad.items():
            raise BadRows(which, reason, column=self._chain.before.name)

    def _one(self, pixels: Pixels, row: int, plan: list[_Step], target: tuple[NDArray[Any], int]) -> None:
        flat, place = target
        for number, (segment, renderer, colours) in enumerate(plan):
            if number == len(plan) - 1 and not segment.paints:
                renderer.draw(pixels, row, output=self._output, flat=flat, place=place)
                return
            made = np.empty((self._output.channels, *self._placements[number].sizes[row].tolist()), np.uint8)
            renderer.draw(pixels, row, output=plain(len(made)), flat=made.reshape(-1), place=0)
            for (op, _), drawn in zip(segment.paints, colours, strict=True):
                made = op.paint(made, drawn[row])
            pixels = planar(np.ascontiguousarray(made))
        still = Renderer(Placement.whole(np.array([[pixels.height, pixels.width]])))
        still.draw(pixels, 0, output=self._output, flat=flat, place=place)

    def _refuse(self, bad: Mapping[str, NDArray[np.bool_]]) -> None:
        for reason, where in bad.items():
            raise BadRows(np.flatnonzero(where).tolist(), reason, column=self._chain.before.name)


def _flat(into: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A one-dimensional view of an array that may be strided in its first axis, and where each row begins in it."""
    step, one, n = into.strides[0] // into.itemsize, math.prod(into.shape[1:]), len(into)
    places = np.arange(n, dtype=np.int64) * step
    if into.flags.c_contiguous:
        return into.reshape(-1), places
    if not into[0].flags.c_contiguous or step < one:
        raise SchemaError("a training batch may be strided in its first axis only, and forwards")
    return np.lib.stride_tricks.as_strided(into, ((n - 1) * step + one,), (into.itemsize,)), places


def _column(
    type: pa.DataType, buffer: pa.Buffer, ends: NDArray[np.int64], sizes: NDArray[np.int64], output: ImageOutput
) -> pa.Array:
    n = len(sizes)
    if type == DECODED:
        pixels = pa.Array.from_buffers(pa.large_binary(), n, [None, pa.py_buffer(ends.astype(np.int64)), buffer], 0)
        height, width = (pa.array(one.astype(np.int32)) for one in sizes.T)
        channels = pa.array(np.full(n, output.channels, np.int32))
        return pa.StructArray.from_arrays([pixels, height, width, channels], fields=list(DECODED))
    values = pa.Array.from_buffers(type.value_type, int(ends[-1]), [None, buffer], 0)
    return pa.ExtensionArray.from_storage(type, pa.FixedSizeListArray.from_arrays(values, type=type.storage_type))
