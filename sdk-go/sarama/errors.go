package sarama

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Errors of the client side.
var (
	// ErrOutOfBrokers: none of the addresses could be reached.
	ErrOutOfBrokers = errors.New("kafka: no broker could be reached")
	// ErrClosedClient: the producer or consumer is closed.
	ErrClosedClient = errors.New("kafka: the client is closed")
	// ErrShuttingDown: the producer was closed before it could take the message.
	ErrShuttingDown = errors.New("kafka: the producer is shutting down")
	// ErrInvalidPartition: a partitioner gave a partition that the topic does not have.
	ErrInvalidPartition = errors.New("kafka: the partitioner gave an invalid partition")
)

// ConfigurationError says what is wrong with a configuration or a call.
type ConfigurationError string

// Error returns the message.
func (err ConfigurationError) Error() string { return "kafka: bad configuration: " + string(err) }

// KError is an error by its number in Kafka's protocol. Errors of a broker that have such a number
// are returned as it, so that they can be compared with ==.
type KError int16

// The numbers that a broker's errors map to.
const (
	ErrNoError                 KError = 0
	ErrUnknown                 KError = -1
	ErrOffsetOutOfRange        KError = 1
	ErrInvalidMessage          KError = 2
	ErrUnknownTopicOrPartition KError = 3
	ErrLeaderNotAvailable      KError = 5
	ErrNotLeaderForPartition   KError = 6
	ErrRequestTimedOut         KError = 7
	ErrMessageSizeTooLarge     KError = 10
	ErrInvalidTopic            KError = 17
	ErrNotEnoughReplicas       KError = 19
	ErrInvalidRequest          KError = 42
	ErrKafkaStorageError       KError = 56
	ErrThrottlingQuotaExceeded KError = 89
)

var kerrorTexts = map[KError]string{
	ErrNoError:                 "no error",
	ErrUnknown:                 "the broker failed in a way that it did not expect",
	ErrOffsetOutOfRange:        "the offset is outside of what the partition holds",
	ErrInvalidMessage:          "the message does not hold together",
	ErrUnknownTopicOrPartition: "the topic or partition does not exist",
	ErrLeaderNotAvailable:      "the partition has no leader at present",
	ErrNotLeaderForPartition:   "the broker does not lead the partition, or stopped to lead it",
	ErrRequestTimedOut:         "the request took too long",
	ErrMessageSizeTooLarge:     "the message is larger than allowed",
	ErrInvalidTopic:            "the topic name is not valid",
	ErrNotEnoughReplicas:       "too few replicas are there for the append",
	ErrInvalidRequest:          "the request is not valid",
	ErrKafkaStorageError:       "the broker's storage failed or is full",
	ErrThrottlingQuotaExceeded: "the broker has no room for the request at present",
}

// Error describes the error.
func (err KError) Error() string {
	if text, ok := kerrorTexts[err]; ok {
		return "kafka server: " + text
	}
	return fmt.Sprintf("kafka server: error %d", int16(err))
}

// reasonErrors maps the reasons of a broker.
var reasonErrors = map[ropewalk.Reason]error{
	ropewalk.ReasonTopicNotFound:     ErrUnknownTopicOrPartition,
	ropewalk.ReasonPartitionNotFound: ErrUnknownTopicOrPartition,
	ropewalk.ReasonTopicReplaced:     ErrUnknownTopicOrPartition,
	ropewalk.ReasonInvalidTopicName:  ErrInvalidTopic,
	ropewalk.ReasonInvalidField:      ErrInvalidRequest,
	ropewalk.ReasonRecordTooLarge:    ErrMessageSizeTooLarge,
	ropewalk.ReasonBatchTooLarge:     ErrMessageSizeTooLarge,
	ropewalk.ReasonCorruptBatch:      ErrInvalidMessage,
	ropewalk.ReasonOffsetOutOfRange:  ErrOffsetOutOfRange,
	ropewalk.ReasonGap:               ErrOffsetOutOfRange,
	ropewalk.ReasonNotLeader:         ErrNotLeaderForPartition,
	ropewalk.ReasonLeaderChanged:     ErrNotLeaderForPartition,
	ropewalk.ReasonNoLeader:          ErrLeaderNotAvailable,
	ropewalk.ReasonBrokerDraining:    ErrLeaderNotAvailable,
	ropewalk.ReasonNoQuorum:          ErrNotEnoughReplicas,
	ropewalk.ReasonTimedOut:          ErrRequestTimedOut,
	ropewalk.ReasonOverloaded:        ErrThrottlingQuotaExceeded,
	ropewalk.ReasonTooMany:           ErrThrottlingQuotaExceeded,
	ropewalk.ReasonStorageFull:       ErrKafkaStorageError,
	ropewalk.ReasonCorruptLog:        ErrKafkaStorageError,
	ropewalk.ReasonInternal:          ErrUnknown,
	ropewalk.ReasonClosed:            ErrClosedClient,
}

// mapError turns an error of the core into the one that sarama would give. What is lost by that is
// logged; an error that has no counterpart is returned as it is.
func mapError(err error) error {
	if err == nil {
		return nil
	}
	var e *ropewalk.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Reason == ropewalk.ReasonUnreachable {
		return fmt.Errorf("%w: %w", ErrOutOfBrokers, err)
	}
	mapped, ok := reasonErrors[e.Reason]
	if !ok {
		if e.Code() == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded) {
			return ErrRequestTimedOut
		}
		return err
	}
	Logger.Printf("%v (returned as: %v)\n", err, mapped)
	return mapped
}

// ProducerError is a message that could not be sent, and why.
type ProducerError struct {
	Msg *ProducerMessage
	Err error
}

// Error describes the error.
func (pe ProducerError) Error() string {
	return fmt.Sprintf("kafka: message for topic %s was not produced: %v", pe.Msg.Topic, pe.Err)
}

// Unwrap returns the cause.
func (pe ProducerError) Unwrap() error { return pe.Err }

// ProducerErrors are the messages of one call that could not be sent.
type ProducerErrors []*ProducerError

// Error describes the errors.
func (pe ProducerErrors) Error() string {
	return fmt.Sprintf("kafka: %d messages were not produced", len(pe))
}

// ConsumerError is an error that came up while a partition was read.
type ConsumerError struct {
	Topic     string
	Partition int32
	Err       error
}

// Error describes the error.
func (ce ConsumerError) Error() string {
	return fmt.Sprintf("kafka: reading %s/%d: %v", ce.Topic, ce.Partition, ce.Err)
}

// Unwrap returns the cause.
func (ce ConsumerError) Unwrap() error { return ce.Err }

// ConsumerErrors are errors that nobody had read when a partition consumer was closed.
type ConsumerErrors []*ConsumerError

// Error describes the errors.
func (ce ConsumerErrors) Error() string {
	return fmt.Sprintf("kafka: %d errors while reading", len(ce))
}
