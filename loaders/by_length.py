"""ByLength: what the user asks for when rows of about the same length should share a batch."""

from dataclasses import dataclass, field

from forebay.formats.errors import SpecError


@dataclass(frozen=True, slots=True)
class ByLength:
    """Batches of rows of about the same length: rows of a window of the order are sorted by length, cut, and the batches
    shuffled.

    Resume and ranks work as always; the lengths of all rows are held in memory (4 bytes each).
    """

    column: str
    """A column of lists or text, whose rows' lengths count, or one of whole numbers that are the lengths. The latter costs
    next to nothing to read; the former is read once, in whole."""
    tokens: int | None = field(default=None, kw_only=True)
    """Most tokens of a batch, instead of `batch_size` rows (which then bounds the rows); a longer row stands alone."""
    padded: bool = field(default=True, kw_only=True)
    """Whether `tokens` counts padding: rows times the longest."""
    window_rows: int = field(default=8192, kw_only=True)
    """Rows that are sorted at a time: more waste less padding and mix less. Where rows come in lanes: of each lane, as far as a
    shuffle window has so many."""

    def __post_init__(self) -> None:
        if self.window_rows < 2:
            raise SpecError(f"ByLength: window_rows is {self.window_rows}; expected at least 2")
        if self.tokens is not None and self.tokens < 1:
            raise SpecError(f"ByLength: tokens is {self.tokens}; expected at least 1")
