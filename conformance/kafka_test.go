package conformance

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/weirstream/weir/conformance/spec"
	"github.com/weirstream/weir/internal/testserver/kafkatest"
)

// makeTopic is the argument with which the test binary makes a case's topic.
const makeTopic = "__topic"

func playMakeTopic(servers, topic string) error {
	return kafkatest.CreateTopic(context.Background(), servers, topic, 1, 1, nil)
}

func TestTheKafkaComponentsPassTheirCases(t *testing.T) {
	broker := kafkatest.New(t, kafkatest.Options{})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KAFKA", broker.Bootstrap())
	t.Setenv("MAKE_TOPIC", fmt.Sprintf("%s %s", self, makeTopic))
	config, err := spec.Open("../plugins/kafka/conformance.yaml")
	if err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Options{Command: firstParty(t), FirstParty: firstParty(t), Config: config, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Status == Fail || r.Status == Broken {
			t.Error(r.Text())
		}
	}
	if report.Count(Pass) == 0 {
		t.Error("no case was run")
	}
}
