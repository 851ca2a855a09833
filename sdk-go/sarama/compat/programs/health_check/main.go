// Looks whether the brokers can be reached.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

func main() {
	addrs := strings.Split(os.Getenv("BROKERS"), ",")
	config := sarama.NewConfig()
	config.Metadata.Retry.Max = 0

	broker := sarama.NewBroker(addrs[0])
	fmt.Println("id", broker.ID(), broker.Addr() == addrs[0])
	connected, err := broker.Connected()
	fmt.Println("before:", connected, err)
	if err := broker.Open(config); err != nil {
		log.Fatal(err)
	}
	fmt.Println("twice:", broker.Open(config) == sarama.ErrAlreadyConnected)
	connected, err = broker.Connected()
	fmt.Println("open:", connected, err)
	fmt.Println("closed:", broker.Close(), broker.Close() == sarama.ErrNotConnected)

	config = sarama.NewConfig()
	config.Metadata.Retry.Max = 20
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		log.Fatal(err)
	}
	for _, b := range client.Brokers() {
		_ = b.Open(client.Config())
		connected, err := b.Connected()
		found, notFound := client.Broker(b.ID())
		fmt.Println("of the client:", connected, err, b.ID() > 0, found == b, notFound)
	}
	controller, err := client.Controller()
	fmt.Println("controller:", controller.ID() == client.Brokers()[0].ID(), err)
	_, err = client.Broker(999)
	fmt.Println("another:", err == sarama.ErrBrokerNotFound)
	coordinator, err := client.Coordinator("health-check")
	fmt.Println("coordinator:", coordinator != nil, err)
	fmt.Println(client.Close())
	_, err = client.Controller()
	fmt.Println("after the end:", err == sarama.ErrClosedClient, len(client.Brokers()))

	config.Metadata.Retry.Max = 0
	_, err = sarama.NewClient([]string{"127.0.0.1:1"}, config)
	fmt.Println("nobody there:", err != nil && strings.HasPrefix(err.Error(), sarama.ErrOutOfBrokers.Error()))
	_, err = sarama.NewClient(nil, config)
	_, isConfiguration := err.(sarama.ConfigurationError)
	fmt.Println("no address:", isConfiguration)
}

// Output:
// id -1 true
// before: false <nil>
// twice: true
// open: true <nil>
// closed: <nil> true
// of the client: true <nil> true true <nil>
// controller: true <nil>
// another: true
// coordinator: true <nil>
// <nil>
// after the end: true 0
// nobody there: true
// no address: true
