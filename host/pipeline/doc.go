// Package pipeline reads a pipeline file and turns it into a graph that an
// engine can run, or into a list of everything that is wrong with it.
//
// [Load] does the whole way: it parses the YAML, resolves references such as
// ${env:TOPIC}, types every field, looks each component up in a [Catalog],
// checks its configuration against the parameters that the component
// describes, lets the component check it itself, connects the nodes, and works
// out what follows from the whole: partitions, guarantees, defaults. It never
// stops at the first fault: a [Report] holds all of them, each with the line
// and column where it stands, and one run of it is enough to repair a file.
//
// What comes out, a [Pipeline], is complete and typed: no default is left to
// fill in, every name in it refers to something that exists, its nodes are in
// topological order. It is plain data: it starts nothing and holds nothing
// open, and is not changed after Load has returned, so that any number of
// goroutines may read it.
//
// # References and secrets
//
// ${X} and ${env:X} stand for an environment variable, ${file:PATH} for a
// file's content without its last newline, ${X:-default} for a default where X
// is unset or empty, and $${ for a plain "${". They are resolved in scalar
// values, after parsing, so that nothing a variable holds can change the shape
// of the file. A plain scalar with a reference is typed again (count: ${N} is a
// number if N is); a quoted one stays a string, except where a number, a
// boolean or the like is expected: inside a flow mapping YAML has no other way
// to write it.
//
// The content of a ${file:...} and the value of any parameter that its
// component marks as secret are secrets. Their field paths are in
// [Node.SecretPaths]; no message of a Report repeats them.
//
// # Dead letters
//
// on_error: {dead_letter: rejects} makes an ordinary edge from the node's
// output "errors" to rejects. Where it stands as the default for all nodes it
// is not applied to its target and to what lies behind that, since their
// failures would come back to themselves: those nodes fail.
package pipeline
