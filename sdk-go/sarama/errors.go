package sarama

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of the client side, with sarama's texts. Some are there only so that programs compile that
// look for them.
var (
	// ErrOutOfBrokers: none of the addresses could be reached.
	ErrOutOfBrokers = errors.New("kafka: client has run out of available brokers to talk to")
	// ErrBrokerNotFound: the cluster has no broker of that id.
	ErrBrokerNotFound = errors.New("kafka: broker for ID is not found")
	// ErrClosedClient: the client, or the consumer, is closed.
	ErrClosedClient = errors.New("kafka: tried to use a client that was closed")
	// ErrIncompleteResponse: an answer lacks something that was asked for.
	ErrIncompleteResponse = errors.New(
		"kafka: response did not contain all the expected topic/partition blocks")
	// ErrInvalidPartition: a partitioner gave a partition that the topic does not have.
	ErrInvalidPartition = errors.New("kafka: partitioner returned an invalid partition index")
	// ErrAlreadyConnected: a broker was opened twice. Not returned here.
	ErrAlreadyConnected = errors.New("kafka: broker connection already initiated")
	// ErrNotConnected: a broker was used that is not open.
	ErrNotConnected = errors.New("kafka: broker not connected")
	// ErrInsufficientData: bytes end too early to be what they should be.
	ErrInsufficientData = errors.New("kafka: insufficient data to decode packet, more bytes expected")
	// ErrShuttingDown: the producer was closed before it could take the message.
	ErrShuttingDown = errors.New("kafka: message received by producer in process of shutting down")
	// ErrMessageTooLarge: a message is larger than Consumer.Fetch.Max. Not returned here: it
	// arrives all the same.
	ErrMessageTooLarge = errors.New("kafka: message is larger than Consumer.Fetch.Max")
	// ErrDecompressedBatchTooLarge: a batch becomes too large when it is decompressed. Not returned
	// here: that is ErrInvalidMessage.
	ErrDecompressedBatchTooLarge = errors.New(
		"kafka: decompressed record batch is larger than the configured limit")
	// ErrConsumerOffsetNotAdvanced: a batch did not lead on. Not returned here.
	ErrConsumerOffsetNotAdvanced = errors.New(
		"kafka: consumer offset was not advanced after a RecordBatch")
	// ErrConsumerRetriesExhausted: a partition consumer gave up after Consumer.Retry.Max failures
	// in a row.
	ErrConsumerRetriesExhausted = errors.New(
		"kafka: partition consumer giving up after consecutive failures")
	// ErrControllerNotAvailable: the cluster has nobody who leads it at present.
	ErrControllerNotAvailable = errors.New("kafka: controller is not available")
	// ErrNoTopicsToUpdateMetadata: nothing is there to refresh. Not returned here.
	ErrNoTopicsToUpdateMetadata = errors.New("kafka: no specific topics to update metadata")
	// ErrUnknownScramMechanism: a user was to be given an unknown mechanism. Not returned here.
	ErrUnknownScramMechanism = errors.New("kafka: unknown SCRAM mechanism provided")
	// ErrReassignPartitions: replicas could not be moved.
	ErrReassignPartitions = errors.New("failed to reassign partitions for topic")
	// ErrDeleteRecords: records could not be deleted.
	ErrDeleteRecords = errors.New("kafka server: failed to delete records")
	// ErrCreateACLs: rules of access could not be made. Not returned here.
	ErrCreateACLs = errors.New("kafka server: failed to create one or more ACL rules")
	// ErrAddPartitionsToTxn: a transaction could not have partitions added. Not returned here.
	ErrAddPartitionsToTxn = errors.New(
		"transaction manager: failed to send partitions to transaction")
	// ErrTxnOffsetCommit: a transaction could not commit offsets. Not returned here.
	ErrTxnOffsetCommit = errors.New("transaction manager: failed to send offsets to transaction")
	// ErrTransactionNotReady: the transaction is not in a state that allows it. Not returned here.
	ErrTransactionNotReady = errors.New("transaction manager: transaction is not ready")
	// ErrProducerRetryBufferOverflow does not come up: what is sent again waits within a bound.
	ErrProducerRetryBufferOverflow = errors.New(
		"retry buffer full: message discarded to prevent buffer overflow")
	// ErrNonTransactedProducer: the producer has no transactions.
	ErrNonTransactedProducer = errors.New(
		"transaction manager: you need to add TransactionalID to producer")
	// ErrTransitionNotAllowed: a transaction cannot become that. Not returned here.
	ErrTransitionNotAllowed = errors.New("transaction manager: invalid transition attempted")
	// ErrCannotTransitionNilError: a transaction was to fail without an error. Not returned here.
	ErrCannotTransitionNilError = errors.New("transaction manager: cannot transition with a nil error")
	// ErrTxnUnableToParseResponse: an answer about a transaction was not understood. Not returned
	// here.
	ErrTxnUnableToParseResponse = errors.New("transaction manager: unable to parse response")
	// ErrUnknownMessage: a message of the protocol is not known. Not returned here.
	ErrUnknownMessage = errors.New("kafka: unknown protocol message key")
)

