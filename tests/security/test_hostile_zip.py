"""Number 10 of the nineteen: a hostile zip is refused with its reason, before it is unpacked."""

from __future__ import annotations

import base64
import io
import random
import resource
import stat
import struct
import subprocess
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_bot.errors import AilabError
from ailab_bot.gh.artifacts import ANY_RATIO_BYTES, ArtifactError, read_zip

EXPECTED = {"shard.json": 1000, "trials.jsonl": 2 * ANY_RATIO_BYTES}
SHARD = b'{"index": 0}\n'
TRIALS = b'{"schema": 1, "block": 1}\n{"schema": 1, "block": 2}\n{"schema": 1, "block": 3}\n'

#: What npm's archiver 7.0.1 writes, which actions/upload-artifact uses, for these two files read
#: from streams, at its levels 6 and 0: sizes follow the members.
UPLOADED_6 = (
    "UEsDBBQACAAIAEJBeV0AAAAAAAAAAAAAAAAKAAAAc2hhcmQuanNvbqtWysxLSa1QslIwqOUCAFBLBwiWHB9bDwAAAA0A"
    "AABQSwMEFAAIAAgAQkF5XQAAAAAAAAAAAAAAAAwAAAB0cmlhbHMuanNvbmyrVipOzkjNTVSyUjDUUVBKyslPzgaxa7mq"
    "scsY4ZQxruUCAFBLBwjSJmc4IwAAAE4AAABQSwECLQMUAAgACABCQXldlhwfWw8AAAANAAAACgAAAAAAAAAAACAApIEA"
    "AAAAc2hhcmQuanNvblBLAQItAxQACAAIAEJBeV3SJmc4IwAAAE4AAAAMAAAAAAAAAAAAIACkgUcAAAB0cmlhbHMuanNv"
    "bmxQSwUGAAAAAAIAAgByAAAApAAAAAAA"
)
UPLOADED_0 = (
    "UEsDBBQACAAAAEJBeV0AAAAAAAAAAAAAAAAKAAAAc2hhcmQuanNvbnsiaW5kZXgiOiAwfQpQSwcIlhwfWw0AAAANAAAA"
    "UEsDBBQACAAAAEJBeV0AAAAAAAAAAAAAAAAMAAAAdHJpYWxzLmpzb25seyJzY2hlbWEiOiAxLCAiYmxvY2siOiAxfQp7"
    "InNjaGVtYSI6IDEsICJibG9jayI6IDJ9Cnsic2NoZW1hIjogMSwgImJsb2NrIjogM30KUEsHCNImZzhOAAAATgAAAFBL"
    "AQItAxQACAAAAEJBeV2WHB9bDQAAAA0AAAAKAAAAAAAAAAAAIACkgQAAAABzaGFyZC5qc29uUEsBAi0DFAAIAAAAQkF5"
    "XdImZzhOAAAATgAAAAwAAAAAAAAAAAAgAKSBRQAAAHRyaWFscy5qc29ubFBLBQYAAAAAAgACAHIAAADNAAAAAAA="
)


@dataclass
class Member:
    """One member, and how its records are to lie. None: the truth."""

    name: str
    content: bytes = b"{}"
    method: int = 8
    flags: int = 0
    mode: int = 0o100644
    size: int | None = None
    packed_size: int | None = None
    crc: int | None = None
    local_name: str | None = None
    local_size: int | None = None
    descriptor: tuple[int, int, int] | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    offset: int | None = None
    tail: bytes = b""


