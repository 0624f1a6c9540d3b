package zookeeper

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// TestScale plays what a cluster does with its records, with a real session a host,
// and measures it: WEIR_SCALE=HOSTS:PIPELINES, such as 100:100. Each pipeline has
// ten tasks on as many hosts. docs/scaling.md says what came out.
//
// The leader follows the list of hosts and each host's record. A host follows the
// list of the pipelines in which it has a part, and their assignments. A tenth of the
// hosts dies; the leader gives each pipeline that had tasks there a new epoch, in
// phases that all its hosts report. What a host reports of all its pipelines travels
// together.
func TestScale(t *testing.T) {
	size := os.Getenv("WEIR_SCALE")
	if size == "" {
		t.Skip("set WEIR_SCALE=HOSTS:PIPELINES")
	}
	var hosts, pipelines int
	if _, err := fmt.Sscanf(size, "%d:%d", &hosts, &pipelines); err != nil || hosts < 20 || pipelines < 1 {
		t.Fatalf("WEIR_SCALE=%s: HOSTS:PIPELINES with at least 20 hosts is wanted", size)
	}
	e := zookeepertest.New(t, zookeepertest.Options{Nodes: 3, Warm: true})
	c := &scaleCluster{t: t, ensemble: e, config: testConfig(e), reports: map[string]chan string{}}
	c.config.SessionTimeout = 20 * time.Second
	c.play(hosts, pipelines)
}

// scaleTasks is how many tasks a pipeline has, each on a host of its own.
const scaleTasks = 10

// scalePhases is how many phases a new epoch has.
const scalePhases = 6

type scaleCluster struct {
	t        *testing.T
	ensemble *zookeepertest.Ensemble
	config   Config
	leader   coordination.Store
	commits  atomic.Int64
	assigned map[string][]string    // pipelines by host
	reports  map[string]chan string // of each pipeline: "epoch.phase" as hosts report it
}

type scaleHost struct {
	id    string
	store coordination.Store
	dead  context.CancelFunc
}

// countedStore counts the commits that the ensemble sees.
type countedStore struct {
	coordination.Store
	commits *atomic.Int64
}

func (s countedStore) Commit(ctx context.Context, ops ...coordination.Op) error {
	s.commits.Add(1)
	return s.Store.Commit(ctx, ops...)
}

// open opens a session that begins a commit at most once in a pause, as hosts do.
func (c *scaleCluster) open(pause time.Duration) coordination.Store {
	return coordination.Combine(countedStore{mustOpen(c.t, c.config), &c.commits}, pause)
}

// The pauses of a cluster.
const (
	hostPause   = 50 * time.Millisecond
	leaderPause = 0
)

func (c *scaleCluster) play(hosts, pipelines int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c.leader = c.open(leaderPause)
	for p := range pipelines {
		c.reports[pipelineName(p)] = make(chan string, 10*scaleTasks*scalePhases)
	}
	began := time.Now()
	var all []*scaleHost
	for i := range hosts {
		all = append(all, &scaleHost{id: fmt.Sprintf("host-%04d", i), store: c.open(hostPause)})
	}
	c.log("sessions", began, hosts)

	began = time.Now()
	c.assigned = map[string][]string{}
	for p := range pipelines {
		name := pipelineName(p)
		for _, id := range c.place(all, p) {
			c.assigned[id] = append(c.assigned[id], name)
		}
		c.commit(ctx, c.leader, coordination.Create("pipelines/"+name+"/spec", make([]byte, 2000)),
			coordination.Create("pipelines/"+name+"/desired", make([]byte, 100)),
			coordination.Create("pipelines/"+name+"/status", make([]byte, 500)),
			coordination.Create("pipelines/"+name+"/assignment", assignment(0, 0, c.place(all, p))))
		var parts []coordination.Op
		for _, id := range c.place(all, p) {
			parts = append(parts, coordination.Create("assigned/"+id+"/"+name, nil))
		}
		c.commit(ctx, c.leader, parts...)
	}
	c.log("pipelines created", began, pipelines)

	began = time.Now()
	var group, first sync.WaitGroup
	for _, h := range all {
		hctx, dead := context.WithCancel(ctx)
		h.dead = dead
		first.Add(1)
		group.Go(func() { c.host(hctx, h, first.Done) })
	}
	group.Go(func() { c.followHosts(ctx) })
	first.Wait()
	c.log("all hosts are there and see what they follow", began, hosts)
	c.census(ctx)

	killed := all[:hosts/10]
	alive := all[hosts/10:]
	began = time.Now()
	c.commits.Store(0)
	for _, h := range killed {
		h.dead()
		group.Go(func() { _ = h.store.Close() })
	}
	// The leader knows when the list says so.
	for l := range c.leader.WatchChildren(ctx, "hosts") {
		if len(l.Names) == len(alive) {
			break
		}
	}
	c.log("the leader knows", began, len(killed))
	var affected []int
	for p := range pipelines {
		if slices.ContainsFunc(c.place(all, p), func(id string) bool {
			return slices.ContainsFunc(killed, func(h *scaleHost) bool { return h.id == id })
		}) {
			affected = append(affected, p)
		}
	}
	var work sync.WaitGroup
	for _, p := range affected {
		work.Go(func() { c.epoch(ctx, p, c.place(alive, p)) })
	}
	work.Wait()
	took := time.Since(began)
	c.log("every pipeline that lost tasks runs in a new epoch", began, len(affected))
	c.t.Logf("%d commits meanwhile, %.0f a second", c.commits.Load(), float64(c.commits.Load())/took.Seconds())
	cancel()
	group.Wait()
}

