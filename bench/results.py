"""Results on disk: one line of JSON for each thing measured, so that a run that was stopped goes on where it was."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["machine", "absent", "prepare", "check", "time"]


@dataclass(slots=True)
class Results:
    """The records of a directory: `results.jsonl`."""

    directory: Path
    records: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(cls, directory: Path) -> "Results":
        """The directory's results; a last line that was cut off is left out."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "results.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return cls(directory, [json.loads(line) for line in lines if line.endswith("}")])

    def forget_times(self, workloads: Collection[str], *, quick: bool) -> None:
        """Drop what was timed of these workloads, to measure them anew; other workloads and checks stay."""
        self.records = [
            one
            for one in self.records
            if one["kind"] not in ("time", "absent") or one["workload"] not in workloads or one["quick"] != quick
        ]
        text = "".join(json.dumps(one) + "\n" for one in self.records)
        part = self.directory / "results.jsonl.part"
        part.write_text(text)
        part.replace(self.directory / "results.jsonl")

    def add(self, kind: Kind, **values: Any) -> None:
        """Keep a record, on disk at once."""
        record = {"kind": kind, **values}
        self.records.append(record)
        with open(self.directory / "results.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def of(self, kind: Kind, **values: Any) -> list[dict[str, Any]]:
        """The records of a kind that have these values."""
        wanted = {"kind": kind, **values}.items()
        return [one for one in self.records if all(one.get(key) == value for key, value in wanted)]

    def machines(self, *, quick: bool) -> list[dict[str, Any]]:
        """Where and when the workloads were measured: for each of them its last record, each record once."""
        last: dict[str, dict[str, Any]] = {}
        for record in self.of("machine", quick=quick):
            for workload in record["workloads"]:
                last[workload] = record
        found: list[dict[str, Any]] = []
        for workload, record in last.items():
            same = next((one for one in found if one["time"] == record["time"]), None)
            if same is None:
                found.append({**record, "workloads": [workload]})
            else:
                same["workloads"].append(workload)
        return found
