// Package process starts one plugin process and supervises it until it is gone.
//
// [Start] checks the executable, starts it in a process group of its own, shakes
// hands with it through go-plugin, asks for its manifest and returns a running
// [Process], all under one start deadline. From then on the process is owned by
// whoever called Start, until Done is closed:
//
//	p, err := process.Start(ctx, cmd, opts)
//	...                       // p.Client() speaks weir.plugin.v1
//	select {
//	case <-p.Done():          // it ended by itself, or was hung and killed
//		return p.Err()
//	...
//	}
//	err = p.Stop(ctx)         // asks, waits, kills; nothing is left afterwards
//
// # What a plugin process is given
//
//   - Arguments and environment of the [Command], on top of the few variables
//     that [BaseEnv] lists; nothing else of the host's environment.
//   - Standard input is empty, except on Windows (see below).
//   - The lifeline: the read end of a pipe whose number stands in [wire.EnvLifeline].
//     It delivers end of file when the host is gone or wants the plugin gone; the
//     plugin then exits at once. On Linux the kernel kills the process too when
//     its host dies, since a stopped process reads no pipe. On Windows, which
//     passes no numbered files on, the lifeline is standard input.
//   - The file in [Options.Inherit], if any, whose number stands in [wire.EnvLock].
//     The plugin does nothing with it but keep it open, so that a lock which the
//     host holds on it is held until the last of its plugins is gone.
//   - The file in [Options.Stdout], if any, whose number stands in [wire.EnvStdout], for
//     components that write to the host's standard output.
//   - A process group of its own: a ^C on the terminal reaches the host alone.
//
// # What it writes
//
// Lines on standard output before the handshake are logged and skipped, and so is
// everything after it. Standard error is read at all times, whatever becomes of
// it: the last lines are kept for [ExitError], lines go to the log with the level
// and attributes they carry in JSON (hclog's form or slog's), and a plugin that
// floods is cut to [Options.LogLines] a second with a count of what was left out.
//
// # When it is declared dead
//
// The host asks the gRPC health service at an interval. A process without a good
// answer for [Options.HealthTimeout] is hung: if it is a Go program that is not
// stopped by a signal, it gets SIGQUIT and the goroutine dump is kept in a file;
// then its process group gets SIGKILL. A process that ends before it was asked
// to is an error whatever its exit status.
//
// # Goroutines
//
// A Process has one goroutine locked to an OS thread that starts the child and
// waits for it (the parent-death signal fires when the starting thread ends, and
// waiting takes a thread anyway), one supervisor that pings and cleans up, one
// reader a pipe and one writer to the log. All of them, and go-plugin's own, have
// ended when Done is closed.
package process
