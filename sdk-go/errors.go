package ropewalk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errorDomain is the domain of the ErrorInfo that the broker attaches to its errors.
const errorDomain = "ropewalk.v1"

// A Reason says what went wrong, more exactly than a gRPC code does. A Reason is an error itself,
// so that errors.Is(err, ropewalk.ReasonTopicNotFound) works for any error of this package.
type Reason string

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// Reasons that a broker gives.
const (
	ReasonTopicNotFound          Reason = "TOPIC_NOT_FOUND"
	ReasonPartitionNotFound      Reason = "PARTITION_NOT_FOUND"
	ReasonGroupNotFound          Reason = "GROUP_NOT_FOUND"
	ReasonTopicExists            Reason = "TOPIC_EXISTS"
	ReasonInvalidTopicName       Reason = "INVALID_TOPIC_NAME"
	ReasonInvalidField           Reason = "INVALID_FIELD"
	ReasonRecordTooLarge         Reason = "RECORD_TOO_LARGE"
	ReasonBatchTooLarge          Reason = "BATCH_TOO_LARGE"
	ReasonCorruptBatch           Reason = "CORRUPT_BATCH"
	ReasonExpectedOffsetMismatch Reason = "EXPECTED_OFFSET_MISMATCH"
	// ReasonExpectedVersionMismatch comes with a *VersionMismatch.
	ReasonExpectedVersionMismatch Reason = "EXPECTED_VERSION_MISMATCH"
	ReasonKeysUnread              Reason = "KEYS_UNREAD"
	ReasonTooManyKeys             Reason = "TOO_MANY_KEYS"
	ReasonSequenceGap             Reason = "SEQUENCE_GAP"
	ReasonProducerFenced          Reason = "PRODUCER_FENCED"
	ReasonMemberFenced            Reason = "MEMBER_FENCED"
	ReasonGroupNotEmpty           Reason = "GROUP_NOT_EMPTY"
	ReasonOffsetOutOfRange        Reason = "OFFSET_OUT_OF_RANGE"
	ReasonNotLeader               Reason = "NOT_LEADER"
	ReasonNoLeader                Reason = "NO_LEADER"
	ReasonBrokerDraining          Reason = "BROKER_DRAINING"
	ReasonNoQuorum                Reason = "NO_QUORUM"
	ReasonLeaderChanged           Reason = "LEADER_CHANGED"
	ReasonTimedOut                Reason = "TIMED_OUT"
	ReasonQuotaExceeded           Reason = "QUOTA_EXCEEDED"
	ReasonOverloaded              Reason = "OVERLOADED"
	ReasonStorageFull             Reason = "STORAGE_FULL"
	ReasonTooMany                 Reason = "TOO_MANY"
	ReasonCorruptLog              Reason = "CORRUPT_LOG"
	ReasonInternal                Reason = "INTERNAL"
	// ReasonUnauthenticated and ReasonPermissionDenied: who asks is not known, or may not do this.
	ReasonUnauthenticated  Reason = "UNAUTHENTICATED"
	ReasonPermissionDenied Reason = "PERMISSION_DENIED"
)

// Reasons that this client gives.
const (
	// ReasonClosed: the client, producer or consumer is closed.
	ReasonClosed Reason = "CLIENT_CLOSED"
	// ReasonUnreachable: no broker could be reached; the request was not sent.
	ReasonUnreachable Reason = "CLIENT_UNREACHABLE"
	// ReasonDisconnected: the connection broke while a sent request had no answer.
	ReasonDisconnected Reason = "CLIENT_DISCONNECTED"
	// ReasonCanceled: the caller's context ended.
	ReasonCanceled Reason = "CLIENT_CANCELED"
	// ReasonGap: records that were to be read are gone. The error wraps a *Gap.
	ReasonGap Reason = "CLIENT_GAP"
	// ReasonPurged: the record was given up before it was sent, by [Producer.Purge].
	ReasonPurged Reason = "CLIENT_PURGED"
	// ReasonTopicReplaced: a topic that was being read was deleted and created again.
	ReasonTopicReplaced Reason = "CLIENT_TOPIC_REPLACED"
	// ReasonUndecodable: the value of a record is not of the type that it was to be decoded as.
	ReasonUndecodable Reason = "CLIENT_UNDECODABLE"
)

// An Outcome says what is known about a write that failed.
type Outcome int

const (
	// OutcomeMaybe: the write may have happened, so that repeating it can make a duplicate.
	OutcomeMaybe Outcome = iota
	// OutcomeNo: the write surely did not happen.
	OutcomeNo
)

// String returns "no" or "maybe".
func (o Outcome) String() string {
	if o == OutcomeNo {
		return "no"
	}
	return "maybe"
}

// Error is the one error type of this package.
type Error struct {
	// Op is what was being done: "produce", "subscribe", "create topic" ...
	Op string
	// Reason is the broker's reason, or one of this client's; empty when a peer gave none.
	Reason Reason
	// Message says what went wrong, for people.
	Message string
	// Metadata is what the broker tells about the reason: limits, offsets, names.
	Metadata map[string]string
	// RetryAfter is how long the broker asks to wait before a retry; 0 when it does not say.
	RetryAfter time.Duration

	code    codes.Code
	outcome Outcome
	status  *status.Status
	cause   error
}

// Error describes the error in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("ropewalk: ")
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	b.WriteString(e.Message)
	if e.Reason != "" {
		fmt.Fprintf(&b, " (%s)", e.Reason)
	} else {
		fmt.Fprintf(&b, " (%s)", e.code)
	}
	return b.String()
}

