package kafka

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
)

// What the tests of this package share: a broker of today, one whose transactions
// are those before KIP-890, and which asks for rights, and three of which one may be
// lost.
var (
	broker    kafkatest.Shared
	oldBroker = kafkatest.Shared{Options: kafkatest.Options{Secure: true, Features: []string{"transaction.version=0"}}}
	brokers   = kafkatest.Shared{Options: kafkatest.Options{Brokers: 3}}
)

func TestMain(m *testing.M) {
	code := m.Run()
	broker.Stop()
	oldBroker.Stop()
	brokers.Stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}
