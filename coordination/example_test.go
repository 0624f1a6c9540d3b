package coordination_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/coordination/embedded"
)

// Two contenders; what the first writes as leader is refused once it has
// resigned.
func Example() {
	dir, err := os.MkdirTemp("", "weir-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := embedded.Open(filepath.Join(dir, "coordination.db"), embedded.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := db.NewStore() // one session; in a cluster, one a host
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	first, err := coordination.Campaign(ctx, store, "leader", []byte("host-1"))
	if err != nil {
		log.Fatal(err)
	}
	record := coordination.Create("pipelines/access-log/checkpoints/17", []byte(`{"object":"..."}`))
	fmt.Println("as leader:", store.Commit(ctx, first.Guard(), record))

	err = store.Commit(ctx, first.Guard(), record)
	var conflict *coordination.ConflictError
	if errors.As(err, &conflict) {
		fmt.Println("again:", err)
	}

	if err := first.Resign(ctx); err != nil {
		log.Fatal(err)
	}
	second, err := coordination.Campaign(ctx, store, "leader", []byte("host-2"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("epochs grow:", second.Epoch() > first.Epoch())
	err = store.Commit(ctx, first.Guard(), coordination.Set("pipelines/access-log/checkpoints/17", nil, 0))
	fmt.Println("the former leader is fenced:", first.Fenced(err))

	// Output:
	// as leader: <nil>
	// again: operation 1 (create pipelines/access-log/checkpoints/17): record exists
	// epochs grow: true
	// the former leader is fenced: true
}

// A watch sends the present state first, then the newest after each change.
func ExampleStore() {
	dir, err := os.MkdirTemp("", "weir-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := embedded.Open(filepath.Join(dir, "coordination.db"), embedded.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	host, err := db.NewStore()
	if err != nil {
		log.Fatal(err)
	}
	observer, err := db.NewStore()
	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hosts := observer.WatchChildren(ctx, "hosts")
	fmt.Println("hosts:", (<-hosts).Names)
	if err := host.Commit(ctx, coordination.CreateEphemeral("hosts/one", []byte("127.0.0.1:7070"))); err != nil {
		log.Fatal(err)
	}
	fmt.Println("hosts:", (<-hosts).Names)
	if err := host.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("hosts:", (<-hosts).Names)

	// Output:
	// hosts: []
	// hosts: [one]
	// hosts: []
}
