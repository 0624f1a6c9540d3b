"""Prints the rows of a table as JSON lines, in their order:

    python read.py DATABASE [TABLE]

The form is that of the conformance kit, which reads by it what the sink has
committed. A database that is not there yet has no rows.

    python read.py --objects DATABASE

prints whatever lies in the sink's tables, for the kit to see what a sweep has left."""

import base64
import contextlib
import json
import os
import sqlite3
import sys


def cell(value):
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def rows(path: str, table: str):
    if not os.path.exists(path):
        return
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            yield from db.execute(f'SELECT * FROM "{table}" ORDER BY rowid')


def records(path: str, table: str = "records") -> None:
    for key, value, time, headers in rows(path, table):
        row = {"key": cell(key), "value": cell(value)}
        if time is not None:
            row["time"] = time
        if headers is not None:
            row["headers"] = json.loads(headers)
        print(json.dumps(row))


def objects(path: str) -> None:
    for table in ("records", "weir_staged", "weir_published"):
        for row in rows(path, table):
            print(table, json.dumps([cell(c) for c in row]))


if __name__ == "__main__":
    if sys.argv[1] == "--objects":
        objects(sys.argv[2])
    else:
        records(*sys.argv[1:])
