package explain

// apiEntries are problems of the HTTP API and of the commands that ask it.
var apiEntries = []Entry{
	{"api.invalid_request", "The request is wrong", "A path, parameter or body is not as the document of the API says. Each fault names its place.", "GET /v1/openapi.yaml is the document."},
	{"api.unauthorized", "A token is needed", "The server was started with `--api-token-file`.", "Send the token as `Authorization: Bearer TOKEN`; commands take `--token-file` or `WEIR_TOKEN_FILE`."},
	{"api.forbidden", "The request is refused", "A server without a token answers only to the names of its own machine, and lets no page of another origin change anything.", "Start it with `--api-token-file` to reach it by another name."},
	{"api.not_found", "There is no such path", "The API has no such path.", "GET /v1/openapi.yaml lists them."},
	{"api.method_not_allowed", "The path has no such method", "The path exists, with other methods.", "The header Allow lists them."},
	{"api.pipeline_not_found", "There is no such pipeline", "Neither does one of this name run, nor is there state of one.", "`weir ls` lists those that there are. Check `--server`, WEIR_SERVER and `--state-dir`."},
	{"api.node_not_found", "There is no such node", "The pipeline has no node of this name.", "The message lists those that it has."},
	{"api.output_not_found", "There is no such output", "The node has no output of this name that leads anywhere; what an output that leads nowhere gets is dropped unseen.", "The message lists those that it has."},
	{"api.not_running", "The pipeline does not run", "What was asked for needs a pipeline whose data flows, and this one is stopped, restoring, or waits for a restart.", "`weir status NAME` says what it does and why; `weir wait NAME --for running` waits."},
	{"api.host_not_found", "There is no such host", "No host of this name is in the cluster at present.", "`weir hosts` lists those that are."},
	{"api.not_a_cluster", "This server is no host of a cluster", "What was asked for only a host of a cluster can do, and this is a `weir run`, or nobody was asked.", "Name a host that was started with `weir serve`, with `--server` or WEIR_SERVER."},
	{"api.not_stopped", "The pipeline has not stopped", "A pipeline can be deleted when it has finished, failed or stopped.", "`weir stop NAME`, then delete it."},
	{"api.invalid_pipeline", "The pipeline file is wrong", "The host that was asked has checked the file with its own plugins and environment. Each fault names its place.", "`weir validate FILE` says the same on your machine, if it has the same plugins and variables."},
	{"api.conflict", "Another change is under way", "A pipeline is changed by one command at a time, and another one has begun.", "Wait until that one has ended; the message names it."},
	{"api.savepoint_exists", "A savepoint of this name exists", "Savepoints are never overwritten.", "Choose another name."},
	{"api.savepoint_failed", "The savepoint came to nothing", "The checkpoint failed, or the pipeline stopped or rolled back before all output up to it was published.", "The message says why; ask again. If its checkpoint was complete, the next start of the pipeline completes the savepoint."},
	{"api.too_many_streams", "Too many streams are open", "A server bounds how many logs are followed and outputs are tapped at the same time.", "Close some."},
	{"api.unavailable", "Not available at present", "The server is going down, or its pipeline is not ready.", "Ask again later; the message says what it waits for."},
	{"api.internal", "Something went wrong inside", "The server could not answer. The message, or its log, says why.", "If it is not a full disk or the like, report it with the log."},
}