func pipelineName(p int) string { return "pipeline-" + strconv.Itoa(p) }

// place spreads a pipeline's tasks over all hosts, so that one of any tenth has one
// of them: the worst case.
func (c *scaleCluster) place(hosts []*scaleHost, p int) (ids []string) {
	for i := range scaleTasks {
		ids = append(ids, hosts[(p+i*len(hosts)/scaleTasks)%len(hosts)].id)
	}
	return ids
}

// assignment is about as long as one in JSON.
func assignment(epoch, phase int, hosts []string) []byte {
	return fmt.Appendf(nil, "%d.%d %s %s", epoch, phase, strings.Join(hosts, " "), strings.Repeat("x", 60*scaleTasks))
}

func (c *scaleCluster) commit(ctx context.Context, s coordination.Store, ops ...coordination.Op) {
	if err := (s.Commit(ctx, ops...)); err != nil && ctx.Err() == nil {
		c.t.Errorf("commit: %v", err)
	}
}

// host registers, follows its pipelines, and reports each phase that names it.
func (c *scaleCluster) host(ctx context.Context, h *scaleHost, settled func()) {
	c.commit(ctx, h.store, coordination.CreateEphemeral("hosts/"+h.id, make([]byte, 300)))
	var group, first sync.WaitGroup
	first.Add(len(c.assigned[h.id]))
	go func() {
		first.Wait()
		settled()
	}()
	following := map[string]bool{}
	for l := range h.store.WatchChildren(ctx, "assigned/"+h.id) {
		for _, name := range l.Names {
			if following[name] {
				continue
			}
			looked := first.Done
			if len(following) >= len(c.assigned[h.id]) { // what comes later nobody waits for
				looked = func() {}
			}
			following[name] = true
			group.Go(func() { c.followPipeline(ctx, h, name, looked) })
		}
	}
	group.Wait()
}

// followHosts follows every host, as the leader does.
func (c *scaleCluster) followHosts(ctx context.Context) {
	var group sync.WaitGroup
	seen := map[string]bool{}
	for l := range c.leader.WatchChildren(ctx, "hosts") {
		for _, id := range l.Names {
			if !seen[id] {
				seen[id] = true
				group.Go(func() {
					for range c.leader.Watch(ctx, "hosts/"+id) {
					}
				})
			}
		}
	}
	group.Wait()
}

func (c *scaleCluster) followPipeline(ctx context.Context, h *scaleHost, name string, looked func()) {
	for ch := range h.store.Watch(ctx, "pipelines/"+name+"/assignment") {
		text, _, _ := strings.Cut(string(ch.Record.Data), " x")
		fields := strings.Fields(text)
		looked()
		looked = func() {}
		if len(fields) > 1 && fields[0] != "0.0" && slices.Contains(fields[1:], h.id) {
			if coordination.Put(ctx, h.store, "pipelines/"+name+"/reports/"+h.id, []byte(fields[0])) == nil {
				c.reports[name] <- fields[0]
			}
		}
	}
}

// epoch takes a pipeline through the phases of a new epoch.
func (c *scaleCluster) epoch(ctx context.Context, p int, hosts []string) {
	name := pipelineName(p)
	ops := []coordination.Op{coordination.Create("pipelines/"+name+"/epoch", make([]byte, 200))}
	for _, id := range hosts {
		if !slices.Contains(c.assigned[id], name) {
			ops = append(ops, coordination.Create("assigned/"+id+"/"+name, nil))
		}
	}
	c.commit(ctx, c.leader, ops...)
	for phase := range scalePhases {
		c.commit(ctx, c.leader, coordination.Set("pipelines/"+name+"/assignment", assignment(1, phase, hosts), coordination.AnyVersion))
		want := fmt.Sprintf("1.%d", phase)
		for left := len(hosts); left > 0; {
			select {
			case got := <-c.reports[name]:
				if got == want {
					left--
				}
			case <-ctx.Done():
				c.t.Errorf("%s: phase %d: %d hosts have not reported", name, phase, left)
				return
			}
		}
	}
	c.commit(ctx, c.leader, coordination.Set("pipelines/"+name+"/status", make([]byte, 500), coordination.AnyVersion))
}

// census says what the servers hold.
func (c *scaleCluster) census(ctx context.Context) {
	var watches int
	for _, n := range c.ensemble.Nodes {
		for line := range strings.Lines(n.Ask(ctx, "mntr")) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if name == "zk_watch_count" {
				count, _ := strconv.Atoi(value)
				watches += count
			}
			if n.ID == 1 && (name == "zk_znode_count" || name == "zk_approximate_data_size") {
				c.t.Logf("%s: %s", name, value)
			}
		}
		c.t.Logf("server %d (%s): %s of memory", n.ID, n.Mode(ctx), resident(n.PID()))
	}
	c.t.Logf("watches: %d", watches)
}

// resident returns a process's resident memory as Linux tells it.
func resident(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, found := strings.Cut(string(text), "VmRSS:")
	if !found {
		return "?"
	}
	line, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(line)
}

func (c *scaleCluster) log(what string, began time.Time, count int) {
	c.t.Logf("%s: %d in %s", what, count, time.Since(began).Round(time.Millisecond))
}
