package api

import "time"

// Node is one node of a pipeline, summed over its tasks. Counters begin with the
// run and include what was read again after a rollback.
type Node struct {
	Name        string `json:"name"`
	ID          string `json:"id" doc:"Names its state; its name, unless the file says otherwise."`
	Kind        string `json:"kind" enum:"source,operator,sink"`
	Component   string `json:"component"`
	Plugin      string `json:"plugin"`
	Version     string `json:"plugin_version,omitempty"`
	Parallelism int    `json:"parallelism"`
	// Inputs are the nodes that it reads from.
	Inputs  []string `json:"inputs" doc:"The outputs that it reads from, as node or node.output."`
	Outputs []string `json:"outputs" doc:"Its outputs that lead anywhere; empty for a sink."`
	Flow
	Progress  *Progress  `json:"progress,omitempty" doc:"Absent where the source does not say."`
	Watermark *Watermark `json:"watermark,omitempty" doc:"The lowest of its tasks; absent where there is none."`
	Failed    Failed     `json:"failed_records"`
	// Metrics are those that the component's author registered.
	Metrics []Metric `json:"metrics,omitempty" doc:"What the component itself measures."`
}

// Flow is what passes through a node or task.
type Flow struct {
	RecordsIn  uint64  `json:"records_in"`
	RecordsOut uint64  `json:"records_out"`
	BytesIn    uint64  `json:"bytes_in"`
	BytesOut   uint64  `json:"bytes_out"`
	RateIn     float64 `json:"records_in_per_second"`
	RateOut    float64 `json:"records_out_per_second"`
	Busy       float64 `json:"busy" doc:"Share of the last seconds spent in the component's calls, save what a source waits for input, 0 to 1. Nodes that share their tasks share it too."`
	Blocked    float64 `json:"back_pressured" doc:"Share spent waiting for those who receive, 0 to 1."`
}

// Task is one task of a node.
type Task struct {
	Node  string `json:"node"`
	Index int    `json:"index"`
	Host  string `json:"host,omitempty"`
	// Process names the plugin process that it runs in.
	Process string `json:"process" doc:"The plugin process that it runs in."`
	Flow
	Reported  *time.Time `json:"reported,omitempty" doc:"When the plugin last said so."`
	Progress  *Progress  `json:"progress,omitempty"`
	Watermark *Watermark `json:"watermark,omitempty"`
	Failed    Failed     `json:"failed_records"`
}

// Progress is how far a source has come.
type Progress struct {
	Done  float64 `json:"done"`
	Total float64 `json:"total,omitempty" doc:"Absent where it is not known."`
	Unit  string  `json:"unit"`
	Lag   *int64  `json:"lag,omitempty" doc:"Records behind the end; absent where it is not known."`
}

// Watermark is a point in event time up to which no more records are expected.
type Watermark struct {
	Time time.Time `json:"time"`
	Lag  float64   `json:"lag_seconds" doc:"How far it is behind the clock."`
	// Task and Split hold it back.
	Task  int    `json:"held_by_task" doc:"The task that holds it back."`
	Split string `json:"held_by_split,omitempty" doc:"The split that holds it back."`
}

// Failed counts failed records by what became of them.
type Failed struct {
	Skipped      uint64   `json:"skipped"`
	DeadLettered uint64   `json:"dead_lettered"`
	Retries      uint64   `json:"retries"`
	Samples      []Sample `json:"samples,omitempty" doc:"The newest, few."`
}

// Sample is a record that failed.
type Sample struct {
	At      time.Time `json:"at"`
	Error   string    `json:"error"`
	Split   string    `json:"split,omitempty"`
	Ordinal int64     `json:"ordinal"`
	Key     string    `json:"key,omitempty" doc:"Its first bytes, as text."`
	Value   string    `json:"value,omitempty" doc:"Its first bytes, as text."`
}

// Metric is an author's metric, summed over a node's tasks.
type Metric struct {
	Name   string            `json:"name"`
	Help   string            `json:"help,omitempty"`
	Unit   string            `json:"unit,omitempty"`
	Kind   string            `json:"kind" enum:"counter,gauge,histogram"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value" doc:"Of a histogram, the sum of what was observed."`
	Bounds []float64         `json:"bounds,omitempty" doc:"Upper bounds of a histogram."`
	Counts []uint64          `json:"counts,omitempty" doc:"Of a histogram, with one element more than bounds."`
}
