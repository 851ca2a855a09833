package otelropewalk

import (
	"net"
	"strconv"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// A series says which measurements belong together.
type series struct {
	operation, kind string
	topic           string
	partition       int32
	group           string
	// server is where the broker is, HOST:PORT.
	server         string
	failed         string
	stream, change string
}

// noPartition stands for none, or none that is known.
const noPartition = -1

// The attributes that are ours.
const (
	streamKey = attribute.Key("ropewalk.stream")
	changeKey = attribute.Key("ropewalk.change")
)

// set makes the attributes of a series.
func (s series) set() attribute.Set {
	list := []attribute.KeyValue{semconv.MessagingSystemKey.String(system)}
	add := func(key attribute.Key, value string) {
		if value != "" {
			list = append(list, key.String(value))
		}
	}
	add(semconv.MessagingOperationNameKey, s.operation)
	add(semconv.MessagingOperationTypeKey, s.kind)
	add(semconv.MessagingDestinationNameKey, s.topic)
	add(semconv.MessagingConsumerGroupNameKey, s.group)
	list = append(list, serverOf(s.server)...)
	add(semconv.ErrorTypeKey, s.failed)
	add(streamKey, s.stream)
	add(changeKey, s.change)
	if s.partition != noPartition {
		add(semconv.MessagingDestinationPartitionIDKey, strconv.Itoa(int(s.partition)))
	}
	return attribute.NewSet(list...)
}

// serverOf are the attributes of the broker at an address; none where there is no address.
func serverOf(address string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	list := []attribute.KeyValue{semconv.ServerAddress(host)}
	if number, err := strconv.Atoi(port); err == nil {
		list = append(list, semconv.ServerPort(number))
	}
	return list
}

// measured is what a series needs at a measurement, made once: a call makes nothing.
type measured struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// mostSeries bounds how many series are remembered. It is how many the SDK has for each instrument,
// unless it is told otherwise: it puts what is beyond them together.
const mostSeries = 2000

// A cache remembers series.
type cache struct {
	mu    sync.RWMutex
	known map[series]*measured
}

// of returns what a series needs. Where there are too many, one of them is forgotten, and made again
// when it is needed.
func (c *cache) of(s series) *measured {
	c.mu.RLock()
	m := c.known[s]
	c.mu.RUnlock()
	if m != nil {
		return m
	}
	attributes := metric.WithAttributeSet(s.set())
	m = &measured{[]metric.AddOption{attributes}, []metric.RecordOption{attributes}}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= mostSeries {
		for other := range c.known {
			delete(c.known, other)
			break
		}
	}
	c.known[s] = m
	return m
}
