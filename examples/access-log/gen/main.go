// Command gen writes the access log of the example: the same one every time.
//
//	go run ./examples/access-log/gen | gzip -9n > examples/access-log/access.log.gz
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"time"
)

// requests is how many lines there are.
const requests = 40_000

func main() {
	if err := write(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// A page is what is asked for, how often, and how long an answer takes.
type page struct {
	method, path string
	ids          int // the path ends in a number below this
	weight       int
	ms, bytes    int
}

var pages = []page{
	{"GET", "/", 0, 12, 14, 18_200},
	{"GET", "/products/", 900, 34, 22, 24_600},
	{"GET", "/search", 0, 14, 85, 11_300},
	{"GET", "/assets/app.js", 0, 10, 3, 148_000},
	{"POST", "/cart", 0, 8, 31, 640},
	{"GET", "/cart", 0, 6, 26, 4_100},
	{"POST", "/checkout", 0, 3, 310, 1_900},
	{"GET", "/account/orders/", 4000, 5, 48, 7_400},
	{"GET", "/healthz", 0, 8, 1, 2},
}

var agents = []string{
	"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36",
	"Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/141.0 Mobile Safari/537.36",
	"shop-app/7.2 (iOS 18.6)",
}

// Addresses are of the blocks that are set aside for documentation.
var networks = []string{"192.0.2", "198.51.100", "203.0.113"}

func write(w io.Writer) error {
	out := bufio.NewWriter(w)
	r := rand.New(rand.NewPCG(2026, 3))
	total := 0
	for _, p := range pages {
		total += p.weight
	}
	at := time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
	for n := range requests {
		at = at.Add(time.Duration(r.IntN(1600)) * time.Millisecond)
		line := request(r, at, total)
		if n%3307 == 3306 {
			// The server was killed while it wrote this one.
			line = line[:len(line)*2/3]
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return out.Flush()
}

func request(r *rand.Rand, at time.Time, total int) string {
	p := pick(r, total)
	path, user, agent := p.path, `null`, agents[r.IntN(len(agents))]
	if p.ids > 0 {
		path += fmt.Sprint(1 + r.IntN(p.ids))
	}
	if r.IntN(3) == 0 || p.path == "/account/orders/" {
		user = fmt.Sprintf(`"u%04d"`, r.IntN(2500))
	}
	status, bytes := 200, p.bytes/2+r.IntN(p.bytes+1)
	ms := 1 + int(float64(p.ms)*(0.5+r.ExpFloat64()))
	// The shop has a bad quarter of an hour.
	trouble := at.Hour() == 9 && at.Minute() < 15
	switch dice := r.IntN(1000); {
	case p.path == "/healthz":
		user, agent = `null`, "kube-probe/1.34"
	case trouble && dice < 180 || dice < 4:
		status, bytes, ms = 502+r.IntN(3), 0, ms+900+r.IntN(4000)
	case dice < 25:
		status, bytes = 404, 512
	case dice < 60:
		status, bytes = 304, 0
	}
	return fmt.Sprintf(`{"ts":"%s","ip":"%s.%d","user":%s,"method":"%s","path":"%s","status":%d,"bytes":%d,"ms":%d,"agent":"%s"}`,
		at.Format("2006-01-02T15:04:05.000Z"), networks[r.IntN(len(networks))], 1+r.IntN(254), user, p.method, path, status, bytes, ms, agent)
}

func pick(r *rand.Rand, total int) page {
	dice := r.IntN(total)
	for _, p := range pages {
		if dice < p.weight {
			return p
		}
		dice -= p.weight
	}
	return pages[0]
}
