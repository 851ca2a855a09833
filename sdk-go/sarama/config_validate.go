package sarama

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

const (
	// maxFetchBytes is the most that a broker sends at once.
	maxFetchBytes = 3_670_016
	// maxMessageBytes is the most that any record may have, whatever the topic's setting.
	maxMessageBytes = 3_670_016
	// MAX_GROUP_INSTANCE_ID_LENGTH is the most bytes that Consumer.Group.InstanceId may have.
	MAX_GROUP_INSTANCE_ID_LENGTH = 249
	// maxClientIDBytes is the same for ClientID.
	maxClientIDBytes = 249
	// maxHeartbeat is the most that a broker takes.
	maxHeartbeat = 5 * time.Minute
	// maxGrace is the most that a group waits for a member.
	maxGrace = time.Hour
)

var (
	// oldClientID is what a client id consisted of before Kafka 1.0.0.
	oldClientID = regexp.MustCompile(`\A[A-Za-z0-9._-]+\z`)
	// GROUP_INSTANCE_ID_REGEXP is what Consumer.Group.InstanceId consists of.
	GROUP_INSTANCE_ID_REGEXP = regexp.MustCompile(`^[0-9a-zA-Z._-]+$`)
)

// check is a fault of a config, if there is one.
type check struct {
	bad     bool
	message string
}

func firstOf(checks []check) error {
	for _, c := range checks {
		if c.bad {
			return ConfigurationError(c.message)
		}
	}
	return nil
}

