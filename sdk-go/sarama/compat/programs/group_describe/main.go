// Describes groups: who is a member, and what each has.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const topic = "group-describe"

type handler struct{ up chan struct{} }

func (h handler) Setup(sarama.ConsumerGroupSession) error { h.up <- struct{}{}; return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		s.MarkMessage(message, "")
		s.Commit()
	}
	return nil
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Version = sarama.V2_4_0_0
	config.ClientID = "describer"
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{
		sarama.NewBalanceStrategyRange(),
	}
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		log.Fatal(err)
	}
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		log.Fatal(err)
	}
	if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic}); err != nil {
		log.Fatal(err)
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}

	group, err := sarama.NewConsumerGroup(brokers, topic, config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := handler{make(chan struct{}, 16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{topic}, h); err != nil {
				log.Fatal(err)
			}
		}
	}()
	<-h.up

	describe := func() *sarama.GroupDescription {
		groups, err := admin.DescribeConsumerGroups([]string{topic})
		if err != nil || len(groups) != 1 {
			log.Fatal(len(groups), err)
		}
		return groups[0]
	}
	found := describe()
	for found.State != "Stable" {
		time.Sleep(50 * time.Millisecond)
		found = describe()
	}
	fmt.Println(found.GroupId, found.State, found.ProtocolType, found.Protocol, len(found.Members))
	for _, member := range found.Members {
		assignment, err := member.GetMemberAssignment()
		if err != nil {
			log.Fatal(err)
		}
		metadata, err := member.GetMemberMetadata()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(member.ClientId, assignment.Topics, metadata.Topics)
	}
	err = admin.DeleteConsumerGroup(topic)
	fmt.Println("in use:", errors.Is(err, sarama.ErrNonEmptyGroup))
	for {
		offsets, err := admin.ListConsumerGroupOffsets(topic, nil)
		if err != nil {
			log.Fatal(err)
		}
		if len(offsets.Blocks) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}

	cancel()
	<-done
	if err := group.Close(); err != nil {
		log.Fatal(err)
	}
	found = describe() // who has left is gone
	fmt.Println(found.State, len(found.Members))
	fmt.Println("deleted:", admin.DeleteConsumerGroup(topic))
	fmt.Println(describe().State)
	err = admin.DeleteConsumerGroup(topic)
	fmt.Println("not there:", errors.Is(err, sarama.ErrGroupIDNotFound))
}

// Output:
// group-describe Stable consumer range 1
// describer map[group-describe:[0 1]] [group-describe]
// in use: true
// Empty 0
// deleted: <nil>
// Dead
// not there: true
