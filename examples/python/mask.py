"""The operator mask: hides what a regular expression matches."""

import re
from typing import Any

from weir.plugin.v1 import manifest_pb2
from weirplugin.batch import Record
from weirplugin.component import RecordError, Spec, TaskInfo

Parameter = manifest_pb2.Parameter


class Mask:
    def __init__(self, config: dict[str, Any], task: TaskInfo):
        self.pattern = re.compile(config["pattern"])
        self.character = config["with"]

    def process(self, record: Record) -> Record:
        if record.value is None:
            return record
        try:
            text = record.value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RecordError("the value is not UTF-8") from error
        hidden = self.pattern.sub(lambda m: self.character * len(m.group()), text)
        return record if hidden == text else record.with_value(hidden.encode())

    def close(self) -> None:
        pass


def check(config: dict[str, Any]) -> dict[str, str]:
    """Refuses a wrong expression before anything runs."""
    try:
        re.compile(config["pattern"])
    except re.error as error:
        return {"pattern": f"is no regular expression: {error}"}
    return {}


SPEC = Spec(
    kind=manifest_pb2.KIND_OPERATOR,
    name="mask",
    summary="Hides what a regular expression matches in values.",
    description="The expression is one of Python's. A value that is not UTF-8 is a failed record.",
    parameters=[
        Parameter(name="pattern", type=Parameter.TYPE_STRING, required=True, description="What is hidden, such as \\d+."),
        Parameter(name="with", type=Parameter.TYPE_STRING, default='"*"', pattern=".", description="The character that stands for each hidden one."),
    ],
    open=Mask,
    check=check,
    capabilities=manifest_pb2.Capabilities(preserves_order=True, preserves_key=True),
    examples=[manifest_pb2.Example(title="Digits", config="pattern: \\d+\n")],
)
