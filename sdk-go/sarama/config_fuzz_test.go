package sarama_test

import (
	"context"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// setting is a change of a field, by its path.
type setting struct {
	path  string
	value int64
}

// FuzzConfig changes fields at random. Validate must not panic, and what it takes must make a
// producer, a consumer and a member of a group.
func FuzzConfig(f *testing.F) {
	addrs := []string{newServer(f).Address()}
	const most = 1<<63 - 1
	for _, seed := range [][]setting{
		{},
		{{"ClientID", 0x202020}, {"Version", 0}, {"MetricRegistry", 0}},
		{{"Producer.Timeout", most}, {"Producer.Flush.Frequency", most}},
		{{"Producer.Flush.Bytes", most}, {"Producer.Flush.Messages", most}},
		{{"Producer.Flush.Messages", 5}, {"Producer.Flush.MaxMessages", 5}},
		{{"Producer.Retry.Max", most}, {"Producer.Retry.Backoff", most}},
		{{"Producer.Retry.Max", 0}, {"Producer.Retry.MaxBufferBytes", -1}},
		{{"Producer.Compression", 4}, {"Producer.CompressionLevel", 22}},
		{{"Producer.Idempotent", 1}, {"Producer.RequiredAcks", -1}, {"Net.MaxOpenRequests", 1}},
		{{"Producer.MaxMessageBytes", maxMessageBytes}, {"Producer.RequiredAcks", 0}},
		{{"Consumer.Fetch.Max", 1}, {"Consumer.Fetch.Default", maxMessageBytes}},
		{{"Consumer.Retry.Backoff", most}, {"Consumer.Retry.Max", most}},
		{{"Consumer.Group.Session.Timeout", int64(time.Hour)},
			{"Consumer.Group.Heartbeat.Interval", int64(time.Millisecond)}},
		{{"Consumer.Group.Rebalance.Timeout", int64(time.Hour)}, {"Consumer.Offsets.Initial", -2}},
		{{"Consumer.Group.Rebalance.GroupStrategies", 0}},
		{{"Consumer.Group.InstanceId", 0x6161616161616161}, {"Consumer.Group.Member.UserData", 1}},
		{{"Consumer.Offsets.AutoCommit.Interval", most}, {"Consumer.IsolationLevel", 1}},
		{{"ChannelBufferSize", 0}, {"Producer.Interceptors", 3}},
	} {
		f.Add(encodeSettings(f, seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		config := sarama.NewConfig()
		mutate(t, config, data)
		var refused sarama.ConfigurationError
		if err := config.Validate(); err != nil {
			if !errors.As(err, &refused) {
				t.Errorf("got %T: %v", err, err)
			}
			return
		}
		// How to reach the server, and how much memory channels may use, is not what this is about.
		usual := sarama.NewConfig()
		config.Net, config.Metadata = usual.Net, usual.Metadata
		config.Net.MaxOpenRequests = 1
		config.ChannelBufferSize = min(config.ChannelBufferSize, 100)
		config.Producer.Return.Successes, config.Producer.Return.Errors = true, true
		makesProducer(t, addrs, config)
		makesConsumer(t, addrs, config)
		makesMember(t, addrs, config)
	})
}

const maxMessageBytes = 3_670_016

// fieldsOf are the paths of all fields, in order, and the fields of a config.
func fieldsOf(config *sarama.Config) (paths []string, fields map[string]reflect.Value) {
	fields = map[string]reflect.Value{}
	eachField(config, func(path string, field reflect.Value) {
		paths, fields[path] = append(paths, path), field
	})
	return paths, fields
}

func encodeSettings(t testing.TB, settings []setting) (data []byte) {
	paths, _ := fieldsOf(sarama.NewConfig())
	for _, s := range settings {
		i := slices.Index(paths, s.path)
		if i < 0 {
			t.Fatalf("there is no %s", s.path)
		}
		data = binary.LittleEndian.AppendUint64(append(data, byte(i)), uint64(s.value))
	}
	return data
}

// mutate sets fields: each change is a byte for the field and eight for its value.
func mutate(t *testing.T, config *sarama.Config, data []byte) {
	paths, fields := fieldsOf(config)
	for ; len(data) >= 9; data = data[9:] {
		path := paths[int(data[0])%len(paths)]
		field, value := fields[path], int64(binary.LittleEndian.Uint64(data[1:9]))
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

// makesMember tries to join a group, in which the server in memory has nothing happen: what the
// core does not take of the options, it refuses before that.
func makesMember(t *testing.T, addrs []string, config *sarama.Config) {
	t.Helper()
	group, err := sarama.NewConsumerGroup(addrs, "g", config)
	if errors.As(err, new(sarama.ConfigurationError)) {
		return // what only groups need
	}
	if err != nil {
		t.Fatalf("no group: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := group.Consume(ctx, []string{"t"}, nil); errors.Is(err, sarama.ErrInvalidRequest) {
		t.Errorf("no member: %v", err)
	}
	closing(t, group)
}
