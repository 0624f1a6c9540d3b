package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// commands are what each server can be asked.
var commands = map[string]func(ctx context.Context, args []string) error{
	"kafka":     kafka,
	"zookeeper": zookeeper,
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 || commands[args[0]] == nil {
		return fmt.Errorf("usage: testserver SERVER up|down|...: see go doc ./internal/testserver")
	}
	return commands[args[0]](ctx, args[1:])
}
