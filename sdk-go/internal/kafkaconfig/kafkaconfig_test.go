package kafkaconfig_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/kafkaconfig"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const forever = "9223372036854775807"

// taken are values that a topic of three replicas may have, and what it then shows.
var taken = []struct{ name, value, shown string }{
	{"cleanup.policy", "delete", "delete"},
	{"cleanup.policy", "compact", "compact"},
	{"cleanup.policy", "compact,delete", "compact,delete"},
	{"cleanup.policy", "delete, compact", "compact,delete"},
	{"compression.type", "producer", "producer"},
	{"compression.type", "gzip", "gzip"},
	{"compression.type", "snappy", "snappy"},
	{"compression.type", "lz4", "lz4"},
	{"compression.type", "zstd", "zstd"},
	{"delete.retention.ms", "0", "0"},
	{"delete.retention.ms", "1000", "1000"},
	{"flush.messages", "1", "1"},
	{"flush.messages", forever, "1"},
	{"flush.ms", "0", "0"},
	{"flush.ms", "1000", "0"},
	{"follower.replication.throttled.replicas", "", ""},
	{"leader.replication.throttled.replicas", "", ""},
	{"local.retention.bytes", "-2", "-2"},
	{"local.retention.ms", "-2", "-2"},
	{"max.compaction.lag.ms", forever, forever},
	{"max.message.bytes", "2000", "2000"},
	{"message.downconversion.enable", "false", "false"},
	{"message.timestamp.after.max.ms", forever, forever},
	{"message.timestamp.before.max.ms", forever, forever},
	{"message.timestamp.difference.max.ms", forever, forever},
	{"message.timestamp.type", "CreateTime", "CreateTime"},
	{"message.timestamp.type", "LogAppendTime", "LogAppendTime"},
	{"min.cleanable.dirty.ratio", "0.5", "0.5"},
	{"min.cleanable.dirty.ratio", "1", "0.5"},
	{"min.compaction.lag.ms", "0", "0"},
	{"min.insync.replicas", "1", "2"},
	{"min.insync.replicas", " 2 ", "2"},
	{"preallocate", "false", "false"},
	{"record.ttl.ms", "90000", "90000"},
	{"record.ttl.ms", "-1", "-1"},
	{"remote.log.copy.disable", "false", "false"},
	{"remote.log.delete.on.disable", "false", "false"},
	{"remote.storage.enable", "False", "false"},
	{"retention.bytes", "1048576", "1048576"},
	{"retention.bytes", "-1", "-1"},
	{"retention.ms", "3600000", "3600000"},
	{"retention.ms", "-1", "-1"},
	{"retention.ms", forever, "-1"}, // longer than a time.Duration: no end
	{"segment.bytes", "65536", "65536"},
	{"segment.jitter.ms", "0", "0"},
	{"segment.ms", "60000", "60000"},
	{"unclean.leader.election.enable", "false", "false"},
}

