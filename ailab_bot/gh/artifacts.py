"""Reads an artifact's zip, which a job that ran a pull request's code has made, wholly in memory.

Nothing is ever extracted to a disk. The reader knows one shape, the one that uploads have: plain
files under expected names, one after the other from the first byte, then the directory, then its
end record. Whatever departs from it is refused with a reason, before anything is unpacked that is
not also expected, and every size is checked against what really comes out. Python's own `zipfile`
is not used: it builds an object per member before it can be asked, and searches for an archive in
whatever surrounds it.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from ailab_bot.errors import RunnerError

#: Uncompressed bytes per compressed byte. Trials compress 5 to 15 times; deflate reaches 1,032.
MOST_RATIO = 100
#: Bytes up to which a member may be compressed more: an honest one is, where a program prints the
#: same lines in each of its failures, and so few bytes harm nobody.
ANY_RATIO_BYTES = 10 << 20

# Section numbers are those of PKWARE's APPNOTE 6.3.10.
_END = struct.Struct("<4s4H2LH")  # 4.3.16: end of central directory
_ENTRY = struct.Struct("<4s6H3L5H2L")  # 4.3.12: central directory header
_LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7: local file header
_DESCRIPTOR = struct.Struct("<3L")  # 4.3.9: data descriptor, after its optional signature
_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
_ZIP64_LOCATOR = b"PK\x06\x07"  # 4.3.15
_ZIP64_LOCATOR_BYTES = 20
_ZIP64_EXTRA = 1  # 4.5.3
_ZIP64_COUNT, _ZIP64_SIZE = 0xFFFF, 0xFFFFFFFF  # "look into the zip64 record"
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13  # 4.4.4: the general purpose flags
_SIZES_FOLLOW = 1 << 3
_PATCH = 1 << 5
_STORED, _DEFLATED = 0, 8  # 4.4.5


class ArtifactError(RunnerError):
    """An artifact that cannot be used. `why` holds the reason, one sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "an artifact was refused, and nothing in it was used",
            why=reason,
            advice="Measure again with `/ailab rerun`; if that gives the same, look at what the "
            "measuring job ran before it uploaded.",
        )


def read_zip(data: bytes, expected: Mapping[str, int]) -> dict[str, bytes]:
    """The content of every expected member; `expected` gives each name's greatest size in bytes.

    Raises ArtifactError for anything else than a zip of exactly these members. Needs memory for
    `data` and for the sizes that `expected` allows, and time in proportion to them.
    """
    start, end, count = _directory(data, len(expected))
    entries = list(_entries(data, start, end, count))
    for entry in entries:
        _check(entry, expected)
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        _refuse("It holds a member twice.")
    if missing := sorted(set(expected) - set(names)):
        _refuse(f"It lacks {missing[0]}.")
    contents = {}
    offset = 0
    for entry in sorted(entries, key=lambda each: each.offset):
        if entry.offset != offset:
            _refuse("Its members overlap, or there is something before, between or after them.")
        contents[entry.name], offset = _content(data, entry, start)
    if offset != start:
        _refuse("There is something between its last member and its directory.")
    return contents


