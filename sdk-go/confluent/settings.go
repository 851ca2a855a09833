package kafka

import (
	"net"
	"strconv"
	"strings"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// settings are what a ConfigMap says, read.
type settings struct {
	// given has the settings that were there, by name.
	given map[string]bool

	addresses []string
	clientID  string
	logLevel  int
	debug     bool

	requestTimeout  time.Duration
	metadataAge     time.Duration
	reconnectFirst  time.Duration
	reconnectLatest time.Duration
	retryFirst      time.Duration
	retryLatest     time.Duration
	socket          socketSettings
	tls             tlsSettings

	producer producerSettings
	consumer consumerSettings

	// What follows are the settings that librdkafka's binding for Go adds.
	reports       bool
	reportFields  string
	eventsSize    int
	produceSize   int
	batchProducer bool
	rebalances    bool
	eventsChannel bool
	logsChannel   bool
	logsTo        chan LogEvent
}

type socketSettings struct {
	family    string
	keepAlive bool
	noDelay   bool
	setup     time.Duration
	send      int
	receive   int
}

type producerSettings struct {
	durability    ropewalk.Durability
	idempotent    bool
	linger        time.Duration
	batchBytes    int
	batchRecords  int
	queueMessages int
	queueKBytes   int
	compression   ropewalk.Compression
	level         int
	maxMessage    int
	retries       int
	timeout       time.Duration
	answer        time.Duration
	partitioner   string
	sticky        time.Duration
}

type consumerSettings struct {
	group        string
	instance     string
	latest       bool
	autoCommit   bool
	commitEvery  time.Duration
	autoStore    bool
	session      time.Duration
	heartbeat    time.Duration
	pollInterval time.Duration
	strategies   string
	protocol     string
	assignor     string
	eof          bool
	fetchBytes   int
	fetchMax     int
	autoCreate   bool
}

// defaultSettings are librdkafka's, but where the package's documentation says otherwise.
func defaultSettings() *settings {
	return &settings{
		given:           map[string]bool{},
		clientID:        "rdkafka",
		logLevel:        logInfo,
		requestTimeout:  time.Minute,
		metadataAge:     5 * time.Minute,
		reconnectFirst:  100 * time.Millisecond,
		reconnectLatest: 10 * time.Second,
		retryFirst:      100 * time.Millisecond,
		retryLatest:     time.Second,
		socket:          socketSettings{family: "any", noDelay: true, setup: 30 * time.Second},
		tls:             tlsSettings{verify: true, hostname: true},
		reports:         true,
		reportFields:    "key,value",
		produceSize:     1_000_000,
		producer: producerSettings{
			durability:    ropewalk.DurabilityQuorum,
			batchBytes:    1_000_000,
			batchRecords:  10_000,
			queueMessages: 100_000,
			queueKBytes:   1 << 20,
			level:         -1,
			maxMessage:    1_000_000,
			retries:       maxInt32,
			timeout:       5 * time.Minute,
			answer:        30 * time.Second,
			partitioner:   "consistent_random",
			sticky:        -1,
		},
		consumer: consumerSettings{
			latest:       true,
			autoCommit:   true,
			commitEvery:  5 * time.Second,
			autoStore:    true,
			session:      45 * time.Second,
			pollInterval: 5 * time.Minute,
			strategies:   "range,roundrobin",
			protocol:     "classic",
			fetchBytes:   1 << 20,
			fetchMax:     50 << 20,
		},
	}
}

const (
	maxInt32 = 1<<31 - 1
	// mostFetched is the most that the core asks for at once; a bound above it holds all the more.
	mostFetched = 3_670_016
	// mostBatched is the most that the core puts into one batch.
	mostBatched = 4<<20 - 64<<10
)

// validate refuses settings that do not go together.
func (s *settings) validate(of role) error {
	if len(s.addresses) == 0 {
		return errorf(ErrInvalidArg, "Required property bootstrap.servers not set")
	}
	if err := s.tls.validate(); err != nil {
		return err
	}
	switch of {
	case forProducer:
		return s.validateProducer()
	case forConsumer:
		return s.validateConsumer()
	}
	return nil
}

func (s *settings) validateProducer() error {
	p := &s.producer
	lowest, highest := -1, -1
	switch p.compression {
	case ropewalk.CompressionGzip:
		lowest, highest = 1, 9
	case ropewalk.CompressionZstd:
		lowest, highest = 1, 22
	}
	switch {
	case p.idempotent && p.durability != ropewalk.DurabilityQuorum:
		return errorf(ErrInvalidArg,
			"`acks` must be set to `all` when `enable.idempotence` is true")
	case p.idempotent && p.retries == 0:
		return errorf(ErrInvalidArg,
			"`retries` must be set to at least 1 when `enable.idempotence` is true")
	case p.timeout > 0 && p.linger >= p.timeout:
		return errorf(ErrInvalidArg, "linger.ms %d is no less than delivery.timeout.ms %d: messages "+
			"would time out before they are sent", p.linger.Milliseconds(), p.timeout.Milliseconds())
	case p.level != -1 && (p.level < lowest || p.level > highest):
		return errorf(ErrInvalidArg, "compression.level %d: %s has the levels %s",
			p.level, p.compression, levels(lowest, highest))
	}
	if _, err := fieldsOf(s.reportFields); err != nil {
		return errorf(ErrInvalidArg, "go.delivery.report.fields: %v", err)
	}
	return nil
}

func levels(lowest, highest int) string {
	if highest < 0 {
		return "-1 alone: leave it out"
	}
	return strings.Join([]string{"-1 and", itoa(lowest), "to", itoa(highest)}, " ")
}

func (s *settings) validateConsumer() error {
	c := &s.consumer
	if c.group == "" {
		return errorf(ErrInvalidArg, "Required property group.id not set")
	}
	if c.protocol == "consumer" {
		if s.given["partition.assignment.strategy"] {
			return errorf(ErrInvalidArg, "partition.assignment.strategy is not supported for "+
				"group.protocol=consumer, use group.remote.assignor instead")
		}
		return nil
	}
	if c.assignor != "" {
		return errorf(ErrInvalidArg,
			"group.remote.assignor is only supported for group.protocol=consumer")
	}
	_, err := strategiesOf(c.strategies)
	return err
}

// strategiesOf reads partition.assignment.strategy.
func strategiesOf(text string) ([]string, error) {
	var list []string
	cooperative := 0
	for name := range strings.SplitSeq(text, ",") {
		switch name = strings.TrimSpace(name); name {
		case "range", "roundrobin":
		case "cooperative-sticky":
			cooperative++
		default:
			return nil, errorf(ErrInvalidArg, "Unsupported partition.assignment.strategy %q: "+
				"range, roundrobin and cooperative-sticky are there", name)
		}
		list = append(list, name)
	}
	if cooperative > 0 && cooperative < len(list) {
		return nil, errorf(ErrInvalidArg, "All partition.assignment.strategy assignors must have "+
			"the same protocol type, online migration between assignors with different protocol "+
			"types is not supported")
	}
	return list, nil
}

// cooperative reports whether partitions move a few at a time, as the program is told it.
func (c *consumerSettings) cooperative() bool {
	return c.protocol == "consumer" || strings.Contains(c.strategies, "cooperative")
}

// strategy is what the core calls the first of the strategies.
func (c *consumerSettings) strategy() string {
	name := c.assignor
	if c.protocol != "consumer" {
		name, _, _ = strings.Cut(c.strategies, ",")
	}
	switch strings.TrimSpace(name) {
	case "range":
		return "range"
	case "roundrobin":
		return "round-robin"
	case "uniform", "cooperative-sticky":
		return "sticky"
	}
	return ""
}

// messageFields are what delivery reports have of their message.
type messageFields struct{ key, value, headers bool }

func fieldsOf(text string) (messageFields, error) {
	var f messageFields
	if text == "all" {
		return messageFields{true, true, true}, nil
	}
	if text == "" || text == "none" {
		return f, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		switch name {
		case "key":
			f.key = true
		case "value":
			f.value = true
		case "headers":
			f.headers = true
		default:
			return f, errorf(ErrInvalidArg, "unknown message field: %s", name)
		}
	}
	return f, nil
}

// addressesOf reads a list of brokers: HOST, HOST:PORT or PROTOCOL://HOST:PORT, with commas
// between. The port of a broker that has none is 9092.
func addressesOf(name, text string) ([]string, error) {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if protocol, rest, ok := strings.Cut(part, "://"); ok {
			if p := strings.ToLower(protocol); p != "plaintext" && p != "ssl" {
				return nil, errorf(ErrInvalidArg, "%s: %q: no protocol %q is spoken here",
					name, part, protocol)
			}
			part = rest
		}
		if part == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(part); err != nil {
			part = net.JoinHostPort(strings.Trim(part, "[]"), "9092")
		}
		host, port, err := net.SplitHostPort(part)
		if n, notNumber := strconv.Atoi(port); err != nil || host == "" || port == "" ||
			notNumber == nil && (n < 1 || n > 65535) {
			return nil, errorf(ErrInvalidArg, "%s: %q is not HOST:PORT", name, part)
		}
		list = append(list, part)
	}
	if len(list) == 0 {
		return nil, errorf(ErrInvalidArg, "%s names no broker", name)
	}
	return list, nil
}
