package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// An Error is the one error type of this package: a value, not a pointer, so that
// err.(kafka.Error) works. It is an [Event] too. What the core of the client said is reached with
// errors.As and a *ropewalk.Error.
type Error struct {
	code             ErrorCode
	str              string
	fatal            bool
	retriable        bool
	txnRequiresAbort bool
	cause            *ropewalk.Error
}

// NewError makes an error with a code and a text; without a text, Error says what the code means.
func NewError(code ErrorCode, str string, fatal bool) Error {
	return Error{code: code, str: str, fatal: fatal}
}

// Error says what went wrong, in one line.
func (e Error) Error() string { return e.String() }

// String is the same as Error.
func (e Error) String() string {
	text := e.str
	if text == "" {
		text = e.code.String()
	}
	if e.fatal {
		return "Fatal error: " + text
	}
	return text
}

// Code returns the error's code; that of the zero Error is ErrNoError.
func (e Error) Code() ErrorCode { return e.code }

// IsFatal reports whether the producer or consumer is of no more use: the log is damaged, it is not
// allowed to do what it does, or another producer has taken its place, or another consumer with its
// group.instance.id.
func (e Error) IsFatal() bool { return e.fatal }

// IsRetriable reports whether the same call can succeed later without a change to it. It differs
// from librdkafka, which says so for transactions alone: here it holds for every error that comes
// from a broker or a connection.
func (e Error) IsRetriable() bool { return e.retriable }

// IsTimeout reports whether the time for a call was over on this side: of ReadMessage, when nothing
// came.
func (e Error) IsTimeout() bool { return e.code == ErrTimedOut || e.code == ErrTimedOutQueue }

// TxnRequiresAbort is always false, as there are no transactions.
func (e Error) TxnRequiresAbort() bool { return e.txnRequiresAbort }

// Unwrap returns the *ropewalk.Error behind the error, if there is one.
func (e Error) Unwrap() error {
	if e.cause == nil {
		return nil
	}
	return e.cause
}

// Is reports whether target is an Error with the same code.
func (e Error) Is(target error) bool {
	other, ok := target.(Error)
	return ok && other.code == e.code
}

func errorf(code ErrorCode, format string, args ...any) Error {
	return Error{code: code, str: fmt.Sprintf(format, args...)}
}

func closedError() Error { return errorf(ErrState, "Operation not allowed on closed client") }

func unsupported(what string) Error {
	return errorf(ErrUnsupportedFeature, "%s: Ropewalk has no such thing", what)
}

