package sarama_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// FuzzConfig changes fields at random. Validate must not panic, and what it takes must make a
// producer and a consumer.
func FuzzConfig(f *testing.F) {
	addrs := []string{newServer(f).Address()}
	for i, seed := range [][]int64{
		{}, {0, -1}, {33, 1<<63 - 1}, {34, 1}, {36, 2, 35, 7}, {38, 1, 34, -1, 3, 1}, {39, 65},
		{53, 1 << 40, 54, -5}, {60, 1 << 50}, {70, 0, 71, 5}, {85, 1 << 20, 86, 1}, {90, 7, 91, 8},
	} {
		var data []byte
		for j := 0; j+1 < len(seed); j += 2 {
			data = binary.LittleEndian.AppendUint64(append(data, byte(seed[j])), uint64(seed[j+1]))
		}
		f.Add(data, i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, small bool) {
		config := sarama.NewConfig()
		mutate(t, config, data, small)
		var refused sarama.ConfigurationError
		if err := config.Validate(); err != nil {
			if !errors.As(err, &refused) {
				t.Errorf("got %T: %v", err, err)
			}
			return
		}
		// How to reach the server, and how much memory channels may use, is not what this is about.
		usual := sarama.NewConfig()
		config.Net, config.Metadata, usual.Net.MaxOpenRequests = usual.Net, usual.Metadata, 1
		config.Net.MaxOpenRequests = 1
		config.ChannelBufferSize = min(config.ChannelBufferSize, 100)
		config.Producer.Return.Successes, config.Producer.Return.Errors = true, true
		makesProducer(t, addrs, config)
		makesConsumer(t, addrs, config)
	})
}

// mutate sets fields: each change is a byte for the field and eight for its value.
func mutate(t *testing.T, config *sarama.Config, data []byte, small bool) {
	var paths []string
	fields := map[string]reflect.Value{}
	eachField(config, func(path string, field reflect.Value) {
		paths, fields[path] = append(paths, path), field
	})
	for ; len(data) >= 9; data = data[9:] {
		path := paths[int(data[0])%len(paths)]
		field, value := fields[path], int64(binary.LittleEndian.Uint64(data[1:9]))
		if small {
			value %= 64
		}
		switch field.Kind() {
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			field.SetInt(value)
		case reflect.String:
			field.SetString(string(data[1:9]))
		case reflect.Slice:
			if value%3 == 0 {
				field.Set(reflect.MakeSlice(field.Type(), 1, 1))
				continue
			}
			fallthrough
		default:
			if value%2 == 0 {
				field.SetZero()
			} else {
				change(t, path, field)
			}
		}
	}
}

func makesProducer(t *testing.T, addrs []string, config *sarama.Config) {
	t.Helper()
	producer, err := sarama.NewSyncProducer(addrs, config)
	if err != nil {
		t.Fatalf("no producer: %v", err)
	}
	closing(t, producer)
}

func makesConsumer(t *testing.T, addrs []string, config *sarama.Config) {
	t.Helper()
	consumer, err := sarama.NewConsumer(addrs, config)
	if err != nil {
		t.Fatalf("no consumer: %v", err)
	}
	partition, err := consumer.ConsumePartition("t", 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatalf("no partition consumer: %v", err)
	}
	closing(t, partition)
	closing(t, consumer)
}
