package sarama

import (
	"math"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	// maxDelivery stands for a time without a bound.
	maxDelivery = 24 * time.Hour
	// deliverySlack is for what sarama does not count: waiting in line.
	deliverySlack = 30 * time.Second
	// bufferBytes bounds the messages that have no answer yet.
	bufferBytes = 64 << 20
)

// producerOptions expresses a config in the options of the core.
func producerOptions(config *Config) []ropewalk.ProducerOption {
	retry, flush := config.Producer.Retry, config.Producer.Flush
	enough := min(flush.Bytes, math.MaxInt/2)
	options := []ropewalk.ProducerOption{
		ropewalk.WithDurability(durability(config.Producer.RequiredAcks)),
		ropewalk.WithPartitioner(ropewalk.ManualPartitioner),
		ropewalk.WithAnswerTimeout(min(config.Producer.Timeout, maxDelivery)),
		ropewalk.WithDeliveryTimeout(deliveryTimeout(config)),
		ropewalk.WithMaxRetries(retry.Max),
		ropewalk.WithMaxInFlight(1), // so that messages come back in order, too
		ropewalk.WithRetryBackoff(func(attempt int) time.Duration {
			if retry.BackoffFunc != nil {
				return retry.BackoffFunc(attempt, retry.Max)
			}
			return retry.Backoff
		}),
		// Twice, so that batches are sent while the next ones fill.
		ropewalk.WithBufferBytes(max(bufferBytes, 2*enough)),
		ropewalk.WithBatching(ropewalk.Batching{
			Linger:     min(flush.Frequency, maxDelivery),
			Bytes:      enough,
			Records:    flush.Messages,
			MaxRecords: flush.MaxMessages,
		}),
	}
	if !config.Producer.Idempotent {
		options = append(options, ropewalk.WithoutIdempotence())
	}
	codec, level := config.Producer.Compression, config.Producer.CompressionLevel
	options = append(options, codec.options(level)...)
	if retry.Max > 0 {
		options = append(options, ropewalk.WithRetryMaybe())
	}
	return options
}

func durability(acks RequiredAcks) ropewalk.Durability {
	switch acks {
	case NoResponse:
		return ropewalk.DurabilityNone
	case WaitForAll:
		return ropewalk.DurabilityQuorum
	}
	return ropewalk.DurabilityLeader
}

// deliveryTimeout bounds a message as a whole. sarama has no such bound: it follows from the tries.
func deliveryTimeout(config *Config) time.Duration {
	retry, timeout := config.Producer.Retry, min(config.Producer.Timeout, maxDelivery)
	total := maxDelivery
	if retry.BackoffFunc == nil && retry.Max < 1000 {
		each := timeout + min(retry.Backoff, maxDelivery)
		total = min(time.Duration(retry.Max+1)*each+deliverySlack, maxDelivery)
	}
	// What waits to be flushed has not been tried yet.
	linger := min(config.Producer.Flush.Frequency, maxDelivery)
	return max(total, timeout) + linger
}
