"""What an author writes: an Operator or a Sink, and the Spec that describes it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from weir.plugin.v1 import manifest_pb2

from .batch import Record


class RecordError(Exception):
    """Concerns one record: the node's on_error decides."""


class Retry(Exception):
    """Nothing of the call took effect, and it may be repeated."""


class Fatal(Exception):
    """No restart helps."""


@dataclass(frozen=True)
class Owner:
    """Who acts. Whatever a component makes outside carries uid, node and epoch in
    its name: a process of an earlier epoch may be paused and wake at any time."""

    uid: str
    node: str
    epoch: int


@dataclass(frozen=True)
class TaskInfo:
    owner: Owner
    index: int
    parallelism: int


class Operator(Protocol):
    """Turns a record into a record or, with None, drops it. One thread calls it."""

    def process(self, record: Record) -> Record | None: ...

    def close(self) -> None: ...


class Sink(Protocol):
    """Writes records, and publishes none before they are committed. One thread calls
    a writer; commits and sweeps come on others, one at a time for a node."""

    def write(self, records: list[Record]) -> None: ...

    def prepare(self, checkpoint: int) -> list[str]:
        """Return the names of what is to be published with this checkpoint. It must
        outlive this process, and nobody may see it yet."""
        ...

    def close(self) -> None: ...

    @staticmethod
    def commit(config: dict[str, Any], owner: Owner, names: list[str]) -> None:
        """Publish, whatever of it is published already. It is repeated until it
        returns or raises Fatal."""
        ...

    @staticmethod
    def sweep(config: dict[str, Any], owner: Owner, earlier: list[int]) -> None:
        """Remove what these epochs of the node have left unpublished."""
        ...


@dataclass(frozen=True)
class Spec:
    """Describes a component: kind, name and summary, its parameters, and how it is
    opened: open(config, info) returns an Operator or a Sink, whose class it is. A
    sink's commit and sweep are that class's."""

    kind: int
    name: str
    summary: str
    parameters: list[manifest_pb2.Parameter]
    open: type
    capabilities: manifest_pb2.Capabilities
    check: Callable[[dict[str, Any]], dict[str, str]] = lambda config: {}  # what the parameters cannot say: field to fault
    description: str = ""
    examples: list[manifest_pb2.Example] = field(default_factory=list)

    def manifest(self, version: str) -> manifest_pb2.Component:
        return manifest_pb2.Component(
            kind=self.kind, name=self.name, version=version, summary=self.summary, description=self.description,
            parameters=self.parameters, capabilities=self.capabilities, examples=self.examples,
        )
