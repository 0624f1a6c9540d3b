package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/api/client"
	"github.com/weirstream/weir/host/local"
)

// pipelines is what the commands that watch and change pipelines ask: a server, or
// what runs here.
type pipelines interface {
	api.Reader
	api.Changer
}

// serverFlags say whom to ask: --server, else WEIR_SERVER, else what runs here.
type serverFlags struct {
	server    string
	tokenFile string
	tls       tlsFiles
	stateDir  string
}

func (f *serverFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.server, "server", "", "ask the server at HOST:PORT, http(s)://... or unix:///... (default WEIR_SERVER, else what runs here)")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file with the server's token (default WEIR_TOKEN_FILE)")
	f.tls.askerFlags(cmd)
	stateDirFlag(cmd, &f.stateDir)
}

// ask calls do with whom to ask, and gives its error an exit code.
func (f *serverFlags) ask(do func(pipelines) error) error {
	p, done, err := f.connect()
	if err != nil {
		return badInput(err)
	}
	defer done()
	return asked(do(p))
}

func (f *serverFlags) connect() (pipelines, func(), error) {
	server, tokenFile := f.server, f.tokenFile
	if server == "" {
		server = os.Getenv("WEIR_SERVER")
	}
	if tokenFile == "" {
		tokenFile = os.Getenv("WEIR_TOKEN_FILE")
	}
	if server == "" {
		return local.Pipelines{StateDir: f.stateDir}, func() {}, nil
	}
	var o client.Options
	f.tls.orVariables()
	var err error
	if o.TLS, err = f.tls.asker(); err != nil {
		return nil, nil, err
	}
	if tokenFile != "" {
		if o.Token, err = readToken(tokenFile); err != nil {
			return nil, nil, err
		}
	}
	c, err := client.New(server, o)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

// readToken reads a token, which is all of a file but blanks at its ends.
func readToken(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("token: %s holds none, or more than one", file)
	}
	return token, nil
}

// asked gives the error of a question an exit code: what was asked for may be wrong,
// or may have failed.
func asked(err error) error {
	var p *api.Problem
	var exit *exitError
	switch {
	case err == nil, errors.As(err, &exit):
		return err
	case errors.As(err, &p):
		switch p.Code {
		case api.CodeInvalidRequest, api.CodeInvalidPipeline, api.CodeHostNotFound, api.CodeNotStopped, api.CodePipelineNotFound, api.CodeNodeNotFound, api.CodeOutputNotFound, api.CodeSavepointExists, api.CodeOffsetsRefused, api.CodeUnauthorized:
			return badInput(err)
		}
	case errors.Is(err, context.Canceled):
		return &exitError{exitSIGINT, nil}
	}
	return failed(err)
}
