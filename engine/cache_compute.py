"""What a cache holds, computed: one fragment of a source after a plan, and what its rows will take."""

import pyarrow as pa

from forebay.engine.plan import Plan
from forebay.engine.run_stages import Tally, run_stages, sample_ids
from forebay.formats.schemas import no_rows
from forebay.formats.source import Source
from forebay.transforms.transform import Rows

_FEW = 8


def compute_unit(source: Source, plan: Plan, ordinal: int) -> pa.RecordBatch:
    """All rows of a fragment after the plan's stages, as one record batch."""
    fragment, row, made = source.fragments()[ordinal], 0, []
    for batch in source.read(fragment, columns=plan.columns, filter=plan.pushed):
        rows = Rows(sample_ids(ordinal, row, batch.num_rows))
        row += batch.num_rows
        done, _ = run_stages(plan.stages, batch, rows, on_bad="raise", tally=Tally(), file=fragment.path)
        made.append(done)
    if len(made) == 1:  # Arrow would copy it
        return made[0]
    return pa.concat_batches(made) if made else no_rows(plan.schema)


def bytes_of_a_row(source: Source, plan: Plan, ordinal: int) -> float:
    """Bytes of a row in a unit, by the first few rows of a fragment; 0 where that is not to be known so cheaply."""
    if plan.opaque:  # a function of the user's is called once for each row, and no more often
        return 0.0
    fragment = source.fragments()[ordinal]
    batch = next(iter(source.read(fragment, columns=plan.columns, filter=plan.pushed)), None)
    if batch is None:
        return 0.0
    few = batch.slice(0, _FEW)
    rows = Rows(sample_ids(ordinal, 0, few.num_rows))
    made, _ = run_stages(plan.stages, few, rows, on_bad="skip", tally=Tally(), file=fragment.path)
    return made.nbytes / made.num_rows if made.num_rows else 0.0
