"""Records in columns: the layout of Batch.inline (frame.proto)."""

import struct
from dataclasses import dataclass, replace

from weir.plugin.v1 import frame_pb2

ABSENT = frame_pb2.Column.ENCODING_ABSENT
CONSTANT = frame_pb2.Column.ENCODING_CONSTANT
PER_RECORD = frame_pb2.Column.ENCODING_PER_RECORD

NO_TIME = -(1 << 63)
MAX_RECORDS = 4_194_304
NULL_LENGTH = 0xFFFFFFFF


class BatchError(Exception):
    """The bytes are no batch. They come from another process: nothing in them is
    believed unchecked."""


@dataclass(slots=True)
class Record:
    """None is null, b"" is empty. A time is nanoseconds since the Unix epoch."""

    key: bytes | None = None
    value: bytes | None = None
    time: int | None = None
    headers: list[tuple[str, bytes | None]] | tuple = ()
    split: str = ""  # where it comes from; empty is unknown
    ordinal: int = 0

    def with_value(self, value: bytes | None) -> "Record":
        return replace(self, value=value)

    def size(self) -> int:
        headers = sum(8 + len(name.encode()) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


class _Reader:
    """Takes a payload apart, front to back."""

    def __init__(self, payload: bytes):
        self.payload, self.at = payload, 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.payload):
            raise BatchError(f"the payload has {len(self.payload)} bytes, and {end} are described")
        taken = self.payload[self.at : end]
        self.at = end
        return taken


