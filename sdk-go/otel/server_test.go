package otelropewalk_test

import (
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// What another broker answers is another series, and a broker that is not known is none.
func TestBrokersAreToldApart(t *testing.T) {
	o := observe(t)
	for _, address := range []string{
		"broker-1.example.org:9092", "[2001:db8::2]:9093", "broker-1.example.org:9092", "",
	} {
		o.OnRecordsDelivered(ropewalk.RecordsDelivered{
			TopicPartition: ropewalk.TopicPartition{Topic: "orders"}, Records: 1, Address: address,
		})
	}
	counts := map[string]int64{}
	for _, point := range o.sum(t, "messaging.client.consumed.messages") {
		where := point.Attributes
		host, _ := where.Value("server.address")
		port, there := where.Value("server.port")
		if there && port.Type() != attribute.INT64 {
			t.Errorf("the port is a %v", port.Type())
		}
		counts[host.AsString()+" "+port.String()] += point.Value
	}
	if len(counts) != 3 || counts["broker-1.example.org 9092"] != 2 ||
		counts["2001:db8::2 9093"] != 1 {
		t.Errorf("they are %v", counts)
	}
}

// A span names the leader once the client goes there, whichever broker it was dialed at.
func TestSpansNameTheLeader(t *testing.T) {
	servers, err := testserver.NewCluster(2)
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range servers {
		t.Cleanup(server.Stop)
	}
	o := observe(t)
	client, err := ropewalk.Dial(bounded(t), []string{servers[0].Address()},
		ropewalk.WithLogger(slog.New(slog.DiscardHandler)), ropewalk.WithHooks(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // what it sends is answered by then
	if _, err := client.Admin().CreateTopic(bounded(t), "orders", 1); err != nil {
		t.Fatal(err)
	}
	if err := servers[0].Lead("orders", 0, 2); err != nil {
		t.Fatal(err)
	}
	producer, err := client.NewProducer(ropewalk.WithSendInterceptor(o))
	if err != nil {
		t.Fatal(err)
	}
	var said string
	for ctx := bounded(t); said != servers[1].Address(); {
		o.spans.Reset()
		ack, err := producer.Send(ctx, order("", "v"))
		if err != nil {
			t.Fatalf("%v; the last one went to %s", err, said)
		}
		set := attribute.NewSet(o.span(t, "send orders").Attributes...)
		host, _ := set.Value("server.address")
		port, _ := set.Value("server.port")
		if said = host.AsString() + ":" + port.String(); said != ack.Address {
			t.Fatalf("it says %s, and was answered by %s", said, ack.Address)
		}
	}
}
