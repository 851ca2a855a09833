package kafka

import (
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// codecs are the words for compression.
var codecs = map[string]ropewalk.Compression{
	"none": ropewalk.CompressionNone, "gzip": ropewalk.CompressionGzip,
	"snappy": ropewalk.CompressionSnappy, "lz4": ropewalk.CompressionLZ4,
	"zstd": ropewalk.CompressionZstd,
}

// acknowledgements are the words for what is to be true of a message before it is reported.
var acknowledgements = map[string]ropewalk.Durability{
	"0": ropewalk.DurabilityNone, "1": ropewalk.DurabilityLeader,
	"-1": ropewalk.DurabilityQuorum, "all": ropewalk.DurabilityQuorum,
}

// producerKeys are the settings of producers.
func producerKeys() []configKey { return keysOf(forProducer, addProducer) }

func addProducer(add adder) {
	add("0, 1 or all (-1): in a broker's memory, on the leader's disk, on a majority's (all)",
		func(name string) setter {
			return takesOne(name, acknowledgements,
				func(s *settings, d ropewalk.Durability) { s.producer.durability = d })
		}, "acks", "request.required.acks")
	add("true and unset: a message is in the log once, also when it is sent again; false: it "+
		"may be there twice", func(name string) setter {
		return takesBool(name, func(s *settings) *bool { return &s.producer.idempotent })
	}, "enable.idempotence")
	add("how long messages wait for others to be sent with; unset: not at all",
		millis(0, 900_000, func(s *settings) *time.Duration { return &s.producer.linger }),
		"linger.ms", "queue.buffering.max.ms")
	add("the most bytes of a batch, up to 4128768, which a larger number means too (1000000)",
		ints(1, maxInt32, func(s *settings) *int { return &s.producer.batchBytes }), "batch.size")
	add("the most messages of a batch (10000)",
		ints(1, 1_000_000, func(s *settings) *int { return &s.producer.batchRecords }),
		"batch.num.messages")
	add("how many messages may be unreported before Produce says ErrQueueFull; 0: any (100000)",
		ints(0, maxInt32, func(s *settings) *int { return &s.producer.queueMessages }),
		"queue.buffering.max.messages")
	add("how many KiB they may have (1048576)",
		ints(1, maxInt32, func(s *settings) *int { return &s.producer.queueKBytes }),
		"queue.buffering.max.kbytes")
	add("none, gzip, snappy, lz4 or zstd; unset: as the topic says",
		func(name string) setter {
			return takesOne(name, codecs,
				func(s *settings, c ropewalk.Compression) { s.producer.compression = c })
		}, "compression.type", "compression.codec")
	add("1 to 9 for gzip, 1 to 22 for zstd; -1: the codec's own (-1)",
		ints(-1, 22, func(s *settings) *int { return &s.producer.level }), "compression.level")
	add("the most bytes of a message, else ErrMsgSizeTooLarge (1000000); topics have a limit too",
		ints(1000, 1_000_000_000, func(s *settings) *int { return &s.producer.maxMessage }),
		"message.max.bytes")
	add("how often a batch is sent again (as often as delivery.timeout.ms allows)",
		ints(0, maxInt32, func(s *settings) *int { return &s.producer.retries }),
		"retries", "message.send.max.retries")
	add("how long a message is tried for, and as long before that for its topic to be found; 0: for "+
		"ever (300000)",
		millis(0, maxInt32, func(s *settings) *time.Duration { return &s.producer.timeout }),
		"delivery.timeout.ms", "message.timeout.ms")
	add("how long the answer to a batch is waited for (30000)",
		millis(1, 900_000, func(s *settings) *time.Duration { return &s.producer.answer }),
		"request.timeout.ms")
	add("random, consistent, consistent_random, murmur2, murmur2_random, fnv1a or fnv1a_random, "+
		"with librdkafka's hashes (consistent_random)", func(name string) setter {
		return takesOne(name, partitionerNames(),
			func(s *settings, p string) { s.producer.partitioner = p })
	}, "partitioner")
	add("how long messages without a key stay on a partition; 0: each is placed anew (10, or "+
		"twice linger.ms)",
		millis(0, 900_000, func(s *settings) *time.Duration { return &s.producer.sticky }),
		"sticky.partitioning.linger.ms")
	add("any: one batch of a partition is under way at a time, so that order is kept always",
		ints(1, 1_000_000, func(*settings) *int { return new(int) }),
		"max.in.flight", "max.in.flight.requests.per.connection")
}

func ints(least, most int, at func(*settings) *int) func(name string) setter {
	return func(name string) setter { return takesInt(name, least, most, at) }
}

func millis(least, most int, at func(*settings) *time.Duration) func(name string) setter {
	return func(name string) setter { return takesMillis(name, least, most, at) }
}
