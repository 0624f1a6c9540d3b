"""Checks a configuration against the parameters of the manifest.

The host does so before it asks (section 2 of docs/protocol.md), and whoever asks the
plugin alone gets the same answer. These are the types that this plugin uses:
string, int and bool."""

import json
import re
from typing import Any

from weir.plugin.v1 import manifest_pb2

from .component import Spec

Parameter = manifest_pb2.Parameter

_TYPES = {
    Parameter.TYPE_STRING: (str, "a string"),
    Parameter.TYPE_INT: (int, "a whole number"),
    Parameter.TYPE_BOOL: (bool, "true or false"),
}


def read(spec: Spec, config: bytes) -> tuple[dict[str, Any], list[manifest_pb2.Fault]]:
    """Returns the values, with defaults, and every fault at once. No fault holds a
    value: it may be a secret."""
    try:
        given = json.loads(config or b"{}")
    except ValueError:
        return {}, [_fault("", "is no JSON")]
    if not isinstance(given, dict):
        return {}, [_fault("", "is no JSON object")]
    known = {p.name: p for p in spec.parameters}
    faults = [
        _fault(name, f"is unknown: the parameters are {', '.join(known)}", "config.unknown_field")
        for name in given
        if name not in known
    ]
    values: dict[str, Any] = {}
    for name, p in known.items():
        value = given.get(name)
        if value is None:
            if p.required:
                faults.append(_fault(name, "is required", "config.required"))
            values[name] = json.loads(p.default) if p.default else None
            continue
        if problem := _problem(p, value):
            faults.append(_fault(name, problem))
        values[name] = value
    if not faults:
        faults = [_fault(name, problem) for name, problem in spec.check(values).items()]
    return values, faults


class Secrets:
    """Values that no message may hold: those whose paths a request lists, and those of
    secret parameters."""

    def __init__(self, spec: Spec, config: bytes, paths: list[str]):
        values, _ = read(spec, config)
        named = {p.split(".")[0].split("[")[0] for p in paths} | {p.name for p in spec.parameters if p.secret}
        texts = {str(v) for k, v in values.items() if k in named and v is not None}
        # A short one would hide every other word.
        self.texts = sorted((t for t in texts if len(t) >= 4), key=len, reverse=True)

    def hidden(self, text: str) -> str:
        for t in self.texts:
            text = text.replace(t, "***")
        return text


def _problem(p: Parameter, value: Any) -> str:
    kind, what = _TYPES[p.type]
    if not isinstance(value, kind) or kind is int and isinstance(value, bool):
        return f"must be {what}"
    if p.enum and value not in p.enum:
        return f"must be one of {', '.join(p.enum)}"
    if p.pattern and not re.fullmatch(p.pattern, value):
        return f"must match {p.pattern}"
    if p.min and value < json.loads(p.min) or p.max and value > json.loads(p.max):
        return f"must be from {p.min or 'any'} to {p.max or 'any'}"
    if p.required and value == "":
        return "is required and empty"
    return ""


def _fault(path: str, message: str, code: str = "") -> manifest_pb2.Fault:
    return manifest_pb2.Fault(path=path, message=message, offset=-1, code=code)
