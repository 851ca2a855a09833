package compat_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	ibm "github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// A setting is a field of a config by its path, and a value for it.
type setting struct {
	path  string
	value any
}

// set gives a field a value of its own kind: the packages have types of their own.
func set(config any, s setting) error {
	field := reflect.ValueOf(config).Elem()
	for name := range strings.SplitSeq(s.path, ".") {
		if field = field.FieldByName(name); !field.IsValid() {
			return fmt.Errorf("no field %s", s.path)
		}
	}
	if s.value == nil {
		field.SetZero()
		return nil
	}
	value := reflect.ValueOf(s.value)
	if !value.CanConvert(field.Type()) {
		return fmt.Errorf("%s cannot be %v", s.path, s.value)
	}
	field.Set(value.Convert(field.Type()))
	return nil
}

func one(path string, values ...any) (all [][]setting) {
	for _, value := range values {
		all = append(all, []setting{{path, value}})
	}
	return all
}

const negative = -1 * time.Second

// sameVerdict are settings that both packages take, or both refuse.
func sameVerdict() (all [][]setting) {
	for _, path := range []string{
		"Net.MaxOpenRequests", "Net.DialTimeout", "Net.ReadTimeout", "Net.WriteTimeout",
		"Metadata.Retry.Max", "Metadata.Retry.Backoff", "Metadata.RefreshFrequency",
		"Producer.Retry.Max", "Producer.Retry.Backoff", "Producer.Flush.Bytes", "Producer.Flush.Messages",
		"Producer.Flush.MaxMessages", "Producer.Flush.Frequency", "Producer.MaxMessageBytes",
		"Producer.Timeout", "Consumer.Fetch.Min", "Consumer.Fetch.Default", "Consumer.Fetch.Max",
		"Consumer.MaxWaitTime", "Consumer.MaxProcessingTime", "Consumer.Retry.Backoff",
		"Consumer.Offsets.AutoCommit.Interval", "Consumer.Offsets.Retry.Max",
		"Consumer.Group.Session.Timeout", "Consumer.Group.Heartbeat.Interval",
		"Consumer.Group.Rebalance.Timeout", "Consumer.Group.Rebalance.Retry.Max",
		"Consumer.Group.Rebalance.Retry.Backoff", "Admin.Timeout", "ChannelBufferSize",
	} {
		all = append(all, one(path, -1, 0)...)
	}
	all = append(all, one("Producer.RequiredAcks", -2, -1, 0, 1)...)
	all = append(all, one("Producer.Partitioner", nil)...)
	all = append(all, one("Consumer.Offsets.Initial", -1, -2, -3, 0, 5)...)
	all = append(all, one("Consumer.IsolationLevel", 0, 1, 2, -1)...)
	all = append(all, one("ClientID", "", "plain-id_1.0", "with space", "with/slash")...)
	all = append(all, one("RackID", "a", "rack 1")...)
	all = append(all, one("Consumer.Group.Rebalance.GroupStrategies", nil)...)
	for _, more := range [][]setting{
		{{"Producer.Idempotent", true}},
		{{"Producer.Idempotent", true}, {"Net.MaxOpenRequests", 1}},
		{{"Producer.Idempotent", true}, {"Net.MaxOpenRequests", 1}, {"Producer.RequiredAcks", -1}},
		{{"Producer.Idempotent", true}, {"Net.MaxOpenRequests", 1}, {"Producer.RequiredAcks", -1},
			{"Producer.Retry.Max", 0}},
		{{"Producer.Compression", 1}, {"Producer.CompressionLevel", 9}},
		{{"Producer.Compression", 1}, {"Producer.CompressionLevel", 10}},
		{{"Producer.Compression", 1}, {"Producer.CompressionLevel", -5}},
		{{"Producer.Compression", 2}},
		{{"Producer.Compression", 3}},
		{{"Net.SASL.Enable", true}},
		{{"Net.SASL.Enable", true}, {"Net.SASL.User", "somebody"}},
		{{"Net.SASL.User", "somebody"}},
		{{"Consumer.Group.Session.Timeout", 10 * time.Second},
			{"Consumer.Group.Heartbeat.Interval", 10 * time.Second}},
		{{"Consumer.Group.Session.Timeout", 10 * time.Second},
			{"Consumer.Group.Heartbeat.Interval", 3 * time.Second}},
		{{"Producer.Flush.MaxMessages", 5}, {"Producer.Flush.Messages", 10}},
		{{"Producer.Flush.MaxMessages", 10}, {"Producer.Flush.Messages", 10}},
		{{"Producer.Flush.Frequency", negative}},
		{{"Consumer.Offsets.AutoCommit.Enable", false}},
		{{"Consumer.Offsets.CommitInterval", time.Second}},
		{{"Metadata.Full", false}},
		{{"Metadata.AllowAutoTopicCreation", false}},
		{{"ApiVersionsRequest", false}},
		{{"Consumer.Return.Errors", true}, {"Producer.Return.Successes", true}},
		{{"Consumer.Group.InstanceId", "a-member.1_2"}, {"Version", nil}},
	} {
		all = append(all, more)
	}
	return all
}

