package examples_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestOrders computes pairs and totals by brute force.
func TestOrders(t *testing.T) {
	l := newLab(t, "orders")
	l.run()
	type order struct {
		Ts       int64
		ID, User string
		Amount   float64
	}
	type click struct {
		Ts   int64
		User string
	}
	var want []string
	seen := map[string]bool{}
	orders := map[string]int{}
	for _, line := range linesOf(t, "orders/orders.jsonl") {
		var o order
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		if seen[o.ID] {
			continue // sent again
		}
		seen[o.ID] = true
		orders[o.User]++
		alone := true
		for _, other := range linesOf(t, "orders/clicks.jsonl") {
			var c click
			if err := json.Unmarshal([]byte(other), &c); err != nil {
				t.Fatal(err)
			}
			if c.User == o.User && max(c.Ts, o.Ts)-min(c.Ts, o.Ts) <= 600_000 {
				alone = false
				want = append(want, fmt.Sprintf(`{"key":%q,"left":%s,"right":%s}`, o.User, line, other))
			}
		}
		if alone {
			want = append(want, fmt.Sprintf(`{"key":%q,"left":%s,"right":null}`, o.User, line))
		}
	}
	sameSet(t, "pairs", l.lines("pairs"), want)
	last := map[string]int{}
	for _, line := range l.lines("totals") {
		var total struct {
			Key    string
			Orders int
		}
		if err := json.Unmarshal([]byte(line), &total); err != nil {
			t.Fatal(err)
		}
		last[total.Key] = max(last[total.Key], total.Orders)
	}
	for user, n := range orders {
		if last[user] != n {
			t.Errorf("%s has %d orders, the totals say %d", user, n, last[user])
		}
	}
	if late := l.lines("late"); len(late) > 0 {
		t.Errorf("late: %s", strings.Join(late, "\n"))
	}
	l.noLeftovers()
}
