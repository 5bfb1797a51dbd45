"""A chain of image transforms on one column, cut into segments: each places pixels once, then paints."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forebay.transforms.image_decode import DecodeImage
from forebay.transforms.image_encoded import EncodedImages
from forebay.transforms.image_form import ImageForm, form_of
from forebay.transforms.image_normalize import NormalizeImage
from forebay.transforms.image_op import Paints, Places
from forebay.transforms.image_output import ImageOutput, plain
from forebay.transforms.image_placement import Placement
from forebay.transforms.image_planar import PlanarImages
from forebay.transforms.randomness import uniforms
from forebay.transforms.stage import ColumnRows
from forebay.transforms.transform import Rows

Images = EncodedImages | PlanarImages


@dataclass(slots=True)
class Segment:
    """Transforms whose placements compose, then transforms that paint; with their positions in the graph."""

    places: list[tuple[Places, int]] = field(default_factory=list)
    paints: list[tuple[Paints, int]] = field(default_factory=list)

    def takes(self, op: Places) -> bool:
        """Whether one more placement composes with those there are."""
        if self.paints:
            return False
        if op.pads:
            return not self.places  # outside of what was cropped there are pixels, which must not appear
        if op.move == "resize":
            # edges of a padded image would weigh in, and a mirrored one would be weighed the other way round
            return all(one.move == "crop" and not one.pads for one, _ in self.places)
        return True


@dataclass(slots=True)
class Chain:
    """What happens to one column."""

    before: pa.Field
    after: pa.Field
    decode: DecodeImage | None = None
    segments: list[Segment] = field(default_factory=lambda: [Segment()])
    normalize: NormalizeImage | None = None
    labels: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, column: pa.Field) -> "Chain":
        return cls(column, column)

    def add(self, transform: Any, op: int) -> None:
        """Take in the next transform, which stands at position `op` of the graph.

        Raises:
            SchemaError: it cannot work on what the chain gives so far.
        """
        self.after = transform.field_after(self.after)
        self.labels.append(type(transform).__name__)
        if isinstance(transform, DecodeImage):
            self.decode = transform
        elif isinstance(transform, NormalizeImage):
            self.normalize = transform
        elif isinstance(transform, Places):
            if not self.segments[-1].takes(transform):
                self.segments.append(Segment())
            self.segments[-1].places.append((transform, op))
        else:
            self.segments[-1].paints.append((transform, op))

    @property
    def label(self) -> str:
        return "+".join(self.labels)

    @property
    def output(self) -> ImageOutput:
        """What is written at the end."""
        if self.normalize is None:
            return plain(form_of(self.after, by=self.label).channels or 0)
        return self.normalize.output(self._form.channels or 0)

    @property
    def _form(self) -> ImageForm:
        return ImageForm(self.decode.channels) if self.decode else form_of(self.before, by=self.label)

    def open(self, column: pa.Array, take: NDArray[np.int64] | None) -> Images:
        """The images of the column, not decoded yet."""
        if self.decode is not None:
            return EncodedImages(column, take, self.decode)
        return PlanarImages(column, take, form_of(self.before, by=self.label))

    def at(self, found: ColumnRows) -> Images:
        """The images at given addresses."""
        if self.decode is not None:
            return EncodedImages.at(found, self.decode)
        return PlanarImages.at(found, form_of(self.before, by=self.label))

    def placements(self, sizes: NDArray[np.int64], rows: Rows) -> list[Placement]:
        """Where the pixels of N images go in each segment."""
        found = []
        for segment in self.segments:
            placement = Placement.whole(sizes)
            for one, op in segment.places:
                one.place(placement, uniforms(rows, op, one.draws))
            found.append(placement)
            sizes = placement.sizes
        return found

    def colours(self, rows: Rows) -> list[list[NDArray[np.float64]]]:
        """The random numbers of each segment's painting transforms, (N, draws) each."""
        return [[uniforms(rows, op, one.draws) for one, op in segment.paints] for segment in self.segments]
