"""Checksums of the blocks of a unit: what is read is hashed on its first touch, and what is never read is never hashed."""

from collections.abc import Iterable

import xxhash

BLOCK_BYTES = 256 << 10
"""Of a unit: little beside what a picture takes, so that taking one does not hash many others; a call to hash it costs nothing
beside hashing it."""
SUM_BYTES = 16


class BlockSums:
    """Makes the table of checksums (xxh3, 128 bits) of bytes as they are written."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._made: list[bytes] = []
        self._begun = xxhash.xxh3_128()

    def update(self, data: memoryview) -> None:
        """Take in bytes."""
        at, end = 0, len(data)
        while at < end:
            filled = self.nbytes % BLOCK_BYTES
            part = data[at : at + BLOCK_BYTES - filled]
            at, self.nbytes = at + len(part), self.nbytes + len(part)
            if len(part) == BLOCK_BYTES:
                self._made.append(xxhash.xxh3_128_digest(part))
                continue
            self._begun.update(part)
            if self.nbytes % BLOCK_BYTES == 0:
                self._made.append(self._begun.digest())
                self._begun.reset()

    def table(self) -> bytes:
        """SUM_BYTES for each block, the last of which may be short."""
        rest = [self._begun.digest()] if self.nbytes % BLOCK_BYTES else []
        return b"".join([*self._made, *rest])


class BlockCheck:
    """Which blocks of a unit were found right. Thread-safe: two threads may hash the same block, which does no harm."""

    def __init__(self, table: bytes, nbytes: int) -> None:
        self._table, self.blocks = table, blocks_of(nbytes)
        self._right = bytearray(self.blocks)

    @property
    def done(self) -> bool:
        """Whether nothing is left to be looked at."""
        if 0 in self._right:
            return False
        self._table = b""  # of a terabyte it takes 64 MB
        return True

    def trust(self) -> None:
        """All of it was written here."""
        self._right[:] = b"\1" * self.blocks

    def all_right(self, payload: memoryview) -> bool:
        """Whether the whole unit hashes to what it should."""
        return self.done or self.right(payload, range(self.blocks))

    def right(self, payload: memoryview, blocks: Iterable[int]) -> bool:
        """Whether these blocks of a unit hash to what they should; those that are known to are not read again."""
        table = self._table  # another thread may drop it, when all is right
        for at in blocks if table else ():
            if not self._right[at]:
                found = xxhash.xxh3_128_digest(payload[at * BLOCK_BYTES : (at + 1) * BLOCK_BYTES])
                if found != table[at * SUM_BYTES : (at + 1) * SUM_BYTES]:
                    return False
                self._right[at] = 1
        return True


def blocks_of(nbytes: int) -> int:
    """How many blocks so many bytes have."""
    return -(-nbytes // BLOCK_BYTES)
