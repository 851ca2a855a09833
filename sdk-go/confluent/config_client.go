package kafka

import (
	"strconv"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// clientKeys are the settings of producers, consumers and administrators alike.
func clientKeys() []configKey {
	servers := func(name string) setter {
		return withText(name, func(s *settings, text string) (err error) {
			s.addresses, err = addressesOf(name, text)
			return err
		})
	}
	metadata := func(name string, least, most int) setter {
		return takesMillis(name, least, most,
			func(s *settings) *time.Duration { return &s.metadataAge })
	}
	keys := []configKey{
		{name: "bootstrap.servers", set: servers("bootstrap.servers"),
			doc: "the brokers to begin with, HOST or HOST:PORT (9092), with commas; required"},
		{name: "metadata.broker.list", set: servers("metadata.broker.list"),
			doc: "the same as bootstrap.servers"},
		{name: "client.id",
			set: takesText("client.id", func(s *settings) *string { return &s.clientID }),
			doc: "what the client calls itself (rdkafka)"},
		{name: "socket.timeout.ms", set: takesMillis("socket.timeout.ms", 10, 300_000,
			func(s *settings) *time.Duration { return &s.requestTimeout }),
			doc: "how long a call may take, with its retries (60000)"},
		{name: "topic.metadata.refresh.interval.ms",
			set: metadata("topic.metadata.refresh.interval.ms", 1, 3_600_000),
			doc: "how long topics and brokers are taken as known (300000)"},
		{name: "metadata.max.age.ms", set: metadata("metadata.max.age.ms", 1, 86_400_000),
			doc: "the same as topic.metadata.refresh.interval.ms"},
		{name: "reconnect.backoff.ms", set: takesMillis("reconnect.backoff.ms", 0, 3_600_000,
			func(s *settings) *time.Duration { return &s.reconnectFirst }),
			doc: "the pause before a client, and the stream of a partition, connects again (100)"},
		{name: "reconnect.backoff.max.ms", set: takesMillis("reconnect.backoff.max.ms", 0,
			3_600_000, func(s *settings) *time.Duration { return &s.reconnectLatest }),
			doc: "what that pause doubles up to (10000)"},
		{name: "retry.backoff.ms", set: takesMillis("retry.backoff.ms", 1, 300_000,
			func(s *settings) *time.Duration { return &s.retryFirst }),
			doc: "the pause before a producer sends a batch again (100)"},
		{name: "retry.backoff.max.ms", set: takesMillis("retry.backoff.max.ms", 1, 300_000,
			func(s *settings) *time.Duration { return &s.retryLatest }),
			doc: "what that pause doubles up to (1000)"},
		{name: "log_level", set: takesInt("log_level", 0, 7,
			func(s *settings) *int { return &s.logLevel }),
			doc: "what is logged, as in syslog: 3 errors, 4 warnings, 6 all but details (6)"},
		{name: "debug", set: withText("debug", func(s *settings, text string) error {
			s.debug = text != ""
			return nil
		}),
			doc: "details are logged too, whichever contexts are named"},
		{name: "log.queue",
			set: takesBool("log.queue", func(s *settings) *bool { return new(bool) }),
			doc: "see go.logs.channel.enable, which decides"},
	}
	return append(append(keys, socketKeys()...), goKeys()...)
}

// socketKeys are the settings of connections.
func socketKeys() []configKey {
	return []configKey{
		{name: "socket.keepalive.enable", set: takesBool("socket.keepalive.enable",
			func(s *settings) *bool { return &s.socket.keepAlive }),
			doc: "TCP keep-alives; gRPC's own are always there (false)"},
		{name: "socket.nagle.disable", set: takesBool("socket.nagle.disable",
			func(s *settings) *bool { return &s.socket.noDelay }),
			doc: "send small packets at once (true)"},
		{name: "socket.send.buffer.bytes", set: takesInt("socket.send.buffer.bytes", 0, 100_000_000,
			func(s *settings) *int { return &s.socket.send }),
			doc: "the send buffer of connections; 0: the system's (0)"},
		{name: "socket.receive.buffer.bytes", set: takesInt("socket.receive.buffer.bytes", 0,
			100_000_000, func(s *settings) *int { return &s.socket.receive }),
			doc: "the receive buffer of connections; 0: the system's (0)"},
		{name: "socket.connection.setup.timeout.ms",
			set: takesMillis("socket.connection.setup.timeout.ms", 1000, maxInt32,
				func(s *settings) *time.Duration { return &s.socket.setup }),
			doc: "how long a connection may take to be made (30000)"},
		{name: "broker.address.family", set: takesOne("broker.address.family",
			map[string]string{"any": "any", "v4": "v4", "v6": "v6"},
			func(s *settings, family string) { s.socket.family = family }),
			doc: "any, v4 or v6: which addresses of a broker are used (any)"},
	}
}

// goKeys are the settings that are not librdkafka's but of its binding for Go.
func goKeys() []configKey {
	return []configKey{
		{name: "go.delivery.reports", role: forProducer, set: takesGo("go.delivery.reports",
			func(s *settings) *bool { return &s.reports }),
			doc: "reports go to Events() where a message has no channel of its own (true)"},
		{name: "go.delivery.report.fields", role: forProducer,
			set: takesGo("go.delivery.report.fields",
				func(s *settings) *string { return &s.reportFields }),
			doc: `what reports have: "all", "none", or some of key,value,headers ("key,value")`},
		{name: "go.batch.producer", role: forProducer, set: takesGo("go.batch.producer",
			func(s *settings) *bool { return &s.batchProducer }),
			doc: "either: a producer works in batches, with times and headers (false)"},
		{name: "go.events.channel.size", set: takesSize("go.events.channel.size",
			func(s *settings) *int { return &s.eventsSize }),
			doc: "the size of Events(), up to 10000000 (a producer's 1000000, a consumer's 1000)"},
		{name: "go.produce.channel.size", role: forProducer, set: takesSize("go.produce.channel.size",
			func(s *settings) *int { return &s.produceSize }),
			doc: "the size of ProduceChannel(), up to 10000000 (1000000)"},
		{name: "go.application.rebalance.enable", role: forConsumer,
			set: takesGo("go.application.rebalance.enable",
				func(s *settings) *bool { return &s.rebalances }),
			doc: "tell of rebalances as events; see Consumer (false)"},
		{name: "go.events.channel.enable", role: forConsumer,
			set: takesGo("go.events.channel.enable",
				func(s *settings) *bool { return &s.eventsChannel }),
			doc: "events come over Events() instead of Poll (false)"},
		{name: "go.logs.channel.enable", set: takesGo("go.logs.channel.enable",
			func(s *settings) *bool { return &s.logsChannel }),
			doc: "logs go to Logs() instead of slog.Default() (false)"},
		{name: "go.logs.channel", set: takesGo("go.logs.channel",
			func(s *settings) *chan LogEvent { return &s.logsTo }),
			doc: "a channel of the program's own for them"},
	}
}
