package sarama

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

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
