package client

import (
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk/sdktest"
)

func TestPropertiesThatDoNotFitAreRefused(t *testing.T) {
	for _, test := range []struct{ config, field, want string }{
		{`{"bootstrap.servers": ", "}`, "bootstrap.servers", "names no broker"},
		{`{"bootstrap.servers": "a:1,b"}`, "bootstrap.servers", `"b" is no host:port`},
		{`{"bootstrap.servers": "a:1", "ssl.truststore.location": "x"}`, "ssl.truststore.location", "security.protocol is PLAINTEXT"},
		{`{"bootstrap.servers": "a:1", "sasl.mechanism": "PLAIN"}`, "security.protocol", "SASL_SSL"},
		{`{"bootstrap.servers": "a:1", "security.protocol": "SASL_SSL"}`, "sasl.mechanism", "is required"},
		{`{"bootstrap.servers": "a:1", "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}`, "sasl.username", "user and password are required"},
		{`{"bootstrap.servers": "a:1", "security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}`, "sasl.mechanism", "SCRAM-SHA-512"},
		{`{"bootstrap.servers": "a:1", "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": "x"}`, "sasl.jaas.config", "LoginModule"},
		{`{"bootstrap.servers": "a:1", "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": "a.ScramLoginModule required username=a password=secret;"}`, "sasl.jaas.config", "does not fit"},
		{`{"bootstrap.servers": "a:1", "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": "a.PlainLoginModule required username=a;"}`, "sasl.jaas.config", "has no username"},
		{`{"bootstrap.servers": "a:1", "security.protocol": "SSL", "ssl.keystore.key": "x"}`, "ssl.keystore.key", "go together"},
		{`{"bootstrap.servers": "a:1", "security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "none"}`, "ssl.endpoint.identification.algorithm", "https"},
		{`{"bootstrap.servers": "a:1", "ssl.truststore.type": "JKS"}`, "ssl.truststore.type", "PEM"},
		{`{"bootstrap.servers": "a:1", "interceptor.classes": "x"}`, "interceptor.classes", "operator"},
		{`{"bootstrap.servers": "a:1", "ssl.ca.location": "x"}`, "ssl.ca.location", "ssl.truststore.location"},
		{`{"bootstrap.servers": "a:1", "sasl.kerberos.service.name": "x"}`, "sasl.kerberos.service.name", "Kerberos"},
		{`{"bootstrap.servers": "a:1", "sasl.usrname": "x"}`, "sasl.usrname", `did you mean "sasl.username"?`},
	} {
		faults := sdktest.Check(t, component(), test.config).Faults
		if len(faults) != 1 || faults[0].Field != test.field || !strings.Contains(faults[0].Message, test.want) || strings.Contains(faults[0].Message, "secret") {
			t.Errorf("%s: %v, want one of %s with %q", test.config, faults, test.field, test.want)
		}
	}
}

func TestUserAndPasswordAreReadAsJavaWritesThem(t *testing.T) {
	for _, test := range []struct{ text, mechanism, user, password string }{
		{`org.apache.kafka.common.security.plain.PlainLoginModule required username="a" password="b";`, "PLAIN", "a", "b"},
		{`org.apache.kafka.common.security.plain.PlainLoginModule required
		   password="say \"x\\y\"; now" username=a serviceName="z";`, "PLAIN", "a", `say "x\y"; now`},
		{`org.apache.kafka.common.security.scram.ScramLoginModule required username=a password=b;`, "SCRAM-SHA-256", "a", "b"},
	} {
		user, password, err := parseJAAS(test.text, test.mechanism)
		if err != nil || user != test.user || password != test.password {
			t.Errorf("%s: %q %q %v", test.text, user, password, err)
		}
	}
}
