"""What becomes of records that a component fails: Member.on_failure."""

import collections
import time

from weir.plugin.v1 import control_pb2, task_pb2

from .batch import Record
from .component import RecordError

Policy = task_pb2.FailurePolicy

KEPT = 64 << 10  # what is left of a record above the largest size
SAMPLES = 5
SAMPLE_BYTES = 256


class Failures:
    """Applies a policy and counts."""

    def __init__(self, policy: Policy, node: str, max_record: int, bound: float):
        self.policy, self.node, self.max_record, self.bound = policy, node, max_record, bound
        self.skipped = self.dead_lettered = self.retries = 0
        self.samples: collections.deque = collections.deque(maxlen=SAMPLES)
        self.recent: collections.deque = collections.deque()

    def process(self, call, record: Record, stopped) -> Record | None:
        """Calls call(record), again and again while it fails and the policy has tries
        left. Nothing behind the record is processed meanwhile; all waits together are
        shorter than a checkpoint may take, since a barrier may wait behind it."""
        backoff = _seconds(self.policy, "backoff", 0.1)
        waited = 0.0
        for tries in range(self.policy.retries + 1):
            try:
                return call(record)
            except RecordError:
                wait = min(backoff * 2**tries, _seconds(self.policy, "max_backoff", 10.0))
                if tries == self.policy.retries or waited + wait > self.bound or stopped.wait(wait):
                    raise
                waited += wait
                self.retries += 1
        raise AssertionError("unreachable")

    def settle(self, record: Record, error: Exception) -> Record | None:
        """Returns the record as it leaves on the output "errors", or None where it is
        skipped. Raises where the task is to fail."""
        if self.policy.action == Policy.ACTION_FAIL:
            raise RuntimeError(f"record {record.ordinal} of split {record.split!r} failed: {error}") from error
        self._count(error)
        self.samples.append(control_pb2.FailureSample(
            time_unix_nano=time.time_ns(), error=str(error), split=record.split, ordinal=record.ordinal,
            key=(record.key or b"")[:SAMPLE_BYTES], value=(record.value or b"")[:SAMPLE_BYTES],
        ))
        if self.policy.action == Policy.ACTION_SKIP:
            self.skipped += 1
            return None
        self.dead_lettered += 1
        return self._dead_letter(record, error)

    def _count(self, error: Exception) -> None:
        """Fails the task on more than `limit` failures within `limit_window`."""
        if not self.policy.limit:
            return
        now = time.monotonic()
        self.recent.append(now)
        window = _seconds(self.policy, "limit_window", 0.0)
        while window and self.recent[0] < now - window:
            self.recent.popleft()
        if len(self.recent) > self.policy.limit:
            raise RuntimeError(f"more than {self.policy.limit} records failed, the last: {error}") from error

    def _dead_letter(self, record: Record, error: Exception) -> Record:
        headers = list(record.headers)
        key, value, size = record.key, record.value, record.size()
        if size > self.max_record:
            key, value, headers = key and key[:KEPT], value and value[:KEPT], []
            headers.append(("weir.length", str(size).encode()))
        headers.append(("weir.error", str(error).encode()))
        headers.append(("weir.component", self.node.encode()))
        if record.split:
            headers.append(("weir.origin.split", record.split.encode()))
            headers.append(("weir.origin.ordinal", str(record.ordinal).encode()))
        return Record(key, value, record.time, headers, record.split, record.ordinal)


def _seconds(message, field: str, default: float) -> float:
    """A duration; one of zero is as good as none."""
    d = getattr(message, field)
    return d.seconds + d.nanos / 1e9 if d.seconds or d.nanos else default