def pack(*members: Member, count: int | None = None, comment: bytes = b"", end_extra: int = 0,
         before_end: bytes = b"", repeat: int = 1) -> bytes:  # fmt: skip
    """A zip with exactly these records, true or not."""
    body, directory = b"", b""
    for member in members:
        name = member.name.encode()
        local_name = (member.local_name or member.name).encode()
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = member.content
        if member.method == 8:
            packed = packer.compress(member.content) + packer.flush()
        packed += member.tail
        size = len(member.content) if member.size is None else member.size
        packed_size = len(packed) if member.packed_size is None else member.packed_size
        crc = zlib.crc32(member.content) if member.crc is None else member.crc
        sizes = (crc, packed_size, size if member.local_size is None else member.local_size)
        if member.flags & 8:
            sizes = (0, 0, 0)
        offset = len(body) if member.offset is None else member.offset
        body += struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, member.flags, member.method, 0, 0,
                            *sizes, len(local_name), len(member.local_extra))  # fmt: skip
        body += local_name + member.local_extra + packed
        if member.flags & 8:
            body += b"PK\x07\x08"
            body += struct.pack("<3L", *(member.descriptor or (crc, packed_size, size)))
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 0x0314, 20, member.flags, member.method, 0, 0,
            crc, packed_size, size, len(name), len(member.extra), 0, 0, 0, member.mode << 16,
            offset,
        ) + name + member.extra  # fmt: skip
    directory *= repeat
    number = len(members) if count is None else count
    return (
        body + directory + before_end
        + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(directory),
                      len(body) + end_extra, len(comment))
        + comment
    )  # fmt: skip


GOOD = (Member("shard.json", SHARD), Member("trials.jsonl", TRIALS))
CONTENT = {"shard.json": SHARD, "trials.jsonl": TRIALS}


def with_shard(**changes: object) -> bytes:
    return pack(Member(**{"name": "shard.json", "content": SHARD, **changes}), GOOD[1])  # type: ignore[arg-type]


