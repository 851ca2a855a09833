// A producer that asks for transactions. Ropewalk has none, and says so before anything is sent.
//
//compat:only ropewalk
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/IBM/sarama"
)

func main() {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.Idempotent = true
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	config.Producer.Transaction.ID = "orders"

	producer, err := sarama.NewAsyncProducer(strings.Split(os.Getenv("BROKERS"), ","), config)
	var configuration sarama.ConfigurationError
	fmt.Println("refused:", producer == nil && errors.As(err, &configuration))
	fmt.Println("by name:", strings.Contains(configuration.Error(), "Transaction.ID"))

	config.Producer.Transaction.ID = ""
	producer, err = sarama.NewAsyncProducer(strings.Split(os.Getenv("BROKERS"), ","), config)
	if err != nil {
		panic(err)
	}
	fmt.Println("transactional:", producer.IsTransactional())
	fmt.Println("begins:", producer.BeginTxn() == sarama.ErrNonTransactedProducer)
	producer.AsyncClose()
	for range producer.Successes() {
	}
	for range producer.Errors() {
	}
}

// Output:
// refused: true
// by name: true
// transactional: false
// begins: true
