"""The sink sqlite: rows of a table, each record once.

Records are staged in a table of their own, under names with uid, node and epoch in
them. A commit moves them into the table that people read, in one transaction, which
also notes that it has been done: so it may be repeated."""

import base64
import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from weir.plugin.v1 import manifest_pb2
from weirplugin.batch import Record
from weirplugin.component import Fatal, Owner, Retry, Spec, TaskInfo

Parameter = manifest_pb2.Parameter

LOCK_SECONDS = 20.0  # how long a transaction waits for those of others
KEPT_BYTES = 1 << 20  # what is gathered before it is staged: a transaction costs a sync

SCHEMA = """
CREATE TABLE IF NOT EXISTS "{table}" (key, value, time INTEGER, headers TEXT);
CREATE TABLE IF NOT EXISTS weir_staged (
    uid TEXT, node TEXT, epoch INTEGER, name TEXT, key, value, time INTEGER, headers TEXT);
CREATE INDEX IF NOT EXISTS weir_staged_name ON weir_staged (name);
CREATE TABLE IF NOT EXISTS weir_published (uid TEXT, node TEXT, epoch INTEGER, name TEXT PRIMARY KEY);
"""


class Sqlite:
    """One task's writer."""

    def __init__(self, config: dict[str, Any], task: TaskInfo):
        self.owner, self.task = task.owner, task.index
        self.prepared = 0  # in this epoch
        self.staged = False  # anything under the name of the next prepare
        self.rows: list[tuple] = []  # gathered, not yet staged
        self.kept = 0  # their bytes
        self.db = _connect(config)

    def name(self) -> str:
        o = self.owner
        return f"{o.uid}/{o.node}/{o.epoch}/{self.task}/{self.prepared}"

    def write(self, records: list[Record]) -> None:
        o, name = self.owner, self.name()
        for r in records:
            self.rows.append((o.uid, o.node, o.epoch, name, _text(r.key), _text(r.value), r.time, _json(r.headers)))
            self.kept += r.size()
        if self.kept >= KEPT_BYTES:
            self._stage()

    def _stage(self) -> None:
        if not self.rows:
            return
        with _transaction(self.db):
            self.db.executemany("INSERT INTO weir_staged VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self.rows)
        self.rows, self.kept, self.staged = [], 0, True

    def prepare(self, checkpoint: int) -> list[str]:
        self._stage()
        if not self.staged:
            return []
        name = self.name()
        self.prepared += 1
        self.staged = False
        return [name]

    def close(self) -> None:
        self.db.close()

    @staticmethod
    def commit(config: dict[str, Any], owner: Owner, names: list[str]) -> None:
        table = config["table"]
        with contextlib.closing(_connect(config)) as db, _transaction(db):
            for name in names:
                if db.execute("SELECT 1 FROM weir_published WHERE name = ?", (name,)).fetchone():
                    continue
                moved = db.execute(
                    f'INSERT INTO "{table}" SELECT key, value, time, headers FROM weir_staged WHERE name = ? ORDER BY rowid',
                    (name,),
                ).rowcount
                if not moved:
                    raise Fatal(f"{name} is not staged: what was prepared is lost")
                db.execute("DELETE FROM weir_staged WHERE name = ?", (name,))
                uid, node, epoch = name.split("/")[:3]
                db.execute("INSERT INTO weir_published VALUES (?, ?, ?, ?)", (uid, node, int(epoch), name))

    @staticmethod
    def sweep(config: dict[str, Any], owner: Owner, earlier: list[int]) -> None:
        with contextlib.closing(_connect(config)) as db, _transaction(db):
            for epoch in earlier:
                db.execute("DELETE FROM weir_staged WHERE uid = ? AND node = ? AND epoch = ?", (owner.uid, owner.node, epoch))
            # Of an epoch that is listed no more nothing can be committed again.
            listed = ", ".join(str(e) for e in [*earlier, owner.epoch])
            db.execute(
                f"DELETE FROM weir_published WHERE uid = ? AND node = ? AND epoch < ? AND epoch NOT IN ({listed})",
                (owner.uid, owner.node, owner.epoch),
            )


def _connect(config: dict[str, Any]) -> sqlite3.Connection:
    path = config["path"]
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        # The one task that calls moves between threads.
        db = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise RuntimeError(f"{path}: {error}") from error
    try:
        with _transaction(db):
            for statement in SCHEMA.format(table=config["table"]).split(";"):
                db.execute(statement)
    except BaseException:
        db.close()
        raise
    return db


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Takes the lock at its beginning: two that read first and then both write would
    wait for each other."""
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise Retry(f"the database is locked by another for {LOCK_SECONDS:.0f} s: {error}") from error
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _text(value: bytes | None) -> str | bytes | None:
    """Text where it is UTF-8, so that people can read it; else the bytes."""
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _json(headers) -> str | None:
    if not headers:
        return None
    pairs = []
    for name, value in headers:
        text = _text(value)
        pairs.append([name, {"base64": base64.b64encode(text).decode()} if isinstance(text, bytes) else text])
    return json.dumps(pairs)


SPEC = Spec(
    kind=manifest_pb2.KIND_SINK,
    name="sqlite",
    summary="Writes records to a table of an SQLite database, each once.",
    description="""The table has the columns key, value, time (nanoseconds) and headers (JSON). A record
is there once the checkpoint is complete that holds it. Two more tables are the sink's
own: weir_staged, what waits for its checkpoint, and weir_published, what need not be
published again.""",
    parameters=[
        Parameter(name="path", type=Parameter.TYPE_STRING, required=True, description="The database's file; it is made if it is not there."),
        Parameter(name="table", type=Parameter.TYPE_STRING, default='"records"', pattern="[A-Za-z][A-Za-z0-9_]*", description="The table; it is made if it is not there."),
    ],
    open=Sqlite,
    capabilities=manifest_pb2.Capabilities(exactly_once=True, local=True),
    examples=[manifest_pb2.Example(title="A database beside the pipeline file", config="path: out.db\ntable: people\n")],
)
