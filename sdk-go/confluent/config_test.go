package kafka

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

func parsed(t *testing.T, of role, conf ConfigMap) *settings {
	t.Helper()
	if _, given := conf["bootstrap.servers"]; !given {
		conf["bootstrap.servers"] = "localhost"
	}
	if _, given := conf["group.id"]; !given && of == forConsumer {
		conf["group.id"] = "g"
	}
	s, _, err := conf.parse(of)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSettingsAct(t *testing.T) {
	s := parsed(t, forProducer, ConfigMap{
		"bootstrap.servers": "a, b:1,SSL://[::1]:2", "acks": 1, "retries": "3", "linger.ms": 7,
		"compression.codec": "zstd", "compression.level": 9, "partitioner": "murmur2_random",
		"default.topic.config":       ConfigMap{"message.timeout.ms": 1000},
		"{topic}.request.timeout.ms": 900, "api.version.request": true,
	})
	p := s.producer
	if !slices.Equal(s.addresses, []string{"a:9092", "b:1", "[::1]:2"}) ||
		p.durability != ropewalk.DurabilityLeader || p.retries != 3 ||
		p.compression != ropewalk.CompressionZstd || p.timeout.Milliseconds() != 1000 ||
		p.answer.Milliseconds() != 900 || p.linger.Milliseconds() != 7 {
		t.Errorf("got %+v", s)
	}
	c := parsed(t, forConsumer,
		ConfigMap{"partition.assignment.strategy": "roundrobin,range"}).consumer
	if c.strategy() != "round-robin" || c.cooperative() || !c.latest {
		t.Errorf("got %+v", c)
	}
	c = parsed(t, forConsumer,
		ConfigMap{"group.protocol": "consumer", "group.remote.assignor": "uniform"}).consumer
	if c.strategy() != "sticky" || !c.cooperative() {
		t.Errorf("got %+v", c)
	}
}

func TestSettingsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		of   role
		conf ConfigMap
		says string
	}{
		"unknown":      {forProducer, ConfigMap{"linger.mss": 1}, `did you mean "linger.ms"?`},
		"far":          {forProducer, ConfigMap{"zzzzzz": 1}, `No such configuration property`},
		"transactions": {forProducer, ConfigMap{"transactional.id": "t"}, `transactional.id" is`},
		"SASL":         {forConsumer, ConfigMap{"sasl.username": "u"}, `sasl.username" is`},
		"other value":  {forConsumer, ConfigMap{"fetch.min.bytes": 2}, `only "1" is accepted`},
		"number":       {forProducer, ConfigMap{"linger.ms": "soon"}, "expected an integer"},
		"range":        {forProducer, ConfigMap{"linger.ms": 900_001}, "outside allowed range 0..900000"},
		"bool":         {forConsumer, ConfigMap{"enable.auto.commit": "yes"}, "true or false"},
		"word":         {forProducer, ConfigMap{"acks": 2}, "expected one of -1, 0, 1, all"},
		"type":         {forProducer, ConfigMap{"client.id": 1.5}, "Invalid value type float64"},
		"Go type": {forProducer, ConfigMap{"go.delivery.reports": "true"},
			"expects type bool, not string"},
		"nested":      {forProducer, ConfigMap{"acks": ConfigMap{}}, "Invalid type for key acks"},
		"no broker":   {forProducer, ConfigMap{"bootstrap.servers": " , "}, "names no broker"},
		"protocol":    {forProducer, ConfigMap{"bootstrap.servers": "SASL_SSL://a:1"}, "SASL_SSL"},
		"idempotence": {forProducer, ConfigMap{"acks": 0, "enable.idempotence": true}, "`acks`"},
		"level":       {forProducer, ConfigMap{"compression.type": "lz4", "compression.level": 3}, "lz4"},
		"fields":      {forProducer, ConfigMap{"go.delivery.report.fields": "x"}, "message field"},
		"mixed": {forConsumer,
			ConfigMap{"partition.assignment.strategy": "range,cooperative-sticky"}, "protocol type"},
		"no TLS": {forConsumer, ConfigMap{"ssl.ca.pem": "x"}, "security.protocol=ssl"},
		"bad CA": {forConsumer, ConfigMap{"security.protocol": "SSL", "ssl.ca.pem": "x"}, "ssl.ca"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := maps.Clone(test.conf)
			if _, given := conf["bootstrap.servers"]; !given {
				conf["bootstrap.servers"] = "localhost"
			}
			conf["group.id"] = "g"
			_, _, err := conf.parse(test.of)
			if e, ok := err.(Error); !ok || !strings.Contains(e.Error(), test.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := NewConsumer(&ConfigMap{"bootstrap.servers": "localhost"}); err == nil {
		t.Error("a consumer has no group")
	}
	if _, err := NewProducer(nil); err == nil {
		t.Error("a producer has no broker")
	}
}

// A setting of another role is told of, and does nothing.
func TestSettingsOfOtherRoles(t *testing.T) {
	conf := ConfigMap{"bootstrap.servers": "localhost", "group.id": "g", "linger.ms": 5}
	for of, told := range map[role]int{forProducer: 1, forConsumer: 1, forAdmin: 2} {
		if _, notes, err := conf.parse(of); err != nil || len(notes) != told {
			t.Errorf("%v: got %q, %v", of, notes, err)
		}
	}
}

// Every setting of librdkafka is known.
func TestAllOfLibrdkafkaIsKnown(t *testing.T) {
	list, err := os.ReadFile("testdata/librdkafka-settings.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(list))
	if len(names) < 170 {
		t.Fatalf("there are %d", len(names))
	}
	for _, name := range names {
		if _, known := configKeys[name]; !known {
			t.Errorf("%s is not known", name)
		}
	}
}

func TestConfigMap(t *testing.T) {
	m := ConfigMap{}
	if err := m.Set("acks=all"); err != nil {
		t.Fatal(err)
	}
	if err := m.Set("{topic}.acks=1"); err != nil {
		t.Fatal(err)
	}
	if err := m.Set("acks"); err == nil || err.(Error).Code() != ErrInvalidArg {
		t.Error(err)
	}
	if v, err := m.Get("{topic}.acks", nil); v != "1" || err != nil {
		t.Error(v, err)
	}
	if v, err := m.Get("retries", 5); v != 5 || err != nil {
		t.Error(v, err)
	}
	if _, err := m.Get("acks", 5); err == nil || err.Error() != "acks expects type int, not string" {
		t.Error(err)
	}
	if s := parsed(t, forProducer, m); s.producer.durability != ropewalk.DurabilityLeader {
		t.Error("a setting of topics does not take precedence")
	}
}

const docFile = "settings_doc.go"

// The table in the documentation is that of the code. UPDATE_DOCS=1 writes it.
func TestSettingsAreDocumented(t *testing.T) {
	want := documentation()
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(docFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docFile)
	if err != nil || string(got) != want {
		t.Errorf("%s is not that of the code: UPDATE_DOCS=1 go test -run %s: %v", docFile, t.Name(), err)
	}
}

func documentation() string {
	var b strings.Builder
	b.WriteString(`// # Settings
//
// These settings act. C: of consumers, P: of producers; the others are of both, and of
// administrators. A default is in brackets. A setting of another role is logged, and does nothing.
//
`)
	names := slices.Sorted(maps.Keys(configKeys))
	for _, name := range names {
		if key := configKeys[name]; key.set != nil {
			entry(&b, name+map[role]string{forConsumer: " (C)", forProducer: " (P)"}[key.role], key.doc)
		}
	}
	b.WriteString(`//
// These have no meaning here, and are refused by name; where a value is shown, that one is
// accepted, as it asks for nothing. Any other name is refused too, with the nearest one that is
// known.
//
`)
	for _, name := range names {
		if key := configKeys[name]; key.set == nil {
			if key.same != "" {
				name += "=" + key.same
			}
			entry(&b, name, key.doc)
		}
	}
	return b.String() + "package kafka\n"
}

// entry is a setting with what it means, in lines that are not too long.
func entry(b *strings.Builder, name, doc string) {
	fmt.Fprintf(b, "//\t%s\n", name)
	line := ""
	for word := range strings.FieldsSeq(doc) {
		if len(line)+len(word) > 80 {
			fmt.Fprintf(b, "//\t    %s\n", line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	fmt.Fprintf(b, "//\t    %s\n", line)
}
