// Package sdk is what the author of a Weir plugin imports.
//
// A plugin is a binary with one or more components: sources, operators, sinks.
// An author writes a plain type for each, with a configuration struct whose
// tags say what a pipeline file may set, and serves them:
//
//	type Config struct {
//		Prefix string `weir:"prefix,required" doc:"Put in front of every value."`
//	}
//
//	type prefixer struct{ prefix string }
//
//	func (p *prefixer) Process(ctx context.Context, in *sdk.Batch, out *sdk.Collector) error {
//		for r := range in.All() {
//			b := append(out.AvailableBuffer(), p.prefix...)
//			out.Emit(r, append(b, r.Value()...))
//		}
//		return nil
//	}
//
//	func (p *prefixer) Close() error { return nil }
//
//	func open(ctx context.Context, cfg *Config, t *sdk.Task) (*prefixer, error) {
//		return &prefixer{cfg.Prefix}, nil
//	}
//
//	func main() {
//		sdk.Serve(sdk.Plugin{Name: "acme", Version: "1.0.0"},
//			sdk.NewOperator("prefix", "Puts a prefix in front of values.", open,
//				sdk.PreservesOrder(), sdk.PreservesKey()))
//	}
//
// # What the SDK does
//
// Offsets, barriers, snapshots, retries of failed records, restarts, batching,
// back-pressure and the wire are the SDK's and the host's affair. An author says
// what is the component's own: a [Source] reads a split from a position, an
// [Operator] turns records into records, a [Sink] writes. More is said by
// optional interfaces beside these ([Flusher], [WatermarkHandler],
// [PositionObserver], ...), which the SDK finds by type.
//
// # The life of a task
//
// One goroutine calls all methods of an instance, one at a time, unless a method
// says otherwise; two instances in one process share nothing but what the author
// shares. The context of a call ends when the task is to stop at once; a call
// that returns then may return any error. Close is called once, last, also after
// an error.
//
// # Data
//
// A [Batch] is columns and a [Record] a view of one row: both, and every byte
// slice taken from them, are read-only and dead when the call returns. Keep a
// batch with [Batch.Hold], or copy. Package sdktest overwrites buffers after
// each call, so that a test finds what outlives its call.
//
// # State by key
//
// A [KeyedOperator] remembers by key: what [Value], [List] and [Map] return, and the
// timers of [Task.SetTimer], belong to the key of the record at hand. It opens its
// states while it opens:
//
//	func open(ctx context.Context, cfg *Config, t *sdk.Task) (*counter, error) {
//		return &counter{n: sdk.Value[int64](t, "n", sdk.TTL(24*time.Hour))}, nil
//	}
//
//	func (c *counter) ProcessKeyed(ctx context.Context, r sdk.Record, out *sdk.Collector) error {
//		n, _ := c.n.Get()
//		c.n.Set(n + 1)
//		out.Emit(r, strconv.AppendInt(out.AvailableBuffer(), n+1, 10))
//		return nil
//	}
//
// Records of a key come to one instance. State and timers are part of each
// checkpoint, are there again after a restart, and go with the key when the
// parallelism changes. A snapshot does not stop the operator: its synchronous part
// copies no value. Values are encoded when they are set ([CodecOf] says how), so
// what Get returns is a copy.
//
// A timer fires once its time has come, by the watermark ([EventTime]) or by the
// clock ([ProcessingTime]); see [TimerHandler]. Whether a record is late says
// [Task.Watermark].
//
// State that belongs to no key is for every component: a [TaskList] is spread over
// the tasks, or given whole to each, and a [BroadcastValue] is the same on all.
//
// States outlive versions of the plugin. A name stands for one state for ever; a
// checkpoint that holds another encoding than the state has now is refused, unless
// [Migrate] says how to read it, and so is one with a state that is gone, unless
// [DropState] gives it up.
//
// # Errors
//
// An error concerns one record ([Collector.Fail]: the pipeline's on_error policy
// decides), or the call: [Retry] where nothing of the call took effect and it
// should be repeated, [Fatal] where no restart would help, anything else to
// restart the task from the last checkpoint.
//
// # Configuration
//
// A configuration is a struct whose exported fields have tags:
//
//	type Config struct {
//		Path   string         `weir:"path,required" doc:"File, folder or glob."`
//		Format string         `weir:"format" default:"lines" enum:"lines,json" doc:"How to cut it into records."`
//		Size   sdk.ByteSize   `weir:"size" default:"128MiB" min:"1KiB" doc:"..."`
//		Every  *time.Duration `weir:"every" doc:"..."` // nil: not set
//		Token  sdk.Secret     `weir:"token" xor:"auth" doc:"..."`
//		User   string         `weir:"user" xor:"auth" doc:"..."`
//		TLS    *TLS           `weir:"tls" doc:"..."`   // an object that may be left out
//	}
//
// The tags:
//
//	weir:"name"           the field's name in the pipeline file; "name,required" where
//	                      it must be set, and a string, list or map is not empty; "-"
//	                      leaves a field out
//	default:"..."         used where the field is absent; JSON for lists, maps and objects
//	min:"..." max:"..."   inclusive bounds of numbers, sizes and durations
//	enum:"a,b"            the allowed values of a string
//	pattern:"..."         RE2 that the whole string must match
//	xor:"group"           one field of the group at most may be set; one must be where any
//	                      of them is required
//	doc:"..."             what a person should know, for listings and documentation
//	deprecated:"..."      what to use instead
//
// enum, pattern, min and max of a list or map hold for its elements. Field types
// are strings, booleans, numbers, [time.Duration], [ByteSize], [Secret], [Expr],
// [ConstOrExpr], types with an UnmarshalText, any and [encoding/json.RawMessage], structs,
// and slices and string-keyed maps of these. *T is nil where the field is absent;
// an absent struct by value is as one without fields, so that its defaults hold
// and its required fields are missed. The fields of an embedded struct are the
// outer one's.
//
// A configuration may also be a [Validator], a [Prober], a [Claimer], a [Hinter] and have
// [DynamicOutputs]. A field that is wrong is reported with all others at once, by
// its path, and secrets are in no message.
//
// # JSON
//
// Splits, positions, committables and writer state are encoded as JSON, so that
// a person can read and edit them. They outlive versions of the plugin: add
// fields, do not change their meaning.
package sdk
