package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Cluster is what a host of a cluster can do beside; any of them can.
type Cluster interface {
	// Submit makes a pipeline or gives one another file.
	Submit(ctx context.Context, s Submission) (Submitted, error)
	// Resume lets a pipeline run again that was stopped or has failed.
	Resume(ctx context.Context, name string, r ResumeRequest) error
	// Delete forgets a pipeline that has ended, and its state.
	Delete(ctx context.Context, name string) error
	// Rescale changes how many tasks nodes have; the pipeline goes on from a final
	// checkpoint.
	Rescale(ctx context.Context, name string, r RescaleRequest) (Submitted, error)
	// Offsets says where a source stands, by split: as of the newest checkpoint, or of
	// another one, by its number or its name as a savepoint.
	Offsets(ctx context.Context, name, node, checkpoint string) ([]Offset, error)
	// SetOffsets has a source of a stopped pipeline go on elsewhere.
	SetOffsets(ctx context.Context, name, node string, r OffsetsRequest) (OffsetsChanged, error)
	Hosts(ctx context.Context) ([]Host, error)
	// Drain has a host's tasks moved away, or lets it take tasks again.
	Drain(ctx context.Context, host string, r DrainRequest) error
}

// Submission is a pipeline file.
type Submission struct {
	_      struct{} `additionalProperties:"false"`
	File   string   `json:"file" doc:"Its path, for messages."`
	Dir    string   `json:"dir" doc:"The folder that relative paths in it are relative to, on every host; absolute."`
	Source string   `json:"source" maxLength:"1048576" doc:"What is in it. References such as ${TOKEN} are resolved on each host when it starts."`
	// Check says what would happen, and changes nothing.
	Check bool `json:"check,omitempty" doc:"Only say what would happen."`
	// AcceptDuplicates lets a damaged newest checkpoint be passed over.
	AcceptDuplicates bool `json:"accept_duplicates,omitempty" doc:"If the newest checkpoint is damaged, restore an older one although output may come twice."`
}

// Submitted says what a submission does.
type Submitted struct {
	Name     string   `json:"name"`
	Revision uint64   `json:"revision,omitempty" doc:"Counts the submissions of this name; absent for a check."`
	Changes  []string `json:"changes" doc:"What becomes of the nodes that ran before: kept, rescaled, new or dropped."`
	Warnings []string `json:"warnings" doc:"What the file warns of."`
}

// ResumeRequest lets a pipeline run again.
type ResumeRequest struct {
	_                struct{} `additionalProperties:"false"`
	AcceptDuplicates bool     `json:"accept_duplicates,omitempty" doc:"If the newest checkpoint is damaged, restore an older one although output may come twice."`
}

// RescaleRequest changes how many tasks nodes have.
type RescaleRequest struct {
	_           struct{}       `additionalProperties:"false"`
	Parallelism map[string]int `json:"parallelism" doc:"By node. 0 is what the file says."`
}

// DrainRequest says whether a host is to be empty.
type DrainRequest struct {
	_     struct{} `additionalProperties:"false"`
	Drain bool     `json:"drain" doc:"false lets it take tasks again."`
}

// Host is a host of the cluster.
type Host struct {
	ID       string    `json:"id"`
	Instance string    `json:"instance" doc:"Another in each session."`
	Address  string    `json:"address" doc:"Where other hosts reach it."`
	API      string    `json:"api,omitempty" doc:"Where it answers requests such as this."`
	Version  string    `json:"version,omitempty"`
	Leader   bool      `json:"leader"`
	Draining bool      `json:"draining"`
	Slots    int       `json:"slots" doc:"How many tasks it takes."`
	Used     int       `json:"used_slots"`
	Since    time.Time `json:"since"`
	Tasks    []string  `json:"tasks" doc:"As pipeline/node[index]."`
}

// none answers where there is no cluster.
type none struct{}

func notHere() error {
	return Problemf(CodeNotACluster, "this server runs one pipeline; ask a host of a cluster (weir serve)")
}

