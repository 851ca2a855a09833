package sarama_test

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// Settings as a program has them in its flags. What is wrong with them is said before anything is
// connected.
func ExampleConfig() {
	config := sarama.NewConfig()
	config.ClientID = "billing"

	var err error
	var version sarama.KafkaVersion
	if version, err = sarama.ParseKafkaVersion("3.6.0"); err != nil {
		log.Fatal(err)
	}
	config.Version = version // changes nothing here

	var codec sarama.CompressionCodec
	if err := codec.UnmarshalText([]byte("zstd")); err != nil {
		log.Fatal(err)
	}
	config.Producer.Compression = codec

	acks := map[string]sarama.RequiredAcks{
		"none": sarama.NoResponse, "leader": sarama.WaitForLocal, "all": sarama.WaitForAll,
	}
	config.Producer.RequiredAcks = acks["all"]

	isolation := map[bool]sarama.IsolationLevel{
		true: sarama.ReadCommitted, false: sarama.ReadUncommitted,
	}
	config.Consumer.IsolationLevel = isolation[true] // makes no difference without transactions
	fmt.Println(config.Validate(), version.IsAtLeast(sarama.V2_1_0_0))

	config.Producer.Flush.MaxMessages = -1
	var wrong sarama.ConfigurationError
	fmt.Println(errors.As(config.Validate(), &wrong))
	// Output:
	// <nil> true
	// true
}

// The package says to a logger of the program's what it does by itself.
func ExampleStdLogger() {
	before := sarama.Logger
	defer func() { sarama.Logger = before }()

	var logger sarama.StdLogger = log.New(os.Stdout, "sarama: ", 0)
	sarama.Logger = logger // before clients are made
	sarama.Logger.Println("ready")
	// Output: sarama: ready
}

// What producers and groups count is in a registry, which a program can share with others.
func ExampleMetricRegistry() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	var registry sarama.MetricRegistry = sarama.NewMetricRegistry()
	config := sarama.NewConfig()
	config.MetricRegistry = registry
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(addrs, config)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	_, _, err = producer.SendMessage(&sarama.ProducerMessage{
		Topic: "orders", Value: sarama.StringEncoder("12"),
	})
	if err != nil {
		log.Fatal(err)
	}
	if sent, ok := registry.Get("record-send-rate").(*sarama.MetricCounter); ok {
		fmt.Println("sent", sent.Count())
	}
	// Output: sent 1
}

// tunnel makes connections in a way of its own; golang.org/x/net/proxy has some.
type tunnel struct{}

func (tunnel) Dial(network, address string) (net.Conn, error) {
	return net.DialTimeout(network, address, 5*time.Second)
}

func ExampleProxyDialer() {
	addrs, stop := exampleAddrs() // localhost:9092
	defer stop()
	var dialer sarama.ProxyDialer = tunnel{}
	config := sarama.NewConfig()
	config.Net.Proxy.Enable = true
	config.Net.Proxy.Dialer = dialer
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.Close())
	// Output: <nil>
}
