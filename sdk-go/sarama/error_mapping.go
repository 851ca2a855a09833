package sarama

import (
	"errors"
	"time"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// reasonErrors maps the reasons of the core. The package's documentation has them too.
var reasonErrors = map[ropewalk.Reason]error{
	ropewalk.ReasonTopicNotFound:           ErrUnknownTopicOrPartition,
	ropewalk.ReasonPartitionNotFound:       ErrUnknownTopicOrPartition,
	ropewalk.ReasonTopicReplaced:           ErrUnknownTopicOrPartition,
	ropewalk.ReasonGroupNotFound:           ErrGroupIDNotFound,
	ropewalk.ReasonTopicExists:             ErrTopicAlreadyExists,
	ropewalk.ReasonInvalidTopicName:        ErrInvalidTopic,
	ropewalk.ReasonInvalidField:            ErrInvalidRequest,
	ropewalk.ReasonRecordTooLarge:          ErrMessageSizeTooLarge,
	ropewalk.ReasonBatchTooLarge:           ErrMessageSizeTooLarge,
	ropewalk.ReasonCorruptBatch:            ErrInvalidMessage,
	ropewalk.ReasonExpectedOffsetMismatch:  ErrInvalidRequest,
	ropewalk.ReasonExpectedVersionMismatch: ErrInvalidRequest,
	ropewalk.ReasonSequenceGap:             ErrOutOfOrderSequenceNumber,
	ropewalk.ReasonProducerFenced:          ErrProducerFenced,
	ropewalk.ReasonMemberFenced:            ErrIllegalGeneration,
	ropewalk.ReasonGroupNotEmpty:           ErrNonEmptyGroup,
	ropewalk.ReasonOffsetOutOfRange:        ErrOffsetOutOfRange,
	ropewalk.ReasonGap:                     ErrOffsetOutOfRange,
	ropewalk.ReasonNotLeader:               ErrNotLeaderForPartition,
	ropewalk.ReasonLeaderChanged:           ErrNotLeaderForPartition,
	ropewalk.ReasonNoLeader:                ErrLeaderNotAvailable,
	ropewalk.ReasonBrokerDraining:          ErrLeaderNotAvailable,
	ropewalk.ReasonKeysUnread:              ErrLeaderNotAvailable,
	ropewalk.ReasonNoQuorum:                ErrNotEnoughReplicas,
	ropewalk.ReasonTimedOut:                ErrRequestTimedOut,
	ropewalk.ReasonOverloaded:              ErrThrottlingQuotaExceeded,
	ropewalk.ReasonTooMany:                 ErrThrottlingQuotaExceeded,
	ropewalk.ReasonTooManyKeys:             ErrThrottlingQuotaExceeded,
	ropewalk.ReasonStorageFull:             ErrKafkaStorageError,
	ropewalk.ReasonCorruptLog:              ErrKafkaStorageError,
	ropewalk.ReasonInternal:                ErrUnknown,
	ropewalk.ReasonDisconnected:            ErrNetworkException,
	ropewalk.ReasonClosed:                  ErrClosedClient,
	ropewalk.ReasonPurged:                  ErrShuttingDown,
	ropewalk.ReasonUndecodable:             ErrInvalidMessage,
}

// codeErrors maps what brokers say without a reason that the core knows.
var codeErrors = map[codes.Code]error{
	codes.DeadlineExceeded:  ErrRequestTimedOut,
	codes.Unauthenticated:   ErrSASLAuthenticationFailed,
	codes.PermissionDenied:  ErrClusterAuthorizationFailed,
	codes.Unimplemented:     ErrUnsupportedVersion,
	codes.ResourceExhausted: ErrThrottlingQuotaExceeded,
}

// mappedEvery is how often the log says of one cause what is lost by the mapping: each of thousands
// of messages may have failed for it.
const mappedEvery = time.Second

// mappings are the causes whose mapping was logged.
var mappings = recurring{every: mappedEvery}

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
	if isOutage(e) {
		return Wrap(ErrOutOfBrokers, err)
	}
	mapped, ok := reasonErrors[e.Reason]
	if e.InstanceTaken() {
		mapped = ErrFencedInstancedId
	}
	if !ok {
		mapped, ok = codeErrors[e.Code()]
	}
	if !ok {
		return err
	}
	if more, due := mappings.due(cause{e.Op, e.Reason, e.Code()}, time.Now()); due {
		Logger.Printf("%v (returned as: %v%s)\n", err, mapped, more)
	}
	return mapped
}

// isOutage reports whether no broker was reached. The transport, which finds that out, has no
// reasons.
func isOutage(e *ropewalk.Error) bool {
	return e.Reason == ropewalk.ReasonUnreachable || e.Reason == "" && e.Code() == codes.Unavailable
}
