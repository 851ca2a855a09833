package sarama

import "errors"

// Errors that stand with the others once all of them are there.
var (
	ErrBrokerNotFound         = errors.New("kafka: broker for ID is not found")
	ErrControllerNotAvailable = errors.New("kafka: controller is not available")
	ErrIncompleteResponse     = errors.New("kafka: response did not contain all the expected topic/partition blocks")
	ErrAlreadyConnected       = errors.New("kafka: broker connection already initiated")
	ErrNotConnected           = errors.New("kafka: broker not connected")
)

// Numbers that stand with the others once all of them are there.
const (
	ErrConsumerCoordinatorNotAvailable KError = 15
	ErrUnsupportedVersion              KError = 35
)
