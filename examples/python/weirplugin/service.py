"""The gRPC service weir.plugin.v1.Plugin."""

import asyncio
from collections import defaultdict

import grpc

from weir.plugin.v1 import commit_pb2, manifest_pb2, plugin_pb2_grpc, task_pb2

from . import parameters
from .component import Owner, Spec
from .task import Task, wire_error


class Service(plugin_pb2_grpc.PluginServicer):
    def __init__(self, name: str, version: str, specs: list[Spec]):
        self.manifest = manifest_pb2.Manifest(
            name=name, version=version, sdk="weirplugin (Python)", components=[s.manifest(version) for s in specs],
            no_chains=True,
        )
        self.specs = {(s.kind, s.name): s for s in specs}
        self.tasks: dict[bytes, Task] = {}
        self.highest: dict[tuple[str, str], int] = {}  # epoch, by {uid, node}
        self.turns: dict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    # ---- questions ----

    async def Describe(self, request, context):
        return manifest_pb2.DescribeResponse(manifest=self.manifest)

    async def Validate(self, request, context):
        spec = await self._spec(request.kind, request.component, context)
        _, faults = parameters.read(spec, request.config)
        return manifest_pb2.ValidateResponse(faults=faults, capabilities=spec.capabilities)

    async def Probe(self, request, context):
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no component of this plugin asks the outside")

    async def _spec(self, kind, name, context) -> Spec:
        spec = self.specs.get((kind, name))
        if spec is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no {manifest_pb2.Kind.Name(kind)} {name!r}")
        return spec

    # ---- tasks ----

    async def Control(self, requests, context):
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("kind") != "open":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Control begins with Open")
        open_ = first.open
        if len(open_.chain) != 1 or open_.task.role != task_pb2.ROLE_WORKER:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this plugin has no sources and no chains")
        member = open_.chain[0]
        spec = next((s for s in self.specs.values() if s.name == member.component), None)
        if spec is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no component {member.component!r}")
        await self._fence(open_.task.uid, member.node, open_.task.epoch, context)
        ref = _key(open_.task)
        if ref in self.tasks:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"task {open_.task.index} of {open_.task.node} is open already")
        task = self.tasks[ref] = Task(open_, spec)
        try:
            await task.control(requests, context.write)
        finally:
            del self.tasks[ref]

    async def Run(self, frames, context):
        first = await anext(aiter(frames), None)
        if first is None or first.WhichOneof("kind") != "attach":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Run begins with Attach")
        task = self.tasks.get(_key(first.attach.task))
        if task is None or not task.ready:
            await context.abort(grpc.StatusCode.NOT_FOUND, "Attach names a task that is not open")
        if task.attached:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "a second Attach to a task")
        task.attached = True
        await task.run(frames, context.write)

    # ---- commits ----

    async def Commit(self, request, context):
        names: list[str] = []
        whole = True
        for entry in request.committables:
            part = entry.payload.decode()
            names = names + [part] if whole else names[:-1] + [names[-1] + part]
            whole = not entry.more
        error = await self._outside(request, context, lambda sink, config, owner: sink.commit(config, owner, names))
        return commit_pb2.CommitResponse(error=error)

    async def Sweep(self, request, context):
        earlier = [g.epoch for g in request.earlier]
        error = await self._outside(request, context, lambda sink, config, owner: sink.sweep(config, owner, earlier))
        return commit_pb2.SweepResponse(error=error)

    async def _outside(self, request, context, call) -> task_pb2.Error | None:
        """Writes outside without a task: one call at a time for a node."""
        spec = await self._spec(manifest_pb2.KIND_SINK, request.component, context)
        o = request.owner
        async with self.turns[o.uid, o.node]:
            await self._fence(o.uid, o.node, o.epoch, context)
            config, _ = parameters.read(spec, request.config)
            try:
                await asyncio.to_thread(call, spec.open, config, Owner(o.uid, o.node, o.epoch))
            except Exception as error:
                return wire_error(error, parameters.Secrets(spec, request.config, list(request.secret_paths)))
        return None

    async def _fence(self, uid: str, node: str, epoch: int, context) -> None:
        """Refuses what an earlier epoch asks for."""
        if epoch < self.highest.get((uid, node), 0):
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"epoch {epoch} of node {node} is over: epoch {self.highest[uid, node]} has begun",
            )
        self.highest[uid, node] = epoch


def _key(ref: task_pb2.TaskRef) -> bytes:
    return ref.SerializeToString(deterministic=True)
