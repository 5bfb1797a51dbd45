"""Column types that the user names where a text file's own values would mislead."""

from collections.abc import Mapping

import pyarrow as pa

from forebay.formats.errors import SpecError


def arrow_types(types: Mapping[str, str], where: str) -> dict[str, pa.DataType]:
    """Column -> Arrow type, from its name ("int64", "string", "timestamp[us]").

    Raises:
        SpecError: Arrow has no type of that name.
    """
    found = {}
    for name, type in types.items():
        try:
            found[name] = pa.type_for_alias(type)
        except (ValueError, TypeError) as error:
            raise SpecError(
                f"{where} types: column {name!r} is {type!r}, which is no Arrow type; write int64, float32, string, "
                "bool, date32, timestamp[us], ..."
            ) from error
    return found
