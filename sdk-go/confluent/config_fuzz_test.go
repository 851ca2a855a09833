package kafka

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// kinds are the values that a setting can be given beside text, by what stands before them.
var kinds = map[string]func(text string) ConfigValue{
	"int:": func(text string) ConfigValue {
		n, _ := strconv.Atoi(text)
		return n
	},
	"bool:":  func(text string) ConfigValue { return text == "true" },
	"float:": func(text string) ConfigValue { return float64(len(text)) },
	"list:": func(text string) ConfigValue {
		var list []ConfigValue
		for part := range strings.SplitSeq(text, ",") {
			list = append(list, part)
		}
		return list
	},
	"map:":   func(text string) ConfigValue { return ConfigMap{text: 1} },
	"offset": func(string) ConfigValue { return OffsetEnd }, // it has a String method
	"nil":    func(string) ConfigValue { return nil },
	"logs":   func(string) ConfigValue { return make(chan LogEvent, 1) },
}

// FuzzConfigMap takes settings, a line each. Each of them is refused by name, or taken: then it is
// one that acts, or its value asks for nothing, and all that were taken make a client of the core.
func FuzzConfigMap(f *testing.F) {
	server, err := testserver.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(server.Stop)
	client, err := ropewalk.Dial(f.Context(), []string{server.Address()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = client.Close() })
	for _, seed := range seedTexts {
		for of := range byte(len(roles)) {
			f.Add(of, seed)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(configKeys)) {
		for _, value := range append(seedValues, configKeys[name].same) {
			f.Add(byte(max(slices.Index(roles, configKeys[name].role), 0)), name+"="+value)
		}
	}
	f.Fuzz(func(t *testing.T, number byte, text string) {
		of := roles[int(number)%len(roles)]
		conf := ConfigMap{
			"bootstrap.servers": server.Address(), "group.id": "g", "log_level": 0,
			"go.events.channel.size": 1, "go.produce.channel.size": 1,
		}
		given := setLines(t, conf, text)
		s, _, err := conf.parse(of)
		if err != nil {
			refusesOneOf(t, err, given)
			return
		}
		for name, value := range given {
			key, known := configKeys[name]
			if !known {
				t.Fatalf("%s is taken, and not known", name)
			}
			if said, _ := textOf(name, value); key.set == nil && said != "" &&
				!strings.EqualFold(said, key.same) {
				t.Errorf("%s=%q is taken, and does not act", name, said)
			}
		}
		coreTakes(t, client, of, s)
		makes(t, of, conf, s)
	})
}

var roles = []role{forProducer, forConsumer, forAdmin}

// seedValues are what each setting that is known is given.
var seedValues = []string{
	"", "1", "true", "x", "-1", "int:2147483647", "int:0", "bool:true", "bool:false", "float:1",
	"list:range,roundrobin", "map:a", "nil", "offset",
}

// seedTexts are settings that go together, or do not.
var seedTexts = []string{
	"", "=", "acks", "bootstrap.servers=", "bootstrap.servers=a:1,b:99999", "group.id=",
	"bootstrap.servers=:9092", "bootstrap.servers=[::1", "metadata.broker.list=localhost:x",
	"acks=0\nenable.idempotence=true", "enable.idempotence=true\nretries=0",
	"compression.type=zstd\ncompression.level=22", "compression.type=lz4\ncompression.level=1",
	"linger.ms=900000\ndelivery.timeout.ms=1", "request.timeout.ms=900000\nmessage.timeout.ms=0",
	"batch.size=1\nbatch.num.messages=1\nqueue.buffering.max.kbytes=1",
	"message.max.bytes=1000000000\nbatch.size=2147483647",
	"session.timeout.ms=1\nheartbeat.interval.ms=3600000\nmax.poll.interval.ms=86400000",
	"group.protocol=consumer\ngroup.remote.assignor=uniform",
	"group.protocol=consumer\npartition.assignment.strategy=range",
	"partition.assignment.strategy=cooperative-sticky\ngroup.instance.id=a",
	"security.protocol=ssl\nssl.ca.pem=x", "security.protocol=ssl\nssl.key.location=/nowhere",
	"security.protocol=sasl_ssl\nsasl.username=u\nsasl.password=p",
	"{topic}.acks=1\n{topic}.message.timeout.ms=5", "default.topic.config=1",
	"default.topic.config=map:acks", "{topic}.=1", "{topic}.{topic}.acks=1",
	"go.events.channel.size=int:-1", "go.produce.channel.size=int:9223372036854775807",
	"go.logs.channel.enable=bool:true\ngo.logs.channel=logs", "go.delivery.report.fields=all,none",
	"retry.backoff.ms=300000\nretry.backoff.max.ms=1", "reconnect.backoff.ms=0",
}

// setLines sets name=value, a line each, and returns what was set.
func setLines(t *testing.T, conf ConfigMap, text string) map[string]ConfigValue {
	given := map[string]ConfigValue{}
	for line := range strings.SplitSeq(text, "\n") {
		key, said, ok := strings.Cut(line, "=")
		if !ok {
			if err := conf.Set(line); asError(err).Code() != ErrInvalidArg {
				t.Errorf("%q is set: %v", line, err)
			}
			continue
		}
		var value ConfigValue = said
		for prefix, of := range kinds {
			if rest, found := strings.CutPrefix(said, prefix); found {
				value = of(rest)
			}
		}
		if err := conf.SetKey(key, value); err != nil {
			refusesOneOf(t, err, map[string]ConfigValue{topicKey: nil})
			continue
		}
		if sub, nested := value.(ConfigMap); nested && key == topicKey {
			maps.Copy(given, sub)
			continue
		}
		name := strings.ReplaceAll(key, topicPrefix, "")
		if _, there := given[name]; !there || name != key {
			given[name] = value
		}
	}
	return given
}

// refusesOneOf reports an error that is not one of this package, or names no setting that was
// given.
func refusesOneOf(t *testing.T, err error, given map[string]ConfigValue) {
	t.Helper()
	e, ok := err.(Error)
	if !ok || e.Code() != ErrInvalidArg && e.Code() != ErrSsl {
		t.Errorf("it is refused with %T, %v", err, err)
	}
	for name := range given {
		if strings.Contains(e.Error(), strconv.Quote(name)) || strings.Contains(e.Error(), name) {
			return
		}
	}
	t.Errorf("of %v it names none: %v", given, err)
}

// coreTakes reports what the core does not take of settings that were taken here.
func coreTakes(t *testing.T, client *ropewalk.Client, of role, s *settings) {
	t.Helper()
	over, cancel := context.WithCancel(t.Context())
	cancel() // what is not valid is said before anything is waited for
	switch of {
	case forProducer:
		producer, err := client.NewProducer(s.producerOptions()...)
		if err != nil {
			t.Fatalf("no producer: %v", err)
		}
		if err := producer.Close(); err != nil {
			t.Error(err)
		}
	case forConsumer:
		options := (&Consumer{handle: &handle{s: s}}).memberOptions()
		options = append(options, ropewalk.GroupTopics("t"))
		if _, err := client.JoinGroup(over, s.consumer.group, options...); isInvalid(err) {
			t.Errorf("no member: %v", err)
		}
	}
	dialOptions, err := (&handle{s: s, log: slog.New(slog.DiscardHandler)}).options()
	if err != nil {
		return // a file of TLS, of which makes tells
	}
	if _, err := ropewalk.Dial(over, s.addresses, dialOptions...); isInvalid(err) {
		t.Errorf("no client: %v", err)
	}
}

func isInvalid(err error) bool { return errors.Is(err, ropewalk.ReasonInvalidField) }

// makes makes a client, and closes it.
func makes(t *testing.T, of role, conf ConfigMap, s *settings) {
	t.Helper()
	if s.eventsSize > 1000 || s.produceSize > 1000 {
		return // how much memory channels may use is not what this is about
	}
	began := time.Now()
	switch of {
	case forProducer:
		if p, err := NewProducer(&conf); !refusesFile(t, err) {
			p.Close()
		}
	case forConsumer:
		if c, err := NewConsumer(&conf); !refusesFile(t, err) {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	case forAdmin:
		if a, err := NewAdminClient(&conf); !refusesFile(t, err) {
			a.Close()
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("to make a client and to close it took %v", took)
	}
}

// refusesFile reports whether settings are refused; that may only be for what a file of TLS holds.
func refusesFile(t *testing.T, err error) bool {
	t.Helper()
	if err != nil && !strings.Contains(err.Error(), "ssl.") {
		t.Errorf("they were taken, and then refused: %v", err)
	}
	return err != nil
}
