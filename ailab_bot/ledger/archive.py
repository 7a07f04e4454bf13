"""Parts of the archive: many records in one compressed file, a line each, as they lay loose.

The same records give the same bytes and so the same name. Refuses to unpack more than a part may
hold: what compresses well may be made to fill the memory.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator

from ailab_bot.ledger.places import ARCHIVE, Place
from ailab_bot.ledger.records import LARGEST_BYTES, Kind, NotARecordError, Skip

#: What a part holds at the most, unpacked: it is made and read in memory. GitHub warns of files
#: above 50 MiB, and this packs to a tenth.
MOST_RECORDS = 50_000
MOST_BYTES = 64 << 20
#: Packed: above it nothing of ours is.
LARGEST_PACKED_BYTES = 32 << 20
_LEVEL = 6


def pack(lines: Iterable[bytes]) -> bytes:
    """Lines, each with its end, as gzip without a name or a time."""
    out = io.BytesIO()
    with gzip.GzipFile("", "wb", _LEVEL, out, mtime=0) as file:
        file.writelines(lines)
    return out.getvalue()


def part_place(kind: Kind | str, year: str, first_day: str, packed: bytes) -> Place:
    """Where a part lies: by kind, year and its first record's day, told apart by its content."""
    return (
        ARCHIVE,
        str(kind),
        year,
        f"{first_day}-{hashlib.sha256(packed).hexdigest()[:16]}.jsonl.gz",
    )


def unpack(packed: bytes) -> Iterator[bytes]:
    """The lines. NotARecordError where it is no such file, is cut off or unpacks to too much."""
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(packed, MOST_BYTES + LARGEST_BYTES)
    except zlib.error as error:
        raise NotARecordError(Skip.DAMAGED, f"not gzip: {error}") from None
    if not stream.eof or stream.unconsumed_tail:
        skip = Skip.LARGE if stream.unconsumed_tail else Skip.DAMAGED
        raise NotARecordError(skip, "it is cut off, or holds more than a part may")
    yield from io.BytesIO(data)