// otherVerdict are settings on which the packages differ, and why.
var otherVerdict = []struct {
	why      string
	settings []setting
	// taken is whether real sarama takes it; the package here does the opposite.
	taken bool
}{
	{"there are no transactions", []setting{
		{"Producer.Transaction.ID", "orders"}, {"Producer.Idempotent", true},
		{"Net.MaxOpenRequests", 1}, {"Producer.RequiredAcks", -1},
	}, true},
	{"no record is larger than 3.5 MiB",
		[]setting{{"Producer.MaxMessageBytes", 10 << 20}}, true},
	{"a level without a codec would do nothing", []setting{{"Producer.CompressionLevel", 4}}, true},
	{"a name is sent as ASCII", []setting{{"ClientID", "ä"}}, true},
	{"RequiredAcks of a number of replicas has no meaning",
		[]setting{{"Producer.RequiredAcks", 2}}, true},
}

func verdict(config any, settings []setting) (error, error) {
	for _, s := range settings {
		if err := set(config, s); err != nil {
			return nil, err
		}
	}
	validated := reflect.ValueOf(config).MethodByName("Validate").Call(nil)
	err, _ := validated[0].Interface().(error)
	return err, nil
}

func verdicts(t *testing.T, settings []setting) (theirs, ours error) {
	t.Helper()
	theirs, wrong := verdict(ibm.NewConfig(), settings)
	ours, alsoWrong := verdict(sarama.NewConfig(), settings)
	if wrong != nil || alsoWrong != nil {
		t.Fatal(wrong, alsoWrong)
	}
	var configuration sarama.ConfigurationError
	if ours != nil && !errors.As(ours, &configuration) {
		t.Errorf("%v: %v is no ConfigurationError", settings, ours)
	}
	return theirs, ours
}

func TestTheSameVerdict(t *testing.T) {
	for _, settings := range sameVerdict() {
		theirs, ours := verdicts(t, settings)
		if (theirs == nil) != (ours == nil) {
			t.Errorf("%v: %v, want %v", settings, ours, theirs)
		}
	}
	for _, other := range otherVerdict {
		theirs, ours := verdicts(t, other.settings)
		if (theirs == nil) != other.taken || (ours == nil) == other.taken {
			t.Errorf("%s: %v: here %v, and there %v", other.why, other.settings, ours, theirs)
		}
	}
}

// A registry of the library that sarama counts with is one for the package here.
func TestRegistriesOfGoMetricsAreTaken(t *testing.T) {
	registry := metrics.NewPrefixedRegistry("app.")
	config := sarama.NewConfig()
	config.MetricRegistry = registry
	theirs := ibm.NewConfig()
	theirs.MetricRegistry = registry
	if err := config.Validate(); err != nil {
		t.Error(err)
	}
	var back metrics.Registry = config.MetricRegistry
	if back != theirs.MetricRegistry {
		t.Error("it is not the same registry")
	}
	registered := sarama.NewConfig().MetricRegistry
	if err := registered.Register("requests", metrics.NewCounter()); err != nil {
		t.Error(err)
	}
	if _, ok := registered.Get("requests").(metrics.Counter); !ok {
		t.Errorf("got %T", registered.Get("requests"))
	}
}
