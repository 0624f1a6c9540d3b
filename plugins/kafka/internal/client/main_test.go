package client

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
)

// secure is a broker with TLS and SASL listeners, users and ACLs.
var secure = kafkatest.Shared{Options: kafkatest.Options{Secure: true}}

func TestMain(m *testing.M) {
	code := m.Run()
	secure.Stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}
