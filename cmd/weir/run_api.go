package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/local"
)

// apiFlags are those of the API that `weir run` serves.
type apiFlags struct {
	listen    string
	tokenFile string
	otherwise string // what else a command has that makes callers known
}

func (f *apiFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "listen", "", "serve the API and /metrics on this address too, such as 127.0.0.1:9100")
	cmd.Flags().StringVar(&f.tokenFile, "api-token-file", "", "file with a token that --listen asks for; needed beyond this machine")
}

// apiShutdown is how long the API has to answer what it was asked when the run ends.
const apiShutdown = 3 * time.Second

// servedAPI is the API of a run, on a socket in its state folder and maybe on TCP.
type servedAPI struct {
	servers []*http.Server
	log     *slog.Logger
}

// listener opens the address of --listen, or returns nil. It is opened before
// anything is started: a wrong address is bad input. Beyond this machine it wants a
// token, unless callers are known otherwise or need not be.
func (f *apiFlags) listener(known bool) (l net.Listener, token string, err error) {
	if f.tokenFile != "" {
		if token, err = readToken(f.tokenFile); err != nil {
			return nil, "", err
		}
	}
	if f.listen == "" {
		return nil, token, nil
	}
	if l, err = net.Listen("tcp", f.listen); err != nil {
		return nil, "", fmt.Errorf("--listen: %w", err)
	}
	if addr, ok := l.Addr().(*net.TCPAddr); token == "" && !known && (!ok || !addr.IP.IsLoopback()) {
		return nil, "", errors.Join(fmt.Errorf("--listen %s can be reached from other machines: give it a token with --api-token-file%s, or listen on 127.0.0.1", f.listen, f.otherwise), l.Close())
	}
	return l, token, nil
}

// listen opens what --listen of a run asks for, or returns nil.
func (o *runOptions) listen() (l net.Listener, token string, err error) {
	secured, err := o.tls.listening()
	if err != nil {
		return nil, "", err
	}
	known := secured != nil && secured.ClientCAs != nil
	switch {
	case secured != nil && o.api.listen == "":
		return nil, "", errors.New("--tls-cert is what --listen shows, which is not given")
	case secured != nil && !known && o.api.tokenFile == "":
		return nil, "", errors.New("--listen would answer nobody over TLS: say who may ask with --api-token-file, or with --tls-ca")
	}
	o.api.otherwise = ", or certificates with --tls-cert, --tls-key and --tls-ca"
	if l, token, err = o.api.listener(known); l != nil && secured != nil {
		l = tls.NewListener(l, secured)
	}
	return l, token, err
}

// serveAPI serves until close is called. The listener may be nil.
func serveAPI(p *local.Running, sockets string, tcp net.Listener, token string, log *slog.Logger) (*servedAPI, error) {
	s := &servedAPI{log: log}
	config := api.Config{Pipelines: p, Version: currentVersion(), Log: log}
	if tcp != nil {
		config.Token = token
		s.serve(tcp, config)
		log.Info("the API is served", "address", tcp.Addr().String())
	}
	socket, err := local.ListenAPI(sockets)
	if err != nil {
		s.close()
		return nil, err
	}
	config.Token, config.Anyone = "", true // its rights say who may
	s.serve(socket, config)
	return s, nil
}

func (s *servedAPI) serve(l net.Listener, c api.Config) {
	server := api.NewServer(c)
	s.servers = append(s.servers, server)
	go func() {
		if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, os.ErrClosed) {
			s.log.Error("the API is not served any more", "error", err)
		}
	}()
}

// close lets answers under way be given, and ends.
func (s *servedAPI) close() {
	ctx, cancel := context.WithTimeout(context.Background(), apiShutdown)
	defer cancel()
	for _, server := range s.servers {
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}
}
