// Command consumer shows the messages of topics as a member of a group, until it is interrupted. It
// is written for confluent-kafka-go; its import line alone is of this module.
//
//	consumer localhost:9092 myGroup myTopic '^aRegex.*[Tt]opic'
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: consumer BROKERS GROUP TOPIC...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, brokers, group string, topics []string) error {
	c, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers":     brokers,
		"broker.address.family": "v4",
		"group.id":              group,
		"session.timeout.ms":    6000,
		"auto.offset.reset":     "earliest",
	})
	if err != nil {
		return err
	}

	if err := c.SubscribeTopics(topics, nil); err != nil {
		return err
	}

	for ctx.Err() == nil {
		msg, err := c.ReadMessage(100 * time.Millisecond)
		if err == nil {
			fmt.Fprintf(out, "Message on %s: %s\n", msg.TopicPartition, string(msg.Value))
		} else if !err.(kafka.Error).IsTimeout() {
			// The client recovers from errors by itself.
			fmt.Fprintf(out, "Consumer error: %v (%v)\n", err, msg)
		}
	}

	return c.Close()
}