// shows creates a topic with settings, and returns what it shows then.
func shows(t *testing.T, admin *ropewalk.Admin, values map[string]string,
) map[string]kafkaconfig.Entry {
	t.Helper()
	settings, err := kafkaconfig.All(pointers(values), 3)
	if err != nil {
		t.Fatal(err)
	}
	topic, err := admin.CreateTopic(t.Context(), topicName(t), 1, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return described(topic)
}

func described(topic *ropewalk.Topic) map[string]kafkaconfig.Entry {
	topic.ReplicationFactor = 3 // the server has one broker
	entries := map[string]kafkaconfig.Entry{}
	for _, entry := range kafkaconfig.Describe(topic) {
		entries[entry.Name] = entry
	}
	return entries
}

func topicName(t *testing.T) string {
	return strings.NewReplacer("/", "-", "#", "-", ",", "-").Replace(t.Name())
}

func pointers(values map[string]string) map[string]*string {
	all := map[string]*string{}
	for name, value := range values {
		all[name] = &value
	}
	return all
}

func newAdmin(t *testing.T) *ropewalk.Admin {
	t.Helper()
	server, err := testserver.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := ropewalk.Dial(ctx, []string{server.Address()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client.Admin()
}

func TestValuesAreTakenAndShown(t *testing.T) {
	admin := newAdmin(t)
	for i, test := range taken {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			got := shows(t, admin, map[string]string{test.name: test.value})[test.name]
			if got.Value != test.shown {
				t.Errorf("%s=%q is shown as %q, not %q", test.name, test.value, got.Value, test.shown)
			}
		})
	}
}

// What a topic shows can be set: each setting to what it is shown as.
func TestWhatIsShownIsTaken(t *testing.T) {
	admin, values := newAdmin(t), map[string]string{}
	for name, entry := range shows(t, admin, nil) {
		if !entry.IsUsual() || entry.About == "" || entry.Kind == 0 {
			t.Errorf("a new topic has %+v", entry)
		}
		if !slices.ContainsFunc(taken, func(c struct{ name, value, shown string }) bool {
			return c.name == name
		}) {
			t.Errorf("no value of %s is tried", name)
		}
		values[name] = entry.Value
	}
	if _, err := kafkaconfig.All(pointers(values), 3); err != nil {
		t.Error(err)
	}
}

func TestValuesAreRefused(t *testing.T) {
	topic := &ropewalk.Topic{ReplicationFactor: 3}
	for _, test := range []struct{ name, value, says string }{
		{"cleanup.policy", "", `cleanup.policy cannot be "": it takes delete, compact, or both`},
		{"cleanup.policy", "compact;delete", "it takes delete, compact, or both"},
		{"compression.type", "uncompressed", "take producer and tell no producer to compress"},
		{"compression.gzip.level", "1", "compression.gzip.level is refused: brokers compress nothing"},
		{"delete.retention.ms", "-1", "it takes milliseconds, from 0 on"},
		{"file.delete.delay.ms", "60000", "is refused: brokers have no such delay: leave it out"},
		{"flush.messages", "0", "say a number from 1 on"},
		{"flush.ms", "soon", `flush.ms cannot be "soon": brokers sync before they acknowledge`},
		{"follower.replication.throttled.replicas", "*", "cluster.catch_up_rate"},
		{"index.interval.bytes", "4096", "is refused: brokers keep their index in their own way"},
		{"local.retention.ms", "1000", "set retention.ms"},
		{"max.compaction.lag.ms", "1000", "older than delete.retention.ms"},
		{"max.message.bytes", "2147483648", "it takes a number"},
		{"message.downconversion.enable", "true", "there is one format"},
		{"message.format.version", "2.8", "is refused: there is one format of records: leave it out"},
		{"message.timestamp.before.max.ms", "1000", "message.timestamp.type=LogAppendTime"},
		{"message.timestamp.type", "append", "it takes CreateTime or LogAppendTime"},
		{"min.cleanable.dirty.ratio", "0.1", "say 0.5 to 1"},
		{"min.cleanable.dirty.ratio", "NaN", "say 0.5 to 1"},
		{"min.compaction.lag.ms", "1", "say 0, or leave it out"},
		{"min.insync.replicas", "3", "it is the majority, 2 of 3: ask for 1 to 2"},
		{"min.insync.replicas", "0", "ask for 1 to 2"},
		{"min.insync.replicas", "two", "ask for 1 to 2"},
		{"preallocate", "true", "only the journal has its room"},
		{"remote.storage.enable", "true", "there is no remote storage"},
		{"retention.bytes", "1 GiB", "it takes a number"},
		{"retention.ms", "-2", "it takes milliseconds, or -1 for no end"},
		{"retention.ms", "soon", `retention.ms cannot be "soon"`},
		{"retension.ms", "1", "there is no topic setting retension.ms here; those that act are"},
		{"segment.index.bytes", "1", "is refused: brokers keep their index in their own way"},
		{"segment.jitter.ms", "1", "segments are closed at segment.ms"},
		{"segment.ms", "-1", "it takes milliseconds, from 0 on"},
		{"unclean.leader.election.enable", "true", "a leader that lacks records is never elected"},
	} {
		_, err := kafkaconfig.Change(topic, test.name, test.value, kafkaconfig.Set)
		if err == nil || !strings.Contains(err.Error(), test.says) ||
			!strings.HasPrefix(err.Error(), test.name+" ") &&
				!strings.Contains(err.Error(), "setting "+test.name) {
			t.Errorf("%s=%q: %v", test.name, test.value, err)
		}
	}
}

// A change of one setting leaves the others; lists can be added to and taken from.
func TestChange(t *testing.T) {
	admin := newAdmin(t)
	topic, err := admin.CreateTopic(t.Context(), "t", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name, value string
		operation   kafkaconfig.Operation
		shown       string
	}{
		{"retention.ms", "5000", kafkaconfig.Set, "5000"},
		{"cleanup.policy", "compact", kafkaconfig.Append, "compact,delete"},
		{"cleanup.policy", "compact", kafkaconfig.Append, "compact,delete"},
		{"cleanup.policy", "delete", kafkaconfig.Subtract, "compact"},
		{"cleanup.policy", "", kafkaconfig.Delete, "delete"},
		{"min.insync.replicas", "1", kafkaconfig.Set, "2"},
		{"min.insync.replicas", "", kafkaconfig.Delete, "2"},
		{"leader.replication.throttled.replicas", "0:1", kafkaconfig.Subtract, ""},
	} {
		settings, err := kafkaconfig.Change(topic, step.name, step.value, step.operation)
		if err != nil {
			t.Fatalf("%+v: %v", step, err)
		}
		if len(settings) > 0 {
			if topic, err = admin.UpdateTopic(t.Context(), "t", settings...); err != nil {
				t.Fatalf("%+v: %v", step, err)
			}
		}
		entries := described(topic)
		if got := entries[step.name].Value; got != step.shown {
			t.Errorf("after %+v it is %q", step, got)
		}
		if entries["retention.ms"].Value != "5000" {
			t.Fatalf("%+v changed retention.ms", step)
		}
	}
	for _, refused := range []struct {
		name, value string
		operation   kafkaconfig.Operation
		says        string
	}{
		{"cleanup.policy", "delete", kafkaconfig.Subtract, `cannot be ""`},
		{"cleanup.policy", "squash", kafkaconfig.Append, "it takes delete"},
		{"cleanup.policy", "delete", 4, "no operation 4"},
		{"retention.ms", "1", kafkaconfig.Append, "retention.ms is no list"},
		{"min.insync.replicas", "1", kafkaconfig.Subtract, "min.insync.replicas is no list"},
		{"leader.replication.throttled.replicas", "0:1", kafkaconfig.Append, "catch_up_rate"},
		{"segment.index.bytes", "", kafkaconfig.Delete, "segment.index.bytes is refused"},
		{"odd", "", kafkaconfig.Delete, "no topic setting odd"},
	} {
		_, err := kafkaconfig.Change(topic, refused.name, refused.value, refused.operation)
		if err == nil || !strings.Contains(err.Error(), refused.says) {
			t.Errorf("%+v: %v", refused, err)
		}
	}
}

// All gives what is not named, or has no value, its default.
func TestAll(t *testing.T) {
	admin := newAdmin(t)
	if _, err := admin.CreateTopic(t.Context(), "t", 1, ropewalk.SegmentAge(time.Hour),
		ropewalk.Retention(time.Hour), ropewalk.Cleanup(ropewalk.CleanupCompact)); err != nil {
		t.Fatal(err)
	}
	given := pointers(map[string]string{"cleanup.policy": "compact,delete"})
	given["retention.ms"], given["min.insync.replicas"] = nil, nil
	settings, err := kafkaconfig.All(given, 3)
	if err != nil {
		t.Fatal(err)
	}
	topic, err := admin.UpdateTopic(t.Context(), "t", settings...)
	if err != nil {
		t.Fatal(err)
	}
	for name, entry := range described(topic) {
		if entry.IsUsual() == (name == "cleanup.policy") {
			t.Errorf("%s is %q", name, entry.Value)
		}
	}
	given["index.interval.bytes"] = nil
	if _, err := kafkaconfig.All(given, 3); err == nil {
		t.Error("a setting that is refused is taken without a value")
	}
}

func TestReplicas(t *testing.T) {
	admin := newAdmin(t)
	for asked, want := range map[int]int{5: 5, 1: 1, 0: 1, -1: 1} {
		if got, err := kafkaconfig.Replicas(t.Context(), admin, asked); got != want || err != nil {
			t.Errorf("%d replicas for %d: %v", got, asked, err)
		}
	}
}
