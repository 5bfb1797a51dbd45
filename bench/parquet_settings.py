"""How every system that prepares data writes Parquet: as forebay's shards are, as far as its writer has the setting.

Does not import forebay, whose memory would be counted as the peers'; a test holds the numbers to those of `formats.open_shard`.
"""

from typing import Any

import pyarrow as pa

ZSTD_LEVEL = 1
PAGE_BYTES = 1 << 20
GROUP_ROWS = 65_536
"""Rows of a row group of the tables; forebay sets its own by bytes, which comes to half as many or as many."""


TEXT_GROUP_ROWS = 8_192
"""Of the documents."""


def arrow_settings(schema: pa.Schema) -> dict[str, Any]:
    """For Arrow's writer, and for systems that hand settings on to it: zstd level 1, pages of 1 MB, numbers byte by byte
    without a dictionary, statistics and page index."""
    numbers = [one.name for one in schema if pa.types.is_integer(one.type) or pa.types.is_floating(one.type)]
    return {
        "compression": "zstd",
        "compression_level": ZSTD_LEVEL,
        "use_dictionary": [one.name for one in schema if one.name not in numbers] or False,
        "column_encoding": dict.fromkeys(numbers, "BYTE_STREAM_SPLIT"),
        "data_page_size": PAGE_BYTES,
        "write_page_index": True,
    }


def polars_settings(group_rows: int = GROUP_ROWS) -> dict[str, Any]:
    """For Polars' writer, which chooses encodings itself."""
    return {
        "compression": "zstd",
        "compression_level": ZSTD_LEVEL,
        "row_group_size": group_rows,
        "data_page_size": PAGE_BYTES,
    }
