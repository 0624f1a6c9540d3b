# make        builds ./bin/weir
# make test   installs what the tests need, starts what they test against, and passes them
# make lint   what CI checks beside the tests
# make proto  generates the Go code of the wire contract
# make client generates the client of tools/apiclient from the API's document
# make docs   generates docs/connectors, docs/cli.md, docs/errors.md and the tables of docs/pipeline.md
#
# make kafka-up     starts an Apache Kafka for a trial; the last line is bootstrap.servers=HOST:PORT
# make kafka-topic  TOPIC=name PARTITIONS=n  creates a topic in it
# make kafka-down   stops it and removes its data
#
# make zookeeper-up    NODES=n  starts an Apache ZooKeeper of n servers, three unless said; the last line is zookeeper=HOST:PORT,...
# make zookeeper-cli   CMD='get /weir'  runs one command of its zkCli
# make zookeeper-down  stops it and removes its data

GO    ?= go
TOOL  := $(GO) tool -modfile=tools/go.mod
# Runs every test, and each that failed once more, unless many did or
# the race detector spoke. What passes only then is listed at the end: it is to be
# mended all the same.
TESTS := $(TOOL) gotestsum --format standard-quiet --rerun-fails=1 --rerun-fails-max-failures=8 \
         --rerun-fails-run-root-test --rerun-fails-abort-on-data-race
GOFILES = $(shell git ls-files '*.go' ':!*.pb.go')

.PHONY: all build test race fault lint fmt vet staticcheck vuln proto proto-check client docs cross clean

all: build

build:
	$(GO) build -trimpath -tags cloud -ldflags='-s -w' -o bin/weir ./cmd/weir

test:
	$(GO) mod download
	$(GO) vet ./...
	$(GO) vet -tags cloud ./cmd/weir
	$(TESTS) --packages=./... -- -race -timeout 20m
	# The race detector slows the simulations tenfold: their schedules run without.
	$(GO) test -timeout 10m -run Simulation ./checkpoint
	# The ZooKeeper library has a data race where connections are cut all the time.
	$(GO) test -timeout 10m -run TestReadingBack ./coordination/zookeeper
	WEIR_SCHEDULES=1000 $(GO) test -timeout 10m -run Simulation ./internal/clustersim
	# Modules of their own, which need more than Weir does: the dashboard's and the
	# alerts' queries, and a generated client of the API.
	$(GO) -C deploy test -timeout 10m .
	$(GO) -C tools test -timeout 10m ./apiclient

lint: fmt vet staticcheck proto-check cross vuln

fmt:
	@out=$$(gofmt -l $(GOFILES)); test -z "$$out" || { echo "gofmt: not formatted:"; echo "$$out"; exit 1; }

vet:
	$(GO) vet ./...
	$(GO) vet -tags cloud ./cmd/weir

staticcheck:
	$(TOOL) staticcheck ./...

# The vulnerability data base lies on the network: where it cannot be reached,
# that is said and is no failure.
vuln:
	@out=$$($(TOOL) govulncheck ./... 2>&1); code=$$?; \
	case "$$out" in *"dial tcp"*|*"no such host"*|*"Forbidden"*) echo "govulncheck: its data cannot be reached from here, not checked"; exit 0;; esac; \
	echo "$$out"; exit $$code

proto:
	$(GO) -C tools run ./protogen ../proto

proto-check: proto
	@git diff --exit-code --stat -- proto || { echo "proto: generated code is not current: run 'make proto' and commit"; exit 1; }

client:
	$(GO) -C tools generate ./apiclient

# Tests see that these are current.
docs:
	rm -f docs/connectors/*.md
	$(GO) run ./cmd/weir plugin describe weir --pages docs/connectors
	$(GO) test ./host/schema ./host/explain -run Current -update
	$(GO) test ./cmd/weir -run TestTheCommandsAreDocumented -update

# The clients of object stores are somebody else's to port.
cross:
	@for target in linux/amd64 darwin/arm64 windows/amd64; do echo "build $$target"; \
	  GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 $(GO) build -o /dev/null $$($(GO) list -f '{{if .GoFiles}}{{.ImportPath}}{{end}}' ./... | grep -v storage/cloud) || exit 1; done

.PHONY: kafka-up kafka-topic kafka-down
kafka-up:
	@$(GO) run ./internal/testserver kafka up

PARTITIONS ?= 1
kafka-topic:
	@$(GO) run ./internal/testserver kafka topic '$(TOPIC)' '$(PARTITIONS)'

kafka-down:
	@$(GO) run ./internal/testserver kafka down

.PHONY: zookeeper-up zookeeper-cli zookeeper-down
NODES ?= 3
zookeeper-up:
	@$(GO) run ./internal/testserver zookeeper up '$(NODES)'

zookeeper-cli:
	@$(GO) run ./internal/testserver zookeeper cli $(CMD)

zookeeper-down:
	@$(GO) run ./internal/testserver zookeeper down

clean:
	rm -rf bin