def _cells(r: _Reader, column: frame_pb2.Column, n: int, name: str) -> list[bytes | None]:
    """Reads a column of bytes."""
    if column.encoding == ABSENT:
        return [None] * n
    data = r.take(column.data_length)
    if column.encoding == CONSTANT:
        return [data] * n
    if column.encoding != PER_RECORD:
        raise BatchError(f"column {name} has the unknown encoding {column.encoding}")
    ends = struct.unpack(f"<{n}I", r.take(4 * n))
    cells: list[bytes | None] = []
    start = 0
    for end in ends:
        if end < start or end > len(data):
            raise BatchError(f"column {name}: a record ends at {end}, which is before {start} or behind {len(data)}")
        cells.append(data[start:end])
        start = end
    if start != len(data):
        raise BatchError(f"column {name}: the last record ends at {start} of {len(data)}")
    if column.has_nulls:
        nulls = r.take((n + 7) // 8)
        for i in range(n):
            if nulls[i // 8] >> (i % 8) & 1:
                if cells[i]:
                    raise BatchError(f"column {name}: record {i} is null and has bytes")
                cells[i] = None
    return cells


def _times(r: _Reader, column: frame_pb2.Column, n: int) -> list[int | None]:
    if column.encoding == ABSENT:
        return [None] * n
    count = 1 if column.encoding == CONSTANT else n
    if column.data_length != 8 * count:
        raise BatchError(f"column time has {column.data_length} bytes for {count} times")
    times = [None if t == NO_TIME else t for t in struct.unpack(f"<{count}q", r.take(8 * count))]
    return times * n if column.encoding == CONSTANT else times


def _headers(cell: bytes | None) -> list[tuple[str, bytes | None]]:
    headers: list[tuple[str, bytes | None]] = []
    r = _Reader(cell or b"")
    while r.at < len(r.payload):
        name = r.take(struct.unpack("<I", r.take(4))[0])
        (length,) = struct.unpack("<I", r.take(4))
        headers.append((name.decode("utf-8", "surrogateescape"), None if length == NULL_LENGTH else r.take(length)))
    return headers


def decode(batch: frame_pb2.Batch) -> list[Record]:
    n = batch.records
    if not 1 <= n <= MAX_RECORDS:
        raise BatchError(f"a batch of {n} records")
    if batch.WhichOneof("payload") == "segment":
        raise BatchError("a payload in a shared segment, which this plugin does not claim")
    r = _Reader(batch.inline)
    keys = _cells(r, batch.key, n, "key")
    values = _cells(r, batch.value, n, "value")
    times = _times(r, batch.time, n)
    headers = _cells(r, batch.headers, n, "headers")
    records = [Record(k, v, t, _headers(h)) for k, v, t, h in zip(keys, values, times, headers)]
    i = 0
    for _ in range(batch.origin.run_count):
        split, count, first, step = struct.unpack("<IIqq", r.take(24))
        if split >= len(batch.origin.splits) or count > n - i:
            raise BatchError(f"an origin run of {count} records of split {split}")
        for k in range(count):
            records[i].split, records[i].ordinal = batch.origin.splits[split], first + k * step
            i += 1
    if r.at != len(r.payload) or batch.origin.run_count and i != n:
        raise BatchError(f"{r.at} of {len(r.payload)} bytes and {i} of {n} origins are described")
    return records


def _column(cells: list[bytes | None], payload: list[bytes]) -> frame_pb2.Column:
    n = len(cells)
    if all(c is None for c in cells):
        return frame_pb2.Column(encoding=ABSENT)
    data = b"".join(c or b"" for c in cells)
    ends, end = [], 0
    for c in cells:
        end += len(c or b"")
        ends.append(end)
    payload += [data, struct.pack(f"<{n}I", *ends)]
    has_nulls = None in cells
    if has_nulls:
        nulls = bytearray((n + 7) // 8)
        for i, c in enumerate(cells):
            if c is None:
                nulls[i // 8] |= 1 << (i % 8)
        payload.append(bytes(nulls))
    return frame_pb2.Column(encoding=PER_RECORD, data_length=len(data), has_nulls=has_nulls)


def _packed(headers) -> bytes | None:
    if not headers:
        return None
    out = []
    for name, value in headers:
        raw = name.encode("utf-8", "surrogateescape")
        out += [struct.pack("<I", len(raw)), raw]
        out += [struct.pack("<I", NULL_LENGTH)] if value is None else [struct.pack("<I", len(value)), value]
    return b"".join(out)


def encode(records: list[Record], origin: bool) -> frame_pb2.Batch:
    """Makes a batch; with origin its records say where they come from."""
    n = len(records)
    payload: list[bytes] = []
    batch = frame_pb2.Batch(records=n)
    batch.key.CopyFrom(_column([r.key for r in records], payload))
    batch.value.CopyFrom(_column([r.value for r in records], payload))
    if any(r.time is not None for r in records):
        payload.append(struct.pack(f"<{n}q", *(NO_TIME if r.time is None else r.time for r in records)))
        batch.time.CopyFrom(frame_pb2.Column(encoding=PER_RECORD, data_length=8 * n))
    batch.headers.CopyFrom(_column([_packed(r.headers) for r in records], payload))
    if origin:
        _origins(records, batch, payload)
    batch.inline = b"".join(payload)
    return batch


def _origins(records: list[Record], batch: frame_pb2.Batch, payload: list[bytes]) -> None:
    splits: dict[str, int] = {}
    runs: list[list[int]] = []  # split, count, first ordinal, step
    for r in records:
        split = splits.setdefault(r.split, len(splits))
        last = runs[-1] if runs else None
        if last and last[0] == split and last[1] == 1:
            last[1], last[3] = 2, r.ordinal - last[2]
        elif last and last[0] == split and r.ordinal == last[2] + last[1] * last[3]:
            last[1] += 1
        else:
            runs.append([split, 1, r.ordinal, 1])
    batch.origin.CopyFrom(frame_pb2.Origin(splits=list(splits), run_count=len(runs)))
    payload += [struct.pack("<IIqq", *run) for run in runs]


def cut(records: list[Record], limit: int) -> list[list[Record]]:
    """Divides records into batches of about limit bytes; a larger record is alone."""
    batches: list[list[Record]] = []
    size = 0
    for r in records:
        s = r.size()
        if not batches or size + s > limit or len(batches[-1]) == MAX_RECORDS:
            batches.append([])
            size = 0
        batches[-1].append(r)
        size += s
    return batches
