package sarama_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// Whatever a program asks for while no broker is there, it learns that none is.
func TestOutageIsOutOfBrokers(t *testing.T) {
	server := newServer(t)
	config := testConfig()
	config.Net.ReadTimeout = 500 * time.Millisecond
	config.Admin.Retry.Max = 0
	config.Consumer.Group.Rebalance.Retry.Max = 0
	client := newClient(t, []string{server.Address()}, config)
	if _, err := client.Partitions("t"); err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, consumer)
	group, err := sarama.NewConsumerGroupFromClient("g", client)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, group)
	offsets, err := sarama.NewOffsetManagerFromClient("h", client)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, offsets)
	server.Stop()
	calls := map[string]func() error{
		"refresh": func() error { return client.RefreshMetadata("t") },
		"partitions": func() error {
			_, err := client.Partitions("new")
			return err
		},
		"offset": func() error {
			_, err := client.GetOffset("t", 0, sarama.OffsetNewest)
			return err
		},
		"controller": func() error {
			_, err := client.RefreshController()
			return err
		},
		"topics": func() error {
			_, err := admin.ListTopics()
			return err
		},
		"create": func() error {
			return admin.CreateTopic("x", &sarama.TopicDetail{
				NumPartitions: 1, ReplicationFactor: 1,
			}, false)
		},
		"manage": func() error {
			_, err := offsets.ManagePartition("t", 0)
			return err
		},
		"consume": func() error {
			_, err := consumer.ConsumePartition("t", 0, sarama.OffsetOldest)
			return err
		},
		"group": func() error {
			return group.Consume(context.Background(), []string{"t"}, handler{})
		},
	}
	for what, call := range calls {
		t.Run(what, func(t *testing.T) {
			if err := call(); !errors.Is(err, sarama.ErrOutOfBrokers) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What stands before a broker may ask for less without one of its reasons.
func TestThrottledWithoutAReason(t *testing.T) {
	server := newServer(t)
	config := testConfig()
	config.Producer.Retry.Max = 0
	server.OnProduce(func(*pb.ProduceRequest) *testserver.Fault {
		return &testserver.Fault{Status: testserver.Status(codes.ResourceExhausted, "")}
	})
	_, _, err := newProducer(t, []string{server.Address()}, config).SendMessage(text("t", "x"))
	if err != sarama.ErrThrottlingQuotaExceeded {
		t.Errorf("got %v", err)
	}
}
