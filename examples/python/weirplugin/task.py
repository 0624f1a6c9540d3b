"""One task: Control carries its life, Run its data (docs/protocol.md, 3 and 4)."""

import asyncio
import threading
import time

from google.protobuf import duration_pb2

from weir.plugin.v1 import control_pb2, frame_pb2, manifest_pb2, task_pb2

from . import batch, parameters
from .component import Fatal, Owner, RecordError, Retry, Spec, TaskInfo
from .failures import Failures

TICK = 1.0  # seconds between two reports


def wire_error(error: Exception, secrets: parameters.Secrets) -> task_pb2.Error:
    """An error as it crosses the process boundary: with its class, without secrets."""
    kind = task_pb2.Error.CLASS_UNMARKED
    if isinstance(error, Fatal):
        kind = task_pb2.Error.CLASS_FATAL
    elif isinstance(error, Retry):
        kind = task_pb2.Error.CLASS_RETRY
    return task_pb2.Error(**{"class": kind}, message=secrets.hidden(f"{error}") or type(error).__name__)


class Task:
    """Lives from Open to Closed. All of its methods run on the event loop; what the
    component does runs on one thread at a time, so that the loop always answers."""

    def __init__(self, open_: control_pb2.Open, spec: Spec):
        self.open, self.spec = open_, spec
        self.member = open_.chain[0]
        self.secrets = parameters.Secrets(spec, self.member.config, list(self.member.secret_paths))
        self.ports = {o.output: i for i, o in enumerate(self.member.outputs)}
        self.outbox: asyncio.Queue[control_pb2.ControlResponse] = asyncio.Queue()
        self.ready = False  # Opened was said
        self.attached = False
        self.ended = asyncio.Event()  # nothing more is processed
        self.stopped = threading.Event()  # the same for the component's thread
        self.calls = asyncio.Lock()
        self.component = None
        self.heard = time.monotonic()
        self.passed = 0  # the last barrier that was passed on
        self.changed = self.halted = False
        self.report = control_pb2.ComponentReport()
        self.busy = self.blocked = 0.0
        self.reported = b""
        timeout = open_.checkpoint_timeout
        self.failures = Failures(
            self.member.on_failure, self.member.node, open_.limits.max_record_bytes,
            (timeout.seconds + timeout.nanos / 1e9) / 2 or 30.0,
        )

    # ---- Control ----

    async def control(self, requests, write) -> None:
        """Carries the stream until the task is closed. It never waits for data."""
        receiving = asyncio.create_task(self._receive(requests))
        lease = self.open.lease.seconds + self.open.lease.nanos / 1e9
        tick = time.monotonic() + TICK
        try:
            while True:
                try:
                    response = await asyncio.wait_for(self.outbox.get(), tick - time.monotonic())
                except asyncio.TimeoutError:
                    tick = time.monotonic() + TICK
                    if lease and time.monotonic() - self.heard > lease:
                        asyncio.create_task(self.close())
                    self._report()
                    continue
                await write(response)
                if response.WhichOneof("kind") == "closed":
                    return
        finally:
            receiving.cancel()
            await self.close()

    async def _receive(self, requests) -> None:
        async for request in requests:
            self.heard = time.monotonic()
            match request.WhichOneof("kind"):
                case "restored":
                    asyncio.create_task(self._open())
                case "close":
                    asyncio.create_task(self.close())
        # The stream has ended, and with it the task.
        await self.close()

    async def _open(self) -> None:
        try:
            config, faults = parameters.read(self.spec, self.member.config)
            if faults:
                raise Fatal("; ".join(f"{f.path}: {f.message}" for f in faults))
            owner = Owner(self.open.task.uid, self.member.node, self.open.task.epoch)
            info = TaskInfo(owner, self.open.task.index, self.open.parallelism)
            self.component = await self._call(self.spec.open, config, info)
        except Exception as error:
            await self.fail(error)
            return
        self.ready = True
        self._say(opened=control_pb2.Opened())

    async def fail(self, error: Exception) -> None:
        if not self.ended.is_set():
            self._say(failed=control_pb2.Failed(error=wire_error(error, self.secrets)))
        await self.close()

    async def close(self) -> None:
        """Ends the task at once: nothing is flushed."""
        if self.ended.is_set():
            return
        self.ended.set()
        self.stopped.set()
        async with self.calls:
            if self.component is not None:
                await asyncio.to_thread(self.component.close)
        self._report()
        self._say(closed=control_pb2.Closed())

    def _say(self, **kind) -> None:
        self.outbox.put_nowait(control_pb2.ControlResponse(**kind))

    def _report(self) -> None:
        r, f = self.report, self.failures
        r.failed_skipped, r.failed_dead_lettered, r.retries = f.skipped, f.dead_lettered, f.retries
        del r.samples[:]
        r.samples.extend(list(f.samples))  # another thread appends
        report = control_pb2.Report(components=[r], busy=_duration(self.busy), blocked=_duration(self.blocked))
        if (now := report.SerializeToString(deterministic=True)) != self.reported:
            self.reported = now
            self._say(report=report)

    # ---- Run ----

    async def run(self, frames, write) -> None:
        """Carries the data until the task has ended."""
        working = asyncio.create_task(self._work(frames, write))
        ending = asyncio.create_task(self.ended.wait())
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not working.done():
            working.cancel()
        elif working.cancelled():
            pass  # the task was closed amid a call
        elif error := working.exception():
            await self.fail(error)
        else:
            await self.close()  # the host has ended the stream
        await asyncio.gather(working, ending, return_exceptions=True)

    async def _work(self, frames, write) -> None:
        async for frame in frames:
            match frame.WhichOneof("kind"):
                case "batch":
                    await self._batch(frame.batch, write)
                case "barrier":
                    await self._barrier(frame.barrier, write)
                case "watermark":
                    if frame.watermark.time != batch.NO_TIME:
                        self.report.watermark, self.report.has_watermark = frame.watermark.time, True
                    await self._signal(write, watermark=frame.watermark)
                case "idle":
                    await self._signal(write, idle=frame.idle)

    async def _batch(self, b: frame_pb2.Batch, write) -> None:
        self.report.records_in += b.records
        self.report.bytes_in += len(b.inline)
        if self.spec.kind == manifest_pb2.KIND_SINK:
            if not self.changed:
                # Else the host may skip the next checkpoint.
                self.changed = True
                self._say(changed=control_pb2.Changed(after=self.passed))
            await self._call(lambda: self.component.write(batch.decode(b)))
            return
        for frame in await self._call(self._process, b):
            if frame.port == self.ports.get("out"):  # dead letters are counted apart
                self.report.records_out += frame.batch.records
                self.report.bytes_out += len(frame.batch.inline)
            await self._write(write, frame)

    def _process(self, b: frame_pb2.Batch) -> list[frame_pb2.Frame]:
        """Runs on the component's thread, reading and writing columns too: a batch may
        have millions of records."""
        out, failed = [], []
        for record in batch.decode(b):
            if self.stopped.is_set():
                break
            try:
                made = self.failures.process(self._process_one, record, self.stopped)
            except RecordError as error:
                if (letter := self.failures.settle(record, error)) is not None:
                    failed.append(letter)
            else:
                if made is not None:
                    out.append(made)
        return self._frames("out", out) + self._frames("errors", failed)

    def _frames(self, output: str, records) -> list[frame_pb2.Frame]:
        """Puts records into batches for an output. One that leads nowhere is not among
        the member's: what is meant for it is dropped."""
        port = self.ports.get(output)
        if port is None:
            return []
        limit, origin = self.open.limits.batch_bytes or 256 << 10, self.member.outputs[port].origin
        return [frame_pb2.Frame(port=port, batch=batch.encode(part, origin)) for part in batch.cut(records, limit)]

    def _process_one(self, record):
        limit = self.open.limits.max_record_bytes
        if limit and record.size() > limit:
            raise RecordError(f"the record has {record.size()} bytes, and {limit} is the most")
        made = self.component.process(record)
        if made is not None and limit and made.size() > limit:
            raise RecordError(f"what is made of the record has {made.size()} bytes, and {limit} is the most")
        return made

    async def _signal(self, write, **kind) -> None:
        """Passes a watermark or idleness on, on every output."""
        for port in self.ports.values():
            await self._write(write, frame_pb2.Frame(port=port, **kind))

    async def _barrier(self, barrier: frame_pb2.Barrier, write) -> None:
        began = time.monotonic()
        entries = []
        if self.spec.kind == manifest_pb2.KIND_SINK:
            names = await self._call(self.component.prepare, barrier.checkpoint)
            entries = [
                task_pb2.Entry(kind=task_pb2.Entry.KIND_COMMITTABLE, id=str(i), payload=name.encode())
                for i, name in enumerate(names)
            ]
        stood = time.monotonic() - began
        self.passed, self.changed = barrier.checkpoint, False
        await self._write(write, frame_pb2.Frame(barrier=barrier))
        if entries:
            self._say(snapshot_part=control_pb2.SnapshotPart(checkpoint=barrier.checkpoint, entries=entries))
        self._say(snapshot_done=control_pb2.SnapshotDone(checkpoint=barrier.checkpoint, synchronous=_duration(stood)))

    async def _write(self, write, frame: frame_pb2.Frame) -> None:
        """Blocks while those behind are slower: that is the back-pressure."""
        began = time.monotonic()
        await write(frame)
        self.blocked += time.monotonic() - began

    async def _call(self, function, *args):
        """Calls the component on a thread. A call is never left alone: whoever closes
        the component waits until it has returned."""
        async with self.calls:
            if self.stopped.is_set():
                raise asyncio.CancelledError
            began = time.monotonic()
            call = asyncio.ensure_future(asyncio.to_thread(function, *args))
            try:
                return await asyncio.shield(call)
            except asyncio.CancelledError:
                await asyncio.gather(call, return_exceptions=True)
                raise
            finally:
                self.busy += time.monotonic() - began


def _duration(seconds: float) -> duration_pb2.Duration:
    d = duration_pb2.Duration()
    d.FromNanoseconds(int(seconds * 1e9))
    return d