// ConfigurationError says what is wrong with a configuration or a call.
type ConfigurationError string

// Error returns the message.
func (err ConfigurationError) Error() string {
	return "kafka: invalid configuration (" + string(err) + ")"
}

// PacketEncodingError says why something has no place in a request.
type PacketEncodingError struct{ Info string }

// Error returns the message.
func (err PacketEncodingError) Error() string { return "kafka: error encoding packet: " + err.Info }

// PacketDecodingError says why an answer was not understood.
type PacketDecodingError struct{ Info string }

// Error returns the message.
func (err PacketDecodingError) Error() string { return "kafka: error decoding packet: " + err.Info }

// Wrap returns an error that says what failed, and why: errors.Is and errors.As find the sentinel
// and each of the causes.
func Wrap(sentinel error, wrapped ...error) error {
	return wrappedError{sentinel, errors.Join(wrapped...)}
}

type wrappedError struct{ sentinel, causes error }

func (err wrappedError) Error() string {
	if err.causes == nil {
		return err.sentinel.Error()
	}
	return err.sentinel.Error() + ": " + err.causes.Error()
}

func (err wrappedError) Unwrap() []error {
	if err.causes == nil {
		return []error{err.sentinel}
	}
	return []error{err.sentinel, err.causes}
}

// MultiErrorFormat describes several errors.
//
// Deprecated: use [errors.Join].
func MultiErrorFormat(es []error) string {
	if len(es) == 1 {
		return es[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d errors occurred:\n\t", len(es))
	for i, err := range es {
		if i > 0 {
			b.WriteString("\n\t")
		}
		fmt.Fprintf(&b, "* %v", err)
	}
	return b.String() + "\n"
}

// ProducerError is a message that could not be sent, and why.
type ProducerError struct {
	Msg *ProducerMessage
	Err error
}

// Error describes the error.
func (pe ProducerError) Error() string {
	return fmt.Sprintf("kafka: Failed to produce message to topic %s: %v", pe.Msg.Topic, pe.Err)
}

// Unwrap returns the cause.
func (pe ProducerError) Unwrap() error { return pe.Err }

// ProducerErrors are the messages of one call that could not be sent.
type ProducerErrors []*ProducerError

// Error describes the errors.
func (pe ProducerErrors) Error() string {
	return fmt.Sprintf("kafka: Failed to deliver %d messages.", len(pe))
}

// ConsumerError is an error that came up while a partition was read.
type ConsumerError struct {
	Topic     string
	Partition int32
	Err       error
}

// Error describes the error.
func (ce ConsumerError) Error() string {
	return fmt.Sprintf("kafka: error while consuming %s/%d: %v", ce.Topic, ce.Partition, ce.Err)
}

// Unwrap returns the cause.
func (ce ConsumerError) Unwrap() error { return ce.Err }

// ConsumerErrors are errors that nobody had read when a partition consumer was closed.
type ConsumerErrors []*ConsumerError

// Error describes the errors.
func (ce ConsumerErrors) Error() string {
	return fmt.Sprintf("kafka: %d errors while consuming", len(ce))
}