func (none) Submit(context.Context, Submission) (Submitted, error) { return Submitted{}, notHere() }
func (none) Resume(context.Context, string, ResumeRequest) error   { return notHere() }
func (none) Delete(context.Context, string) error                  { return notHere() }
func (none) Rescale(context.Context, string, RescaleRequest) (Submitted, error) {
	return Submitted{}, notHere()
}
func (none) Offsets(context.Context, string, string, string) ([]Offset, error) {
	return nil, notHere()
}
func (none) SetOffsets(context.Context, string, string, OffsetsRequest) (OffsetsChanged, error) {
	return OffsetsChanged{}, notHere()
}
func (none) Hosts(context.Context) ([]Host, error)             { return nil, notHere() }
func (none) Drain(context.Context, string, DrainRequest) error { return notHere() }

func (o *operations) cluster() {
	var c Cluster = none{}
	if o.Cluster != nil {
		c = o.Cluster
	}
	submitted := func(s Submitted, err error) (*answer[Submitted], error) {
		if s.Changes == nil {
			s.Changes = []string{}
		}
		if s.Warnings == nil {
			s.Warnings = []string{}
		}
		return &answer[Submitted]{s}, o.problem(err)
	}
	type submission struct{ Body Submission }
	patient(o, o.operation("submitPipeline", http.MethodPost, "pipelines", "cluster", "Submit a pipeline",
		"Makes a pipeline, or gives the one of this name another file, with which it goes on from its state."),
		func(ctx context.Context, in *submission) (*answer[Submitted], error) {
			return submitted(c.Submit(ctx, in.Body))
		})
	type resume struct {
		Name string `path:"name" doc:"The pipeline's name."`
		Body *ResumeRequest
	}
	op := o.operation("resumePipeline", http.MethodPost, "pipelines/{name}/resume", "cluster", "Resume a pipeline",
		"Lets a pipeline run that was stopped or has failed, from where it was.")
	op.DefaultStatus = http.StatusNoContent
	huma.Register(o.api, op, func(ctx context.Context, in *resume) (*struct{}, error) {
		return nil, o.problem(c.Resume(ctx, in.Name, orZero(in.Body)))
	})
	op = o.operation("deletePipeline", http.MethodDelete, "pipelines/{name}", "cluster", "Delete a pipeline",
		"Forgets a pipeline that has ended, and its state. What its sinks have published stays.")
	op.DefaultStatus = http.StatusNoContent
	huma.Register(o.api, op, func(ctx context.Context, in *named) (*struct{}, error) {
		return nil, o.problem(c.Delete(ctx, in.Name))
	})
	type rescale struct {
		Name string `path:"name" doc:"The pipeline's name."`
		Body RescaleRequest
	}
	patient(o, o.operation("rescalePipeline", http.MethodPost, "pipelines/{name}/rescale", "cluster", "Rescale a pipeline",
		"Changes how many tasks its nodes have. It goes on from a final checkpoint."),
		func(ctx context.Context, in *rescale) (*answer[Submitted], error) {
			return submitted(c.Rescale(ctx, in.Name, in.Body))
		})
	o.offsets(c)
	huma.Register(o.api, o.operation("listHosts", http.MethodGet, "hosts", "cluster", "List hosts", "Sorted by id."),
		func(ctx context.Context, _ *struct{}) (*answer[[]Host], error) {
			all, err := list(func(ctx context.Context, _ string) ([]Host, error) { return c.Hosts(ctx) })(ctx, "")
			return &answer[[]Host]{all}, o.problem(err)
		})
	type drain struct {
		ID   string `path:"id" doc:"The host's id."`
		Body DrainRequest
	}
	op = o.operation("drainHost", http.MethodPut, "hosts/{id}/drain", "cluster", "Drain a host",
		"Has its tasks moved to other hosts, or lets it take tasks again. It does not wait.")
	op.DefaultStatus = http.StatusNoContent
	huma.Register(o.api, op, func(ctx context.Context, in *drain) (*struct{}, error) {
		return nil, o.problem(c.Drain(ctx, in.ID, in.Body))
	})
}
