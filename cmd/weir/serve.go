package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/flock"
	"github.com/weirstream/weir/coordination/zookeeper"
	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/cluster"
	"github.com/weirstream/weir/host/console"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/peer"
	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/host/secret"
	"github.com/weirstream/weir/host/telemetry"
)

// defaultAPI is where a host serves the API, and where commands look for it.
const defaultAPI = "127.0.0.1:7117"

// serveOptions are the flags of `weir serve`.
type serveOptions struct {
	zookeeper      string
	zookeeperUser  string
	zookeeperPass  string // a file
	zookeeperTLS   tlsFiles
	cluster        string
	id             string
	sessionTimeout time.Duration
	connectTimeout time.Duration
	failoverDelay  time.Duration
	api            apiFlags
	peerListen     string
	advertise      string
	slots          int
	storage        string
	stateDir       string
	pluginDirs     []string
	tls            tlsFiles
	insecure       bool
	log            logFlags
}

func newServe() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Join a cluster and run pipelines for it",
		Long: `Serve makes this process a host of a cluster: it registers in ZooKeeper, takes
part in the election of a leader, and runs the tasks that are assigned to it. Any
host may die at any moment: its tasks go on elsewhere, from the last checkpoint.

SIGINT and SIGTERM drain it: its tasks move to other hosts, without loss, and then
it exits with 0. A second one exits at once, and nothing is lost either.

Every flag can also be given by a variable, as in WEIR_CHECKPOINT_STORAGE for
--checkpoint-storage, or as a field of the file that --config names; a flag wins over
a variable, and a variable over the file.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := otherwise(cmd.Flags(), "WEIR"); err != nil {
				return badInput(err)
			}
			return serve(cmd.Context(), o, cmd.ErrOrStderr())
		},
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	f := cmd.Flags()
	f.String("config", "", "YAML file with these flags as fields")
	f.StringVar(&o.zookeeper, "zookeeper", "", "servers of the ensemble as host:port,...; a path at the end is a chroot that exists")
	f.StringVar(&o.zookeeperUser, "zookeeper-user", "", "user for digest authentication; all records are for this user alone then")
	f.StringVar(&o.zookeeperPass, "zookeeper-password-file", "", "file with that user's password")
	f.StringVar(&o.cluster, "cluster", "default", "name of the cluster: its records lie below /weir/NAME")
	f.StringVar(&o.id, "host-id", host, "name of this host in the cluster")
	f.DurationVar(&o.sessionTimeout, "session-timeout", zookeeper.DefaultSessionTimeout, "how long the ensemble waits for word of a host before its tasks go elsewhere")
	f.DurationVar(&o.connectTimeout, "connect-timeout", zookeeper.DefaultConnectTimeout, "bound for an attempt at one server of the ensemble")
	f.DurationVar(&o.failoverDelay, "failover-delay", 0, "how long a host that was lost may take to come back before its tasks go elsewhere")
	f.StringVar(&o.api.listen, "listen", defaultAPI, "where the API and /metrics are served")
	f.StringVar(&o.api.tokenFile, "api-token-file", "", "file with a token that the API asks for; beyond this machine that, or certificates, are needed")
	f.StringVar(&o.peerListen, "peer-listen", "", "where data from other hosts comes in; by default the port of --advertise, on every interface, or any port of this machine alone")
	f.StringVar(&o.advertise, "advertise", "", "how other hosts reach that: host:port; by default what --peer-listen says")
	f.IntVar(&o.slots, "slots", 8*runtime.GOMAXPROCS(0), "how many tasks this host takes")
	f.StringVar(&o.storage, "checkpoint-storage", "", "URL where checkpoints lie, the same for all hosts: file:///SHARED/FOLDER, s3://..., gs://..., azblob://...")
	f.BoolVar(&o.insecure, "insecure", false, "allow data and the API without encryption and authentication beyond this machine")
	stateDirFlag(cmd, &o.stateDir)
	pluginDirFlag(cmd, &o.pluginDirs)
	o.tls.flags(cmd)
	o.zookeeperTLS.ensembleFlags(cmd)
	o.log.flags(cmd)
	return cmd
}

// serve is `weir serve`.
func serve(parent context.Context, o serveOptions, errOut io.Writer) error {
	mask := &secret.Mask{}
	log, kept, err := o.log.logger(errOut, console.IsTerminal(errOut), mask)
	if err != nil {
		return err
	}
	log = log.With("host", o.id)
	if err := o.check(); err != nil {
		return badInput(err)
	}
	creds, err := o.tls.credentials()
	if err != nil {
		return badInput(err)
	}
	ctx, signals := watchSignals(parent)
	defer signals.stop()

	dir := filepath.Join(o.stateDir, "hosts", o.cluster, o.id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return failed(fmt.Errorf("state folder: %w", err))
	}
	locks, err := flock.TakeRun(ctx, dir, flock.RunOptions{Waiting: func(pids []int) {
		log.Warn("waiting for plugin processes of a host that was killed", "pids", pids)
	}})
	if err != nil {
		var held *flock.HeldError
		if errors.As(err, &held) {
			return failed(fmt.Errorf("host %s of cluster %s runs on this machine already (%w): stop that one first, or give this one another --host-id", o.id, o.cluster, held))
		}
		return failed(err)
	}
	defer locks.Release()

	identity := peer.Identity{Cluster: o.cluster, Host: o.id}
	o.api.otherwise = ", or certificates with --tls-cert, --tls-key and --tls-ca, or say --insecure"
	front, token, err := o.api.listener(o.tls.given() || o.insecure)
	if err != nil {
		return badInput(err)
	}
	defer front.Close()
	if creds.api != nil {
		front = tls.NewListener(front, creds.api)
	}
	listener, err := net.Listen("tcp", o.peerAddress())
	if err != nil {
		return badInput(fmt.Errorf("--peer-listen: %w", err))
	}
	server := peer.NewServer(identity, creds.server)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { _ = server.Serve(listener) })
	defer server.Stop()

	library, remove, err := o.library(dir, locks.Inherit(), log, mask)
	if err != nil {
		return failed(err)
	}
	defer remove()
	open, err := o.sessions(log)
	if err != nil {
		return badInput(err)
	}
	var mesh *peer.Mesh
	defer func() {
		if mesh != nil {
			mesh.Close()
		}
	}()
	var sent *telemetry.Telemetry
	node := cluster.New(cluster.Config{
		OnCheckpoint: func(c engine.CheckpointTrace) { sent.Checkpoint(c) },
		ID:           identity,
		Host:         cluster.Host{Address: o.address(listener), API: front.Addr().String(), Slots: o.slots, Version: currentVersion()},
		Open:         open,
		Peers: func(instance string, find peer.Directory) engine.Peers {
			if mesh != nil {
				mesh.Close()
			}
			server.Renew(instance)
			mesh = peer.NewMesh(server, find, creds.client)
			return mesh
		},
		Load: library.Load, Storage: library.OpenStorage, Failover: o.failoverDelay, Log: log, Journal: kept,
	})
	signals.onFirst(func() {
		log.Info("a second signal stops at once, and loses nothing either")
		node.Drain()
	})
	answering := &servedAPI{log: log}
	pipelines := &cluster.API{Node: node, Library: library, Journal: kept}
	if sent, err = startTelemetry(ctx, pipelines, log); err != nil {
		return badInput(err)
	}
	defer closeTelemetry(ctx, sent, log)
	answering.serve(front, api.Config{Pipelines: pipelines, Cluster: pipelines, Version: currentVersion(), Token: token, Anyone: o.insecure, Log: log})
	defer answering.close()
	log.Info("the API is served", "address", front.Addr().String())
	if err := node.Run(ctx); err != nil && ctx.Err() == nil {
		return failed(err)
	}
	return nil
}

// check refuses what cannot be meant.
func (o *serveOptions) check() error {
	switch {
	case o.zookeeper == "":
		return errors.New("--zookeeper is missing: host:port of each server of the ensemble, separated by commas")
	case o.storage == "":
		return errors.New("--checkpoint-storage is missing: a URL that all hosts share, such as file:///mnt/shared/weir or s3://bucket/weir")
	case o.slots < 0:
		return fmt.Errorf("--slots: %d is below 0", o.slots)
	case o.zookeeperUser == "" != (o.zookeeperPass == ""):
		return errors.New("--zookeeper-user and --zookeeper-password-file go together")
	}
	for flag, v := range map[string]string{"--cluster": o.cluster, "--host-id": o.id} {
		if err := coordination.CheckPath(v); err != nil || strings.Contains(v, "/") {
			return fmt.Errorf("%s: %q cannot be a name in ZooKeeper, nor the name of a folder", flag, v)
		}
	}
	public := o.advertise
	if public == "" {
		public = o.peerAddress()
	}
	host, port, err := net.SplitHostPort(public)
	if err != nil {
		return fmt.Errorf("%q is not host:port: %w", public, err)
	}
	if o.advertise == "" && unspecified(host) {
		return fmt.Errorf("--advertise is missing: other hosts cannot reach %s", o.peerListen)
	}
	if o.advertise != "" && port == "0" {
		return fmt.Errorf("--advertise: %s has no port", o.advertise)
	}
	if !loopback(host) && !o.tls.given() && !o.insecure {
		return fmt.Errorf("data would go to and from %s without encryption and authentication: give --tls-cert, --tls-key and --tls-ca, or say --insecure", public)
	}
	return nil
}

// peerAddress is where data from other hosts comes in.
func (o *serveOptions) peerAddress() string {
	if o.peerListen != "" {
		return o.peerListen
	}
	host, port, err := net.SplitHostPort(o.advertise)
	switch {
	case err != nil:
		return "127.0.0.1:0"
	case loopback(host):
		return o.advertise
	}
	return ":" + port
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (o *serveOptions) address(l net.Listener) string {
	if o.advertise != "" {
		return o.advertise
	}
	return l.Addr().String()
}

// library is how this host loads pipelines.
func (o *serveOptions) library(dir string, inherit *os.File, log *slog.Logger, mask *secret.Mask) (*cluster.Library, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find the weir binary, which holds the first-party plugin: %w", err)
	}
	sockets, removeSockets, err := process.SocketDir(filepath.Join(dir, "run"))
	if err != nil {
		return nil, nil, err
	}
	opts := process.Options{
		Log: log, Mask: mask, SocketDir: sockets, DumpDir: filepath.Join(dir, "dumps"), HostVersion: currentVersion(),
	}
	l := &cluster.Library{
		BuiltIn: process.Command{Args: []string{self, servePlugin}}, Process: opts, Inherit: inherit,
		Scratch: filepath.Join(dir, "scratch"), StorageURL: o.storage, Storage: storageOptions(), Log: log,
	}
	if len(o.pluginDirs) > 0 {
		l.Path = func(dir string) []string {
			return append(append([]string{}, o.pluginDirs...), catalog.DefaultPath(dir)...)
		}
	}
	return l, func() {
		if err := removeSockets(); err != nil {
			log.Warn("remove the folder for sockets", "error", err)
		}
	}, nil
}

// sessions opens sessions with the ensemble.
func (o *serveOptions) sessions(log *slog.Logger) (func(context.Context) (coordination.Store, error), error) {
	c := zookeeper.Config{
		Servers: o.zookeeper, Cluster: o.cluster, SessionTimeout: o.sessionTimeout, ConnectTimeout: o.connectTimeout,
		Username: o.zookeeperUser, Logger: log,
	}
	var err error
	if c.TLS, err = o.zookeeperTLS.asker(); err != nil {
		return nil, err
	}
	if o.zookeeperPass != "" {
		data, err := os.ReadFile(o.zookeeperPass)
		if err != nil {
			return nil, fmt.Errorf("--zookeeper-password-file: %w", err)
		}
		c.Password = strings.TrimRight(string(data), "\r\n")
	}
	return func(ctx context.Context) (coordination.Store, error) {
		s, err := zookeeper.Open(ctx, c)
		if err != nil {
			return nil, err
		}
		return s, nil
	}, nil
}
