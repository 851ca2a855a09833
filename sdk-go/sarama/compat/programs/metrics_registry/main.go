// Has the client count into a registry of its own.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
)

func main() {
	registry := metrics.NewRegistry()
	app := metrics.NewPrefixedChildRegistry(registry, "app.")
	requests := metrics.GetOrRegisterCounter("requests", app)
	requests.Inc(7)

	config := sarama.NewConfig()
	config.MetricRegistry = app
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: "metrics-registry", Value: sarama.StringEncoder("x"),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}
	count, _ := registry.Get("app.requests").(metrics.Counter)
	fmt.Println("the program's own:", count.Count())
	found := false
	registry.Each(func(name string, metric interface{}) {
		if name == "app.requests" {
			found = true
		}
	})
	fmt.Println("named:", found)
	fmt.Println("the default is a registry too:", sarama.NewConfig().MetricRegistry != nil)
}

// Output:
// the program's own: 7
// named: true
// the default is a registry too: true