def zipped(*names: str) -> bytes:
    """By Python's own writer."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a duplicate name
        for name in names:
            archive.writestr(name, b"{}")
    return file.getvalue()


def symlink() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("shard.json")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("trials.jsonl", b"{}")
    return file.getvalue()


def python_zip64() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in EXPECTED:
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(b"{}")
    return file.getvalue()


ZIP64 = struct.pack("<2H2Q", 1, 16, len(SHARD), len(SHARD))
GOOD_ZIP = pack(*GOOD)

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "parent folder": (lambda: zipped("../shard.json", "trials.jsonl"), "leads elsewhere"),
    "parent folder inside": (lambda: zipped("a/../shard.json", "trials.jsonl"), "leads elsewhere"),
    "absolute": (lambda: zipped("/shard.json", "trials.jsonl"), "leads elsewhere"),
    "backslash": (lambda: pack(Member("..\\shard.json"), GOOD[1]), "leads elsewhere"),
    "drive": (lambda: pack(Member("C:shard.json"), GOOD[1]), "leads elsewhere"),
    "symlink": (symlink, "no plain file"),
    "device": (lambda: with_shard(mode=stat.S_IFCHR | 0o644), "no plain file"),
    "a folder": (lambda: zipped("shard.json/", "trials.jsonl"), "no plain file"),
    "a folder without a kind": (lambda: pack(Member("shard.json/"), GOOD[1]), "not expected"),
    "in a folder": (lambda: zipped("a/shard.json", "trials.jsonl"), "not expected"),
    "upper case": (lambda: zipped("SHARD.JSON", "trials.jsonl"), "not expected"),
    "name with an end": (lambda: pack(Member("shard.json\0.sh"), GOOD[1]), "not expected"),
    "name that is no text": (
        lambda: GOOD_ZIP.replace(b"shard.json", b"shard.js\xff\xfe"),
        "not expected",
    ),
    "duplicate": (lambda: zipped("shard.json", "shard.json"), "a member twice"),
    "one too many": (
        lambda: zipped("a", "shard.json", "trials.jsonl"),
        "3 members; 2 are",
    ),
    "one too few": (lambda: zipped("shard.json"), "lacks trials.jsonl"),
    "none": (zipped, "lacks shard.json"),
    "100,000 members": (lambda: pack(Member("a"), repeat=100_000, count=0xFFFF), "zip64"),
    "60,000 members": (lambda: pack(Member("a"), repeat=60_000, count=60_000), "60000 members"),
    "100,000 members, said to be 2": (
        lambda: pack(Member("shard.json"), repeat=100_000, count=2),
        "more than its end says",
    ),
    "2 members, said to be 1": (lambda: pack(*GOOD, count=1), "more than its end says"),
    "ratio": (
        lambda: pack(GOOD[0], Member("trials.jsonl", b"\0" * (ANY_RATIO_BYTES + 1))),
        "100 times",
    ),
    "too large": (lambda: with_shard(content=random.Random(1).randbytes(1001)), "1000 are allowed"),
    "says less than it is": (lambda: with_shard(size=5), "false size"),
    "says more than it is": (lambda: with_shard(size=500), "false size"),
    "says nothing": (lambda: with_shard(size=0), "false size"),
    "a bomb that says little": (
        lambda: with_shard(content=b"\0" * 10_000_000, size=900),
        "false size",
    ),
    "stored, says less": (lambda: with_shard(method=0, size=5), "false size"),
    "packed size too small": (lambda: with_shard(packed_size=5), "damaged|false size"),
    "packed size into the next": (lambda: with_shard(packed_size=40), "false size|overlap|damaged"),
    "packed size beyond the end": (lambda: with_shard(packed_size=900), "reaches into"),
    "false check sum": (lambda: with_shard(crc=1), "check sum"),
    "other sizes inside": (lambda: with_shard(local_size=3), "contradict"),
    "other name inside": (lambda: with_shard(local_name="../../sh.d"), "contradict"),
    "other sizes at the end": (lambda: with_shard(flags=8, descriptor=(1, 2, 3)), "at its end"),
    "rubbish after a member": (lambda: with_shard(tail=b"rubbish"), "false size"),
    "overlapping": (
        lambda: pack(GOOD[0], Member("trials.jsonl", local_name="shard.json", offset=0)),
        "overlap|contradict",
    ),
    "starts after the end": (lambda: with_shard(offset=5000), "overlap"),
    "starts in the directory": (lambda: with_shard(offset=len(GOOD_ZIP) - 30), "overlap"),
    "encrypted": (lambda: with_shard(flags=1), "encrypted"),
    "strongly encrypted": (lambda: with_shard(flags=0x41), "encrypted"),
    "masked": (lambda: with_shard(flags=1 << 13), "encrypted"),
    "bzip2": (lambda: with_shard(method=12), "unknown way"),
    "zstandard": (lambda: with_shard(method=93), "unknown way"),
    "patch data": (lambda: with_shard(flags=1 << 5), "unknown way"),
    "damaged": (lambda: GOOD_ZIP[:45] + b"\xff\xff\xff\xff" + GOOD_ZIP[49:], "damaged|check sum"),
    "zip64 by Python": (python_zip64, "zip64|contradict"),
    "zip64 sizes": (lambda: with_shard(size=0xFFFFFFFF, extra=ZIP64), "zip64"),
    "zip64 beside sizes": (lambda: with_shard(extra=ZIP64), "zip64"),
    "zip64 inside only": (lambda: with_shard(local_extra=ZIP64), "contradict"),
    "zip64 locator": (
        lambda: pack(*GOOD, before_end=struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)),
        "zip64",
    ),
    "zip64 count": (lambda: pack(*GOOD, count=0xFFFF), "zip64"),
    "prepended": (lambda: b"#!/bin/sh\nrm -rf /\n" + GOOD_ZIP, "something stands before"),
    "prepended zip": (lambda: pack(Member("a")) + GOOD_ZIP, "directory is not where"),
    "prepended and adjusted": (
        lambda: pack(Member("a", b"x" * 90, method=0))[:121] + GOOD_ZIP,
        "not where its end says|not a zip",
    ),
    "gap before the directory": (lambda: pack(*GOOD, end_extra=4), "not where its end says"),
    "data between members": (
        lambda: pack(Member("trials.jsonl", offset=40), Member("shard.json", offset=0)),
        "contradict|not where|overlap|damaged",
    ),
    "appended": (lambda: GOOD_ZIP + b"rubbish", "after its end"),
    "comment": (lambda: pack(*GOOD, comment=b"hello"), "after its end"),
    "comment with an end of its own": (
        lambda: pack(*GOOD, comment=pack(Member("evil"))),
        "not where its end says|members",
    ),
    "cut short": (lambda: GOOD_ZIP[:-1], "cut short"),
    "cut in the middle": (lambda: GOOD_ZIP[:100], "cut short"),
    "nothing": (lambda: b"", "not a zip"),
    "a page": (lambda: b"<html>502 Bad Gateway</html>", "not a zip"),
    "only an end": (pack, "lacks shard.json"),
    "second disk": (lambda: GOOD_ZIP[:-18] + b"\1\0" + GOOD_ZIP[-16:], "a part of several"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_zip_is_refused_with_a_sentence(name: str) -> None:
    make, reason = HOSTILE[name]
    data = make()
    started = time.process_time()
    with pytest.raises(ArtifactError) as caught:
        read_zip(data, EXPECTED)
    assert time.process_time() - started < 0.5
    assert any(word in caught.value.why for word in reason.split("|")), caught.value.why
    assert caught.value.why.endswith(".")
    assert len(caught.value.why) < 200
    assert caught.value.advice
    assert isinstance(caught.value, AilabError)


def test_what_uploads_look_like_is_read() -> None:
    for text in (UPLOADED_6, UPLOADED_0):
        assert read_zip(base64.b64decode(text), EXPECTED) == CONTENT
    assert read_zip(GOOD_ZIP, EXPECTED) == CONTENT
    assert read_zip(pack(*reversed(GOOD)), EXPECTED) == CONTENT
    assert read_zip(with_shard(flags=8), EXPECTED) == CONTENT
    assert read_zip(with_shard(content=b""), EXPECTED)["shard.json"] == b""
    assert set(read_zip(zipped("shard.json", "trials.jsonl"), EXPECTED)) == set(EXPECTED)


def test_a_member_may_be_as_large_as_allowed_and_not_a_byte_larger() -> None:
    content = random.Random(2).randbytes(1000)
    assert read_zip(with_shard(content=content), EXPECTED)["shard.json"] == content
    with pytest.raises(ArtifactError, match="refused"):
        read_zip(with_shard(content=content), EXPECTED | {"shard.json": 999})


def test_a_small_member_may_repeat_itself() -> None:
    """A program that prints one line again and again before it crashes is no bomb."""
    content = b"0.0000e+00, " * 50_000
    found = read_zip(pack(GOOD[0], Member("trials.jsonl", content)), EXPECTED)
    assert found["trials.jsonl"] == content


def test_no_change_of_a_byte_smuggles_in_other_content() -> None:
    """Each single byte of a good zip is changed: content stays what it was, or all is refused."""
    for data in (GOOD_ZIP, base64.b64decode(UPLOADED_6)):
        refused = 0
        for index in range(len(data)):
            changed = bytearray(data)
            changed[index] ^= 0xFF
            try:
                assert read_zip(bytes(changed), EXPECTED) == CONTENT
            except ArtifactError:
                refused += 1
        assert refused > len(data) / 2  # the others are dates, versions and attributes


@given(st.binary(max_size=300) | st.binary(max_size=40).map(lambda part: GOOD_ZIP[:60] + part))
def test_any_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        read_zip(data, EXPECTED)


@given(st.integers(0, len(GOOD_ZIP)), st.integers(0, len(GOOD_ZIP)), st.binary(max_size=8))
def test_cuts_and_insertions_never_give_other_content(first: int, last: int, new: bytes) -> None:
    data = GOOD_ZIP[:first] + new + GOOD_ZIP[last:]
    try:
        assert read_zip(data, EXPECTED) == CONTENT
    except ArtifactError as error:
        assert error.why  # noqa: PT017 - either is right


def test_a_bomb_takes_no_more_memory_than_is_allowed(tmp_path: Path) -> None:
    """A gigabyte of zeros that claims to be 90,000 bytes, read by a process with 400 MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(1024)) + packer.flush()
    bomb = pack(
        Member("shard.json", packed, method=0), Member("t", TRIALS)
    ).replace(struct.pack("<HHH", 20, 0, 0), struct.pack("<HHH", 20, 0, 8))  # fmt: skip
    path = tmp_path / "bomb.zip"
    path.write_bytes(bomb.replace(struct.pack("<L", len(packed)) * 2,
                                  struct.pack("<LL", len(packed), 90_000)))  # fmt: skip
    code = (
        "import sys; from pathlib import Path\n"
        "from ailab_bot.gh.artifacts import ArtifactError, read_zip\n"
        "try: read_zip(Path(sys.argv[1]).read_bytes(), {'shard.json': 90000, 't': 99})\n"
        "except ArtifactError as error: print(error.why)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20)),
    )
    assert "false size" in result.stdout
