// An HTTP server that writes an access log through an asynchronous producer: little acks, little
// latency, compressed and flushed in batches.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

type accessLogEntry struct {
	Method       string  `json:"method"`
	Path         string  `json:"path"`
	ResponseTime float64 `json:"response_time"`

	encoded []byte
	err     error
}

func (ale *accessLogEntry) ensureEncoded() {
	if ale.encoded == nil && ale.err == nil {
		ale.encoded, ale.err = json.Marshal(ale)
	}
}

func (ale *accessLogEntry) Length() int {
	ale.ensureEncoded()
	return len(ale.encoded)
}

func (ale *accessLogEntry) Encode() ([]byte, error) {
	ale.ensureEncoded()
	return ale.encoded, ale.err
}

func withAccessLog(producer sarama.AsyncProducer, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		next.ServeHTTP(w, r)
		producer.Input() <- &sarama.ProducerMessage{
			Topic: "access-log",
			Key:   sarama.StringEncoder(r.RemoteAddr),
			Value: &accessLogEntry{
				Method: r.Method, Path: r.URL.Path,
				ResponseTime: float64(time.Since(started)) / float64(time.Second),
			},
		}
	})
}

func newAccessLogProducer(brokers []string) sarama.AsyncProducer {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForLocal
	config.Producer.Compression = sarama.CompressionSnappy
	config.Producer.Flush.Frequency = 50 * time.Millisecond
	producer, err := sarama.NewAsyncProducer(brokers, config)
	if err != nil {
		log.Fatalln("Failed to start Sarama producer:", err)
	}
	go func() {
		for err := range producer.Errors() {
			log.Println("Failed to write access log entry:", err)
		}
	}()
	return producer
}

func main() {
	brokers := strings.Split(os.Getenv("BROKERS"), ",")
	producer := newAccessLogProducer(brokers)
	server := httptest.NewServer(withAccessLog(producer, http.NotFoundHandler()))
	for _, path := range []string{"/a", "/b", "/c"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			log.Fatalln(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	server.Close()
	if err := producer.Close(); err != nil {
		log.Fatalln(err)
	}

	consumer, err := sarama.NewConsumer(brokers, nil)
	if err != nil {
		log.Fatalln(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition("access-log", 0, sarama.OffsetOldest)
	if err != nil {
		log.Fatalln(err)
	}
	defer partition.Close()
	for range 3 {
		var entry accessLogEntry
		if err := json.Unmarshal((<-partition.Messages()).Value, &entry); err != nil {
			log.Fatalln(err)
		}
		fmt.Println(entry.Method, entry.Path, entry.ResponseTime > 0)
	}
}

// Output:
// GET /a true
// GET /b true
// GET /c true