// Validate returns a ConfigurationError for a value that makes no sense, and for one that asks for
// what is not to be had here. It logs what is likely to be a mistake.
func (c *Config) Validate() error {
	c.warn()
	for _, validate := range []func() error{
		c.validateNet, c.validateMetadata, c.validateProducer, c.validateCompression,
		c.validateIdempotence, c.validateConsumer, c.validateGroup, c.validateStrategies,
		c.validateNames,
	} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

// warn logs settings that do nothing because of others.
func (c *Config) warn() {
	flush := c.Producer.Flush
	for _, w := range []check{
		{!c.Net.TLS.Enable && c.Net.TLS.Config != nil,
			"Net.TLS.Config is set, but not Net.TLS.Enable"},
		{!c.Net.Proxy.Enable && c.Net.Proxy.Dialer != nil,
			"Net.Proxy.Dialer is set, but not Net.Proxy.Enable"},
		{!c.Net.SASL.Enable && (c.Net.SASL.User != "" || c.Net.SASL.Password != ""),
			"Net.SASL has a user or a password, but is not enabled"},
		{flush.Frequency == 0 && (flush.Bytes > 0 || flush.Messages > 0),
			"Producer.Flush.Bytes or Messages without Frequency: messages wait until there are enough"},
		{c.Consumer.Fetch.Default > maxFetchBytes, fmt.Sprintf(
			"Consumer.Fetch.Default is more than a broker sends at once: it counts as %d",
			maxFetchBytes)},
		{c.Consumer.Offsets.CommitInterval != 0,
			"Consumer.Offsets.CommitInterval does nothing: use Consumer.Offsets.AutoCommit"},
		{c.Consumer.Offsets.Retention != 0,
			"Consumer.Offsets.Retention does nothing: offsets are kept as long as their group"},
		{c.Consumer.Group.Rebalance.Strategy != nil,
			"Consumer.Group.Rebalance.Strategy is deprecated: use GroupStrategies"},
	} {
		if w.bad {
			Logger.Println(w.message)
		}
	}
}

func (c *Config) validateNet() error {
	return firstOf([]check{
		{c.Net.MaxOpenRequests <= 0, "Net.MaxOpenRequests must be > 0"},
		{c.Net.DialTimeout <= 0, "Net.DialTimeout must be > 0"},
		{c.Net.ReadTimeout <= 0, "Net.ReadTimeout must be > 0"},
		{c.Net.WriteTimeout <= 0, "Net.WriteTimeout must be > 0"},
		{c.Net.SASL.Enable, "Net.SASL.Enable must be false: brokers have no authentication yet"},
		{c.Net.Proxy.Enable && c.Net.Proxy.Dialer == nil,
			"Net.Proxy.Dialer must not be nil when Net.Proxy.Enable is set"},
	})
}

func (c *Config) validateMetadata() error {
	return firstOf([]check{
		{c.Admin.Timeout <= 0, "Admin.Timeout must be > 0"},
		{c.Metadata.Retry.Max < 0, "Metadata.Retry.Max must be >= 0"},
		{c.Metadata.Retry.Backoff < 0, "Metadata.Retry.Backoff must be >= 0"},
		{c.Metadata.RefreshFrequency < 0, "Metadata.RefreshFrequency must be >= 0"},
	})
}

func (c *Config) validateProducer() error {
	flush := c.Producer.Flush
	return firstOf([]check{
		{c.Producer.MaxMessageBytes <= 0, "Producer.MaxMessageBytes must be > 0"},
		{c.Producer.MaxMessageBytes > maxMessageBytes, fmt.Sprintf(
			"Producer.MaxMessageBytes must be <= %d, the most a record may have", maxMessageBytes)},
		{c.Producer.RequiredAcks < WaitForAll, "Producer.RequiredAcks must be >= -1"},
		{c.Producer.RequiredAcks > WaitForLocal,
			"Producer.RequiredAcks must be <= 1: instead of a number of replicas, use WaitForAll"},
		{c.Producer.Timeout <= 0, "Producer.Timeout must be > 0"},
		{c.Producer.Partitioner == nil, "Producer.Partitioner must not be nil"},
		{flush.Bytes < 0, "Producer.Flush.Bytes must be >= 0"},
		{flush.Messages < 0, "Producer.Flush.Messages must be >= 0"},
		{flush.Frequency < 0, "Producer.Flush.Frequency must be >= 0"},
		{flush.MaxMessages < 0, "Producer.Flush.MaxMessages must be >= 0"},
		{flush.MaxMessages > 0 && flush.MaxMessages < flush.Messages,
			"Producer.Flush.MaxMessages must be >= Producer.Flush.Messages when set"},
		{c.Producer.Retry.Max < 0, "Producer.Retry.Max must be >= 0"},
		{c.Producer.Retry.Backoff < 0, "Producer.Retry.Backoff must be >= 0"},
		{hasNil(c.Producer.Interceptors), "Producer.Interceptors must not contain nil"},
	})
}

func (c *Config) validateCompression() error {
	codec, level := c.Producer.Compression, c.Producer.CompressionLevel
	return firstOf([]check{
		{codec < CompressionNone || codec > CompressionZSTD,
			"Producer.Compression must be one of the codecs"},
		{codec == CompressionLZ4 && !c.Version.IsAtLeast(V0_10_0_0),
			"lz4 compression requires Version >= V0_10_0_0"},
		{codec == CompressionZSTD && !c.Version.IsAtLeast(V2_1_0_0),
			"zstd compression requires Version >= V2_1_0_0"},
		{!codec.isLevel(level), fmt.Sprintf("Producer.CompressionLevel must not be %d: "+
			"it is CompressionLevelDefault, 1 to 9 with gzip, or 1 to 22 with zstd", level)},
	})
}

func (c *Config) validateIdempotence() error {
	idempotent := c.Producer.Idempotent
	return firstOf([]check{
		{idempotent && !c.Version.IsAtLeast(V0_11_0_0),
			"Idempotent producer requires Version >= V0_11_0_0"},
		{idempotent && c.Producer.Retry.Max == 0,
			"Idempotent producer requires Producer.Retry.Max >= 1"},
		{idempotent && c.Producer.RequiredAcks != WaitForAll,
			"Idempotent producer requires Producer.RequiredAcks to be WaitForAll"},
		{idempotent && c.Net.MaxOpenRequests > 1,
			"Idempotent producer requires Net.MaxOpenRequests to be 1"},
		{c.Producer.Transaction.ID != "" && !idempotent,
			"Transactional producer requires Idempotent to be true"},
		{c.Producer.Transaction.ID != "", "Producer.Transaction.ID must be empty: " +
			"brokers have no transactions yet"},
	})
}

func (c *Config) validateConsumer() error {
	consumer := &c.Consumer
	return firstOf([]check{
		{consumer.Fetch.Min <= 0, "Consumer.Fetch.Min must be > 0"},
		{consumer.Fetch.Default <= 0, "Consumer.Fetch.Default must be > 0"},
		{consumer.Fetch.Max < 0, "Consumer.Fetch.Max must be >= 0"},
		{consumer.Fetch.MaxBytes <= 0, "Consumer.Fetch.MaxBytes must be > 0"},
		{consumer.MaxWaitTime < time.Millisecond, "Consumer.MaxWaitTime must be >= 1ms"},
		{consumer.MaxProcessingTime <= 0, "Consumer.MaxProcessingTime must be > 0"},
		{consumer.Retry.Backoff < 0, "Consumer.Retry.Backoff must be >= 0"},
		{consumer.Retry.Max < 0, "Consumer.Retry.Max must be >= 0"},
		{consumer.Offsets.AutoCommit.Interval <= 0, "Consumer.Offsets.AutoCommit.Interval must be > 0"},
		{consumer.Offsets.Initial != OffsetOldest && consumer.Offsets.Initial != OffsetNewest,
			"Consumer.Offsets.Initial must be OffsetOldest or OffsetNewest"},
		{consumer.Offsets.Retry.Max < 0, "Consumer.Offsets.Retry.Max must be >= 0"},
		{consumer.IsolationLevel != ReadUncommitted && consumer.IsolationLevel != ReadCommitted,
			"Consumer.IsolationLevel must be ReadUncommitted or ReadCommitted"},
		{consumer.IsolationLevel == ReadCommitted && !c.Version.IsAtLeast(V0_11_0_0),
			"ReadCommitted requires Version >= V0_11_0_0"},
		{hasNil(consumer.Interceptors), "Consumer.Interceptors must not contain nil"},
	})
}

func (c *Config) validateGroup() error {
	group := &c.Consumer.Group
	return firstOf([]check{
		{group.Session.Timeout <= 2*time.Millisecond, "Consumer.Group.Session.Timeout must be >= 2ms"},
		{group.Session.Timeout > maxGrace,
			fmt.Sprintf("Consumer.Group.Session.Timeout must be <= %v", maxGrace)},
		{group.Heartbeat.Interval < time.Millisecond,
			"Consumer.Group.Heartbeat.Interval must be >= 1ms"},
		{group.Heartbeat.Interval >= group.Session.Timeout,
			"Consumer.Group.Heartbeat.Interval must be < Consumer.Group.Session.Timeout"},
		{group.Heartbeat.Interval > maxHeartbeat,
			fmt.Sprintf("Consumer.Group.Heartbeat.Interval must be <= %v", maxHeartbeat)},
		{len(c.groupStrategies()) == 0, "Consumer.Group.Rebalance.GroupStrategies or " +
			"Consumer.Group.Rebalance.Strategy must not be empty"},
		{group.Rebalance.Timeout <= time.Millisecond,
			"Consumer.Group.Rebalance.Timeout must be >= 1ms"},
		{group.Rebalance.Timeout > maxGrace,
			fmt.Sprintf("Consumer.Group.Rebalance.Timeout must be <= %v", maxGrace)},
		{group.Rebalance.Retry.Max < 0, "Consumer.Group.Rebalance.Retry.Max must be >= 0"},
		{group.Rebalance.Retry.Backoff < 0, "Consumer.Group.Rebalance.Retry.Backoff must be >= 0"},
		{hasNil(group.Rebalance.GroupStrategies),
			"elements in Consumer.Group.Rebalance.Strategies must not be empty"},
	})
}

// groupStrategies are those that a member knows, the best first.
func (c *Config) groupStrategies() []BalanceStrategy {
	if strategy := c.Consumer.Group.Rebalance.Strategy; strategy != nil {
		return []BalanceStrategy{strategy}
	}
	return c.Consumer.Group.Rebalance.GroupStrategies
}

func (c *Config) validateStrategies() error {
	protocol, err := selectRebalanceProtocol(c.groupStrategies())
	if err == nil && protocol == RebalanceProtocolCooperative && !c.Version.IsAtLeast(V2_4_0_0) {
		return ConfigurationError("cooperative balance strategies require Version >= 2.4")
	}
	return err
}

func (c *Config) validateNames() error {
	id := c.Consumer.Group.InstanceId
	return firstOf([]check{
		{id != "" && !c.Version.IsAtLeast(V2_3_0_0), "Consumer.Group.InstanceId need Version >= 2.3"},
		{id == "." || id == "..", `Group instance id cannot be "." or ".."`},
		{len(id) > MAX_GROUP_INSTANCE_ID_LENGTH, fmt.Sprintf(
			"Group instance id cannot be longer than %d characters: %s",
			MAX_GROUP_INSTANCE_ID_LENGTH, id)},
		{id != "" && !GROUP_INSTANCE_ID_REGEXP.MatchString(id), fmt.Sprintf(
			"Group instance id %s is illegal, it contains a character other than letters, digits, "+
				"'.', '_' and '-'", id)},
		{c.ChannelBufferSize < 0, "ChannelBufferSize must be >= 0"},
		{!c.Version.IsAtLeast(V1_0_0_0) && !oldClientID.MatchString(c.ClientID), fmt.Sprintf(
			"ClientID value %q is not valid for Kafka versions before 1.0.0", c.ClientID)},
		{len(c.ClientID) > maxClientIDBytes,
			fmt.Sprintf("ClientID must have <= %d bytes", maxClientIDBytes)},
		{strings.ContainsFunc(c.ClientID, unprintable), fmt.Sprintf(
			"ClientID value %q must be of ASCII characters that can be printed", c.ClientID)},
	})
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }

// hasNil is whether a list has an element that is nil.
func hasNil[T any](list []T) bool {
	for _, element := range list {
		if any(element) == nil {
			return true
		}
	}
	return false
}
