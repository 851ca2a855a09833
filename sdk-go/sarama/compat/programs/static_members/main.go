// Two static members, one of which comes back with what it had, without a rebalance.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const topic = "static-members"

type handler struct{ claims chan []int32 }

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	claims := slices.Clone(session.Claims()[topic])
	slices.Sort(claims)
	h.claims <- claims
	return nil
}
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (handler) ConsumeClaim(
	_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for range claim.Messages() {
	}
	return nil
}

type member struct {
	group  sarama.ConsumerGroup
	claims chan []int32
	cancel context.CancelFunc
	done   chan struct{}
}

func join(brokers []string, name string) *member {
	config := sarama.NewConfig()
	config.Version = sarama.V2_4_0_0
	config.Consumer.Group.InstanceId = name
	config.Consumer.Group.Session.Timeout = 30 * time.Second
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{
		sarama.NewBalanceStrategyRange(),
	}
	group, err := sarama.NewConsumerGroup(brokers, topic, config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{group, make(chan []int32, 64), cancel, make(chan struct{})}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{topic}, handler{m.claims}); err != nil {
				log.Fatal(err)
			}
		}
	}()
	return m
}

// await waits until the member has as many partitions.
func (m *member) await(n int) []int32 {
	for claims := range m.claims {
		if len(claims) == n {
			return claims
		}
	}
	return nil
}

func (m *member) leave() {
	m.cancel()
	<-m.done
	if err := m.group.Close(); err != nil {
		log.Fatal(err)
	}
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Version = sarama.V2_4_0_0
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	detail := &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		log.Fatal(err)
	}

	a := join(brokers, "a")
	fmt.Println("a alone:", a.await(4))
	b := join(brokers, "b")
	hadA, hadB := a.await(2), b.await(2)
	both := append(slices.Clone(hadA), hadB...)
	slices.Sort(both)
	fmt.Println("together:", both)

	b.leave()
	b = join(brokers, "b")
	fmt.Println("b has the same again:", slices.Equal(b.await(2), hadB))
	fmt.Println("a saw nothing of it:", len(a.claims) == 0)

	a.leave()
	b.leave()
	left, err := admin.RemoveMemberFromConsumerGroup(topic, []string{"a", "b", "nobody"})
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range left.Members {
		fmt.Println(*m.GroupInstanceId, m.Err == sarama.ErrNoError, m.Err == sarama.ErrUnknownMemberId)
	}
}

// Output:
// a alone: [0 1 2 3]
// together: [0 1 2 3]
// b has the same again: true
// a saw nothing of it: true
// a true false
// b true false
// nobody false true
