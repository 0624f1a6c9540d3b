package pipeline

import "github.com/weirstream/weir/host/yamlfile"

// Code is a stable name for a kind of fault, for tools. A fault that a component
// found has the component's own code where it gives one.
type Code string

// Faults of the file as text.
const (
	CodeUnreadable   Code = "pipeline.unreadable"
	CodeNotText      Code = "pipeline.not_text"
	CodeEmpty        Code = "pipeline.empty"
	CodeSyntax       Code = "pipeline.syntax"
	CodeTooLarge     Code = "pipeline.too_large"
	CodeDocuments    Code = "pipeline.several_documents"
	CodeDuplicateKey Code = "pipeline.duplicate_key"
	CodeAlias        Code = "pipeline.alias"
)

// Faults of references.
const (
	CodeReference      Code = "pipeline.reference"
	CodeUnsetVariable  Code = "pipeline.unset_variable"
	CodeUnreadableFile Code = "pipeline.unreadable_reference"
)

// Faults of fields, the components' own fields included.
const (
	CodeVersion      Code = "pipeline.future_version"
	CodeUnknownField Code = "pipeline.unknown_field"
	CodeRequired     Code = "pipeline.required"
	CodeType         Code = "pipeline.wrong_type"
	CodeValue        Code = "pipeline.invalid_value"
	CodeRange        Code = "pipeline.out_of_range"
	CodeExclusive    Code = "pipeline.exclusive_fields"
	CodeDeprecated   Code = "pipeline.deprecated_field"
	CodeName         Code = "pipeline.invalid_name"
	CodeStorage      Code = "pipeline.unsupported_storage"
	CodeRetryTime    Code = "pipeline.retry_too_long"
)

// Faults of components.
const (
	CodeKind             Code = "pipeline.node_kind"
	CodeUnknownPlugin    Code = "pipeline.unknown_plugin"
	CodePlugin           Code = "pipeline.unusable_plugin"
	CodeUnknownComponent Code = "pipeline.unknown_component"
	CodeComponent        Code = "pipeline.component"
	CodeEventTime        Code = "pipeline.event_time_unsupported"
	CodeNoEventTime      Code = "pipeline.no_event_time"
	CodeState            Code = "pipeline.state_unsupported"
	// CodeProbe is that of what a component found outside, with --connect.
	CodeProbe Code = "pipeline.outside"
)

// Faults of the graph.
const (
	CodeDuplicateName  Code = "pipeline.duplicate_name"
	CodeDuplicateEdge  Code = "pipeline.duplicate_edge"
	CodeUnknownNode    Code = "pipeline.unknown_node"
	CodeUnknownOutput  Code = "pipeline.unknown_output"
	CodeUnknownPort    Code = "pipeline.unknown_port"
	CodeMissingInput   Code = "pipeline.missing_input"
	CodeInputOnSource  Code = "pipeline.input_on_source"
	CodeSinkAsInput    Code = "pipeline.sink_as_input"
	CodeCycle          Code = "pipeline.cycle"
	CodeLeadsNowhere   Code = "pipeline.leads_nowhere"
	CodeDeadLetter     Code = "pipeline.dead_letter_target"
	CodeNoDeadLetters  Code = "pipeline.no_dead_letters"
	CodePartition      Code = "pipeline.partition"
	CodeParallelism    Code = "pipeline.parallelism"
	CodeOrder          Code = "pipeline.order"
	CodeGuarantee      Code = "pipeline.guarantee"
	CodeNothingToDo    Code = "pipeline.no_nodes"
	CodeUnusedPlugin   Code = "pipeline.unused_plugin"
	CodeDiscardedField Code = "pipeline.ignored_field"
)

// classCodes gives the code for what reading the text found.
var classCodes = map[yamlfile.Class]Code{
	yamlfile.Syntax:    CodeSyntax,
	yamlfile.NotText:   CodeNotText,
	yamlfile.Empty:     CodeEmpty,
	yamlfile.TooLarge:  CodeTooLarge,
	yamlfile.Documents: CodeDocuments,
	yamlfile.Duplicate: CodeDuplicateKey,
	yamlfile.Alias:     CodeAlias,
	yamlfile.Reference: CodeReference,
	yamlfile.Unset:     CodeUnsetVariable,
	yamlfile.File:      CodeUnreadableFile,
}
