"""What a plugin in Python needs to speak weir.plugin.v1 (docs/protocol.md).

It is as small as the protocol lets it be: one component a task (the manifest says
no_chains), no sources and no keyed state. The interpreter runs one thread at a time,
so a pipeline file says `isolation: task` where a node is to use more processors. The
pieces, from the outside in:

    process     the handshake with the host, and the end of the process
    service     the gRPC service: questions, tasks, commits, the fence on epochs
    task        one task: Control and Run, barriers and snapshots
    failures    what becomes of records that a component fails
    batch       records in columns
    parameters  what a configuration may hold
    component   what an author writes
"""
