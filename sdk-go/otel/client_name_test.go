package otelropewalk_test

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A client has one name on all of its connections; where two clients have two names, none of them
// is said.
func TestClientsOfSeveralNamesHaveNone(t *testing.T) {
	o := observe(t)
	for _, connected := range []struct {
		name string
		says string
	}{{"till", "till"}, {"till", "till"}, {"kitchen", ""}, {"till", ""}} {
		o.OnBrokerConnected(ropewalk.BrokerConnected{ClientID: connected.name})
		o.spans.Reset()
		o.OnSend(bounded(t), order("", "v"))(ropewalk.Ack{}, nil)
		set := attribute.NewSet(o.span(t, "send orders").Attributes...)
		name, there := set.Value("messaging.client.id")
		if name.AsString() != connected.says || there != (connected.says != "") {
			t.Errorf("after %q it says %q", connected.name, name.AsString())
		}
	}
}
