// A strategy of its own: the member whose id is the first takes everything.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/IBM/sarama"
)

type winnerTakesAll struct{}

func (winnerTakesAll) Name() string { return "winner-takes-all" }

func (winnerTakesAll) Plan(
	members map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32,
) (sarama.BalanceStrategyPlan, error) {
	var ids []string
	for id := range members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	plan := sarama.BalanceStrategyPlan{}
	for topic, partitions := range topics {
		plan.Add(ids[0], topic, partitions...)
	}
	return plan, nil
}

func (winnerTakesAll) AssignmentData(string, map[string][]int32, int32) ([]byte, error) {
	return nil, nil
}

type handler struct{ claims chan map[string][]int32 }

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	h.claims <- session.Claims()
	return nil
}
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (handler) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for message := range claim.Messages() {
		session.MarkMessage(message, "")
	}
	return nil
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{winnerTakesAll{}}
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}
	if err := admin.CreateTopic("custom-strategy", detail, false); err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	h := handler{make(chan map[string][]int32, 16)}
	group, err := sarama.NewConsumerGroup(brokers, "custom-strategy", config)
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan error)
	go func() {
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{"custom-strategy"}, h); err != nil {
				done <- err
			}
		}
		close(done)
	}()
	claims := <-h.claims
	slices.Sort(claims["custom-strategy"])
	fmt.Println("claims", claims)
	groups, err := admin.DescribeConsumerGroups([]string{"custom-strategy"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("protocol", groups[0].Protocol)
	cancel()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	fmt.Println("closed", group.Close())
}

// Output:
// claims map[custom-strategy:[0 1 2]]
// protocol winner-takes-all
// closed <nil>