// Code returns the gRPC status code.
func (e *Error) Code() codes.Code { return e.code }

// GRPCStatus returns the gRPC status, so that status.FromError understands the error.
func (e *Error) GRPCStatus() *status.Status {
	if e.status != nil {
		return e.status
	}
	return status.New(e.code, e.Message)
}

// Unwrap returns the cause: the context's error, a *Gap, a *VersionMismatch, or that of a [Codec].
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is the error's Reason.
func (e *Error) Is(target error) bool {
	reason, ok := target.(Reason)
	return ok && reason == e.Reason
}

// Appended says whether a write that failed may have happened all the same.
func (e *Error) Appended() Outcome { return e.outcome }

// Retriable reports whether the same call can succeed later without a change to it. For a write,
// look at Appended too: only with OutcomeNo is a retry free of duplicates.
func (e *Error) Retriable() bool {
	switch e.Reason {
	case ReasonClosed, ReasonCanceled, ReasonPurged, ReasonTopicReplaced, ReasonTooManyKeys:
		return false
	case ReasonGap:
		return true
	}
	switch e.code {
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
		return true
	case codes.Internal, codes.Unknown, codes.Canceled:
		// A broker's INTERNAL, and what gRPC makes of a connection or stream that was reset.
		return true
	default:
		return false
	}
}

// InstanceTaken reports whether a member of a consumer group has ended because another one, which
// came later, has its instance name ([GroupInstance]). Its reason is [ReasonMemberFenced]. Whoever
// joins anew takes the name back, and ends the other.
func (e *Error) InstanceTaken() bool {
	return e.Reason == ReasonMemberFenced && e.Metadata["cause"] == "instance_taken"
}

// OfOnePartition reports whether a refusal of a call that names several partitions, as a commit is,
// says something of one of them, and nothing of the others: the partition is not the member's any
// more, is not there, or has no such offset. Without it the call may be made again.
func (e *Error) OfOnePartition() bool {
	switch e.Reason {
	case ReasonMemberFenced:
		return !e.InstanceTaken() // which is of the whole member
	case ReasonTopicNotFound, ReasonPartitionNotFound, ReasonOffsetOutOfRange:
		return true
	default:
		return false
	}
}

// Fatal reports whether going on makes no sense: the log is damaged, the caller is not allowed to
// do this, the peer does not know the call, another producer or member of a group has taken the
// name, or the client is closed.
func (e *Error) Fatal() bool {
	switch e.code {
	case codes.DataLoss, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		return true
	}
	switch e.Reason {
	case ReasonClosed, ReasonTopicReplaced, ReasonProducerFenced:
		return true
	}
	return e.InstanceTaken()
}

// with returns the error under another operation, which matters when several callers share one.
func (e *Error) with(op string) *Error {
	c := *e
	c.Op = op
	return &c
}

// newError makes an error of this client.
func newError(
	op string, reason Reason, code codes.Code, outcome Outcome, format string, args ...any,
) *Error {
	return &Error{Op: op, Reason: reason, Message: fmt.Sprintf(format, args...), code: code, outcome: outcome}
}

func closedError(op, what string) *Error {
	return newError(op, ReasonClosed, codes.FailedPrecondition, OutcomeNo, "the %s is closed", what)
}

func invalidError(op, format string, args ...any) *Error {
	return newError(op, ReasonInvalidField, codes.InvalidArgument, OutcomeNo, format, args...)
}

// contextError wraps the error of the caller's context.
func contextError(op string, ctx context.Context, outcome Outcome) *Error {
	code := codes.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	e := newError(op, ReasonCanceled, code, outcome, "%v", context.Cause(ctx))
	e.cause = ctx.Err()
	return e
}

// fromRPC converts what a gRPC call returned. Errors without an ErrorInfo were made by the
// transport: nothing is known of what the broker did, unless the caller knows that nothing was
// sent.
func fromRPC(op string, err error) *Error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return own.with(op)
	}
	return fromStatus(op, status.Convert(err))
}

// fromStatus converts the status of a call, or of one answer of a stream.
func fromStatus(op string, st *status.Status) *Error {
	e := &Error{Op: op, Message: st.Message(), code: st.Code(), status: st, outcome: OutcomeMaybe}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				e.Reason = Reason(d.GetReason())
				e.Metadata = maps.Clone(d.GetMetadata())
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	e.outcome = outcomeOf(e)
	if e.Reason == ReasonExpectedVersionMismatch {
		e.cause = versionMismatch(e.Metadata)
	}
	if e.Message == "" {
		e.Message = st.Code().String()
	}
	return e
}

// outcomeOf is the `appended` column of the contract.
func outcomeOf(e *Error) Outcome {
	switch e.Reason {
	case ReasonNoQuorum, ReasonLeaderChanged, ReasonTimedOut, ReasonInternal:
		return OutcomeMaybe
	case "":
		// Not from a broker. These codes are given before a request is handled, by any gRPC server.
		switch e.code {
		case codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied:
			return OutcomeNo
		}
		return OutcomeMaybe
	}
	switch e.code {
	case codes.NotFound, codes.AlreadyExists, codes.InvalidArgument, codes.Aborted,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unavailable, codes.ResourceExhausted,
		codes.DataLoss, codes.Unauthenticated, codes.PermissionDenied:
		if e.code == codes.Unavailable && e.Reason != ReasonNotLeader &&
			e.Reason != ReasonNoLeader && e.Reason != ReasonBrokerDraining && e.Reason != ReasonKeysUnread {
			return OutcomeMaybe // a reason that this client does not know
		}
		return OutcomeNo
	default:
		return OutcomeMaybe
	}
}
