package sarama

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// TopicError is why a topic was not created. errors.Is finds its Err.
type TopicError struct {
	// Err is the number of the error.
	Err KError
	// ErrMsg says more; nil when there is nothing to say.
	ErrMsg *string
}

// Error describes the error.
func (t *TopicError) Error() string { return withMessage(t.Err, t.ErrMsg) }

// Unwrap returns Err.
func (t *TopicError) Unwrap() error { return t.Err }

// TopicPartitionError is why a topic was not given more partitions. errors.Is finds its Err.
type TopicPartitionError struct {
	// Err is the number of the error.
	Err KError
	// ErrMsg says more; nil when there is nothing to say.
	ErrMsg *string
}

// Error describes the error.
func (t *TopicPartitionError) Error() string { return withMessage(t.Err, t.ErrMsg) }

// Unwrap returns Err.
func (t *TopicPartitionError) Unwrap() error { return t.Err }

// DescribeConfigError is why settings were not told. errors.Is finds its Err.
type DescribeConfigError struct {
	// Err is the number of the error.
	Err KError
	// ErrMsg says more.
	ErrMsg string
}

// Error describes the error.
func (c *DescribeConfigError) Error() string { return withMessage(c.Err, &c.ErrMsg) }

// Unwrap returns Err.
func (c *DescribeConfigError) Unwrap() error { return c.Err }

// AlterConfigError is why settings were not changed. errors.Is finds its Err.
type AlterConfigError struct {
	// Err is the number of the error.
	Err KError
	// ErrMsg says more.
	ErrMsg string
}

// Error describes the error.
func (c *AlterConfigError) Error() string { return withMessage(c.Err, &c.ErrMsg) }

// Unwrap returns Err.
func (c *AlterConfigError) Unwrap() error { return c.Err }

func withMessage(err KError, message *string) string {
	if message == nil || *message == "" {
		return err.Error()
	}
	return fmt.Sprintf("%v - %s", err, *message)
}

// adminError is a refusal that this package makes itself, in the broker's place.
type adminError struct {
	err     KError
	message string
}

func (e *adminError) Error() string { return withMessage(e.err, &e.message) }

func (e *adminError) Unwrap() error { return e.err }

func refuse(err KError, format string, args ...any) error {
	return &adminError{err, fmt.Sprintf(format, args...)}
}

// adminReasons are the errors of calls of an admin, where they are not those of producing and
// consuming.
var adminReasons = map[ropewalk.Reason]KError{
	ropewalk.ReasonTopicExists:   ErrTopicAlreadyExists,
	ropewalk.ReasonGroupNotFound: ErrGroupIDNotFound,
	ropewalk.ReasonGroupNotEmpty: ErrNonEmptyGroup,
	ropewalk.ReasonTooMany:       ErrPolicyViolation,
}

// fieldErrors are the numbers that Kafka has for a value that it refuses.
var fieldErrors = map[string]KError{
	"partition_count":    ErrInvalidPartitions,
	"replication_factor": ErrInvalidReplicationFactor,
	"broker_id":          ErrInvalidReplicaAssignment,
	"broker_ids":         ErrInvalidReplicaAssignment,
	"name":               ErrInvalidTopic,
	"group":              ErrInvalidGroupId,
}

// numbered finds the number of an error, and what it says. It reports false for one that has no
// number: no broker was reached, or the client is closed.
func numbered(err error) (number KError, message string, ok bool) {
	var own *adminError
	if errors.As(err, &own) {
		return own.err, own.message, true
	}
	if errors.As(err, &number) {
		return number, "", true
	}
	var e *ropewalk.Error
	if !errors.As(err, &e) {
		return 0, "", false
	}
	number, ok = adminReasons[e.Reason]
	if e.Reason == ropewalk.ReasonInvalidField {
		number, ok = fieldError(e.Metadata["field"]), true
	}
	if !ok && errors.Is(err, context.DeadlineExceeded) {
		number, ok = ErrRequestTimedOut, true
	}
	if !ok {
		ok = errors.As(mapError(err), &number)
	}
	return number, e.Message, ok
}

func fieldError(field string) KError {
	if strings.Contains(field, "settings.") {
		return ErrInvalidConfig
	}
	if at := strings.LastIndexByte(field, '.'); at >= 0 {
		field = field[at+1:]
	}
	if number, ok := fieldErrors[field]; ok {
		return number
	}
	return ErrInvalidRequest
}

// mapAdminError turns an error of the core into the bare one that sarama would give.
func mapAdminError(err error) error {
	if err == nil {
		return nil
	}
	number, message, ok := numbered(err)
	if !ok {
		return mapError(err)
	}
	if message != "" {
		Logger.Printf("%s (returned as: %v)\n", message, number)
	}
	return number
}

// topicError turns an error of the core into the one that sarama gives of a topic; others stay.
func topicError(err error) error {
	if number, message, ok := numbered(err); ok {
		return &TopicError{number, &message}
	}
	return mapError(err)
}

func partitionsError(err error) error {
	if number, message, ok := numbered(err); ok {
		return &TopicPartitionError{number, &message}
	}
	return mapError(err)
}