// reasonCodes are the codes that say what the broker's reasons say.
var reasonCodes = map[ropewalk.Reason]ErrorCode{
	ropewalk.ReasonTopicNotFound:          ErrUnknownTopicOrPart,
	ropewalk.ReasonPartitionNotFound:      ErrUnknownTopicOrPart,
	ropewalk.ReasonGroupNotFound:          ErrGroupIDNotFound,
	ropewalk.ReasonTopicExists:            ErrTopicAlreadyExists,
	ropewalk.ReasonInvalidTopicName:       ErrTopicException,
	ropewalk.ReasonInvalidField:           ErrInvalidRequest,
	ropewalk.ReasonRecordTooLarge:         ErrMsgSizeTooLarge,
	ropewalk.ReasonBatchTooLarge:          ErrRecordListTooLarge,
	ropewalk.ReasonCorruptBatch:           ErrInvalidMsg,
	ropewalk.ReasonExpectedOffsetMismatch: ErrInvalidRequest,
	ropewalk.ReasonSequenceGap:            ErrOutOfOrderSequenceNumber,
	ropewalk.ReasonProducerFenced:         ErrInvalidProducerEpoch,
	ropewalk.ReasonMemberFenced:           ErrIllegalGeneration,
	ropewalk.ReasonGroupNotEmpty:          ErrNonEmptyGroup,
	ropewalk.ReasonOffsetOutOfRange:       ErrOffsetOutOfRange,
	ropewalk.ReasonNotLeader:              ErrNotLeaderForPartition,
	ropewalk.ReasonNoLeader:               ErrLeaderNotAvailable,
	ropewalk.ReasonBrokerDraining:         ErrBrokerNotAvailable,
	ropewalk.ReasonNoQuorum:               ErrNotEnoughReplicas,
	ropewalk.ReasonLeaderChanged:          ErrNotLeaderForPartition,
	ropewalk.ReasonTimedOut:               ErrRequestTimedOut,
	ropewalk.ReasonOverloaded:             ErrThrottlingQuotaExceeded,
	ropewalk.ReasonQuotaExceeded:          ErrThrottlingQuotaExceeded,
	ropewalk.ReasonUnauthenticated:        ErrAuthentication,
	ropewalk.ReasonPermissionDenied:       ErrClusterAuthorizationFailed,
	ropewalk.ReasonTooMany:                ErrPolicyViolation,
	ropewalk.ReasonStorageFull:            ErrKafkaStorageError,
	ropewalk.ReasonCorruptLog:             ErrKafkaStorageError,
	ropewalk.ReasonInternal:               ErrUnknown,
	ropewalk.ReasonClosed:                 ErrDestroy,
	ropewalk.ReasonUnreachable:            ErrTransport,
	ropewalk.ReasonDisconnected:           ErrTransport,
	ropewalk.ReasonCanceled:               ErrTimedOut,
	ropewalk.ReasonPurged:                 ErrPurgeQueue,
	ropewalk.ReasonGap:                    ErrGap,
	ropewalk.ReasonTopicReplaced:          ErrUnknownTopicID,
}

// toError makes an Error of what the core says; nil stays nil.
func toError(err error) error {
	if err == nil {
		return nil
	}
	return asError(err)
}

// asError is toError for a field or a result that is an Error: the zero one for nil.
func asError(err error) Error {
	if err == nil {
		return Error{}
	}
	var own Error
	if errors.As(err, &own) {
		if own != err { // more is said of it
			own.str = err.Error()
		}
		return own
	}
	var e *ropewalk.Error
	if !errors.As(err, &e) {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return errorf(ErrTimedOut, "%v", err)
		}
		return errorf(ErrFail, "%v", err)
	}
	code, known := reasonCodes[e.Reason]
	switch {
	case e.InstanceTaken():
		code = ErrFencedInstanceID
	case !known:
		code = codeOf(e.Code())
	case e.Reason == ropewalk.ReasonInvalidField:
		code = fieldCode(e.Metadata["field"])
	}
	return Error{
		code: code, str: code.String() + ": " + err.Error(), cause: e, retriable: e.Retriable(),
		// A consumer goes on with a topic that has taken the place of another.
		fatal: e.Fatal() && e.Reason != ropewalk.ReasonClosed &&
			e.Reason != ropewalk.ReasonTopicReplaced,
	}
}

// fieldCode is the code that Kafka has for a value that a broker refuses.
func fieldCode(field string) ErrorCode {
	if strings.Contains(field, "settings.") {
		return ErrInvalidConfig
	}
	switch field[strings.LastIndexByte(field, '.')+1:] {
	case "partition_count":
		return ErrInvalidPartitions
	case "replication_factor":
		return ErrInvalidReplicationFactor
	case "group":
		return ErrInvalidGroupID
	case "metadata":
		return ErrOffsetMetadataTooLarge
	}
	return ErrInvalidRequest
}

// codeOf is the code of an error to which nobody gave a reason.
func codeOf(code codes.Code) ErrorCode {
	switch code {
	case codes.Unavailable:
		return ErrTransport
	case codes.DeadlineExceeded:
		return ErrTimedOut
	case codes.Unimplemented:
		return ErrUnsupportedFeature
	case codes.Unauthenticated:
		return ErrAuthentication
	case codes.PermissionDenied:
		return ErrClusterAuthorizationFailed
	}
	return ErrUnknown
}