@dataclass(frozen=True)
class _Entry:
    """What the directory says of one member. `packed` and `size` in bytes."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int
    zip64: bool


def _refuse(reason: str) -> NoReturn:
    raise ArtifactError(reason)


def _directory(data: bytes, most: int) -> tuple[int, int, int]:
    """Where the directory starts and ends, and how many members it has.

    The end record is the last 22 bytes, or it is refused: a search for it is what lets two readers
    see two archives in one file.
    """
    end = len(data) - _END.size
    if end < 0 or not data.startswith(b"PK"):
        _refuse("It is not a zip, or something stands before it.")
    signature, disk, first_disk, here, count, size, start, comment = _END.unpack_from(data, end)
    if signature != b"PK\x05\x06":
        _refuse("It is cut short, or something stands after its end.")
    locator = end - _ZIP64_LOCATOR_BYTES
    if (
        _ZIP64_COUNT in {disk, first_disk, here, count}
        or _ZIP64_SIZE in {size, start}
        or (locator >= 0 and data[locator:].startswith(_ZIP64_LOCATOR))
    ):
        _refuse("It is in the zip64 format, which only archives of more than 4 GiB need.")
    if disk or first_disk or comment or here != count:
        _refuse("It is a part of several, has a comment, or contradicts itself about its members.")
    if count > most:
        _refuse(f"It holds {count} members; {most} are expected.")
    if start + size != end:
        _refuse("Its directory is not where its end says.")
    return start, end, count


def _entries(data: bytes, start: int, end: int, count: int) -> Iterator[_Entry]:
    position = start
    for _ in range(count):
        if end - position < _ENTRY.size:
            _refuse("Its directory is damaged.")
        fields = _ENTRY.unpack_from(data, position)
        signature, _, _, flags, method, _, _, crc, packed, size = fields[:10]
        name_length, extra_length, comment_length, disk, _, attributes, offset = fields[10:]
        name_start = position + _ENTRY.size
        extra_start = name_start + name_length
        position = extra_start + extra_length + comment_length
        if signature != b"PK\x01\x02" or position > end or disk:
            _refuse("Its directory is damaged.")
        extra = data[extra_start : extra_start + extra_length]
        yield _Entry(
            name=data[name_start:extra_start].decode("utf-8", "replace"),
            flags=flags,
            method=method,
            crc=crc,
            packed=packed,
            size=size,
            offset=offset,
            mode=attributes >> 16,  # whoever made it: a file's kind is there or nowhere
            zip64=_ZIP64_SIZE in {packed, size, offset} or _has_zip64(extra),
        )
    if position != end:
        _refuse("Its directory holds more than its end says.")


def _has_zip64(extra: bytes) -> bool:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == _ZIP64_EXTRA:
            return True
        position += 4 + length
    return False


def _check(entry: _Entry, expected: Mapping[str, int]) -> None:
    """Refuse what the directory itself gives away, before any of its content is looked at."""
    shown = repr(entry.name)[:80]
    parts = entry.name.split("/")
    if "\\" in entry.name or ":" in entry.name or entry.name.startswith("/") or ".." in parts:
        _refuse(f"It holds a member whose name leads elsewhere: {shown}.")
    if stat.S_IFMT(entry.mode) not in {0, stat.S_IFREG}:
        _refuse(f"Its member {shown} is no plain file.")
    if entry.name not in expected:
        _refuse(f"It holds a member that is not expected: {shown}.")
    if entry.zip64:
        _refuse(f"Its member {shown} is in the zip64 format, which only files over 4 GiB need.")
    if entry.flags & _ENCRYPTED:
        _refuse(f"Its member {shown} is encrypted.")
    if entry.method not in {_STORED, _DEFLATED} or entry.flags & _PATCH:
        _refuse(f"Its member {shown} is compressed in an unknown way ({entry.method}).")
    if entry.size > expected[entry.name]:
        _refuse(f"Its member {shown} has {entry.size} bytes; {expected[entry.name]} are allowed.")
    if entry.size > max(ANY_RATIO_BYTES, MOST_RATIO * entry.packed):
        _refuse(f"Its member {shown} is compressed more than {MOST_RATIO} times.")
    if entry.method == _STORED and entry.size != entry.packed:
        _refuse(f"Its member {shown} gives a false size.")


def _content(data: bytes, entry: _Entry, end: int) -> tuple[bytes, int]:
    """The member's content, and where the next one must start. `end`: of all members."""
    shown = repr(entry.name)[:80]
    header = data[entry.offset : min(entry.offset + _LOCAL.size, end)]
    if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
        _refuse(f"Its member {shown} is not where the directory says.")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
    name_start = entry.offset + _LOCAL.size
    name_end = name_start + name_length
    packed_start = name_end + extra_length
    packed_end = packed_start + entry.packed
    if packed_end > end:
        _refuse(f"Its member {shown} reaches into the directory.")
    same = (flags, method, data[name_start:name_end]) == (
        *(entry.flags, entry.method),
        entry.name.encode("utf-8"),
    )
    told = {(entry.crc, entry.packed, entry.size)}
    if entry.flags & _SIZES_FOLLOW:
        told.add((0, 0, 0))
    if not same or (crc, packed, size) not in told or _has_zip64(data[name_end:packed_start]):
        _refuse(f"Its member {shown} and the directory contradict each other.")
    content = _unpacked(data[packed_start:packed_end], entry)
    if len(content) != entry.size or zlib.crc32(content) != entry.crc:
        _refuse(f"Its member {shown} gives a false size or check sum.")
    if entry.flags & _SIZES_FOLLOW:
        if data.startswith(_DESCRIPTOR_SIGNATURE, packed_end):
            packed_end += len(_DESCRIPTOR_SIGNATURE)
        descriptor = data[packed_end : packed_end + _DESCRIPTOR.size]
        if descriptor != _DESCRIPTOR.pack(entry.crc, entry.packed, entry.size):
            _refuse(f"Its member {shown} gives other sizes at its end.")
        packed_end += _DESCRIPTOR.size
    return content, packed_end


def _unpacked(packed: bytes, entry: _Entry) -> bytes:
    """Never more than one byte above the size that the directory gives."""
    if entry.method == _STORED:
        return packed
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(packed, entry.size + 1)
    except zlib.error:
        _refuse(f"Its member {entry.name!r:.80} is damaged.")
    if not unpacker.eof or unpacker.unused_data:
        _refuse(f"Its member {entry.name!r:.80} is damaged or gives a false size.")
    return content
