// Package catalog knows which plugins exist, starts them to ask what they are, and
// hands the running processes on to whoever needs them.
//
// # Where a plugin is found
//
// The plugin "weir" is built in: the caller passes the command that runs this very
// binary as a plugin. A plugin that the pipeline file declares under `plugins:` is
// what the file says; the name there is the file's own choice, so that two releases
// of one plugin can be declared beside each other. Any other is an executable
// "weir-plugin-<name>" in one of these folders, the first that has it:
//
//  1. the folders in $WEIR_PLUGIN_PATH, separated as in $PATH
//  2. "plugins" and "bin" beside the pipeline file
//  3. "weir/plugins" in the user's XDG data folder
//  4. the folder of the weir binary
//
// It must describe itself by the name that the file has. A later one of the same
// name is shadowed. Nothing is run but what a pipeline names, or what [Catalog.List]
// is asked for.
//
// # Who owns a process
//
// The catalog owns every process that it starts until [Catalog.Start] gives it
// away: asked for a plugin that has been described, Start returns the process that
// described it, and starts another the next time. From then on it is the
// receiver's to stop. [Catalog.Close] stops those that nobody took.
package catalog
