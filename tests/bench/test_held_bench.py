"""What loaders hold is told kind by kind, and the kinds add up to what the tree holds."""

import mmap
import os

from forebay.bench.held import main
from forebay.bench.held_mappings import KINDS, held_by_kind
from forebay.bench.process_tree import memory


def test_kinds_add_up_to_the_whole_and_each_is_told_apart(tmp_path):
    before = held_by_kind(os.getpid())
    (tmp_path / "data").write_bytes(bytes(3 << 20))
    with open(tmp_path / "data", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        memfd = os.memfd_create("shared")
        os.truncate(memfd, 5 << 20)
        with mmap.mmap(memfd, 5 << 20) as shared, mmap.mmap(-1, 7 << 20, flags=mmap.MAP_PRIVATE) as anonymous:
            assert sum(mapped[:: mmap.PAGESIZE]) == 0
            for one in (shared, anonymous):
                one[:] = b"x" * len(one)
            after, held = held_by_kind(os.getpid()), memory(os.getpid())
        os.close(memfd)
    grown = {kind: after[kind] - before[kind] for kind in KINDS}
    assert grown["data files"] >= 3 << 20 and grown["shared memory"] == 5 << 20 and grown["large anonymous"] >= 7 << 20
    assert abs(sum(after.values()) - held.pss) < held.pss / 50


def test_loaders_are_taken_apart_side_by_side(capsys):
    found = main(["python", "--quick", "--seconds", "0.2", "--against", "torch"])
    assert list(found) == ["forebay, 2 workers", "torch, 2 workers"]
    for one in found.values():
        assert one["PSS"] > one["without files"] > 0 and one["first batch s"] > 0
        assert one["torch, code"] > 0 and one["heap"] > 0
    assert "| without files |" in capsys.readouterr().out
