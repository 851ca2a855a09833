package ropewalk_test

import (
	"errors"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// A client that must not create topics is told that one does not exist, by a broker that would create
// it.
func TestWithoutTopicCreation(t *testing.T) {
	for name, address := range map[string]string{
		"memory": newServer(t).Address(), "broker": ropewalktest.Start(t).Address,
	} {
		t.Run(name, func(t *testing.T) {
			client, ctx := dial(t, address, ropewalk.WithoutTopicCreation()), testContext(t)
			_, partitions := client.Partitions(ctx, "t")
			_, consumer := client.NewConsumer(ctx, ropewalk.WithTopics("t"))
			_, ofPartition := client.NewConsumer(ctx, ropewalk.WithPartition("t", 0, ropewalk.StartLatest()))
			_, producer := newProducer(t, client).Send(ctx, &ropewalk.Record{Topic: "t"})
			for what, err := range map[string]error{
				"partitions": partitions, "consumer": consumer, "partition": ofPartition, "producer": producer,
			} {
				if !errors.Is(err, ropewalk.ReasonTopicNotFound) {
					t.Errorf("%s: got %v", what, err)
				}
			}
			if topics, err := client.Admin().ListTopics(ctx, ""); err != nil || len(topics) != 0 {
				t.Errorf("topics %v (%v)", topics, err)
			}
			produce(t, dial(t, address), "t", "a") // another client may
			expect(t, newConsumer(t, client, ropewalk.WithTopics("t")), "a")
		})
	}
}
