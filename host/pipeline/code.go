package pipeline

// Code is a stable name for a kind of fault, for tools. A fault that a component
// found has the component's own code where it gives one, such as
// "config.unknown_field".
type Code string

// Faults of the file as text.
const (
	CodeUnreadable Code = "pipeline.unreadable"
)
