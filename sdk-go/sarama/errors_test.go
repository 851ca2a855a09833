package sarama_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// A program finds an error by ==, errors.Is and errors.As, however it is wrapped.
func TestKErrorIsFound(t *testing.T) {
	message := &sarama.ProducerMessage{Topic: "t"}
	sent := sarama.ProducerError{Msg: message, Err: sarama.ErrNotEnoughReplicas}
	read := &sarama.ConsumerError{Topic: "t", Err: sarama.ErrNotEnoughReplicas}
	for _, err := range []error{
		sarama.ErrNotEnoughReplicas, fmt.Errorf("sending: %w", sarama.ErrNotEnoughReplicas),
		sent, read,
		sarama.Wrap(sarama.ErrReassignPartitions, io.EOF, sarama.ErrNotEnoughReplicas),
	} {
		var number sarama.KError
		if !errors.As(err, &number) || number != 19 {
			t.Errorf("%v is number %d", err, number)
		}
		if !errors.Is(err, sarama.ErrNotEnoughReplicas) || errors.Is(err, sarama.ErrNotController) {
			t.Errorf("%v is not found", err)
		}
	}
}

func TestKErrorTexts(t *testing.T) {
	seen := map[string]sarama.KError{}
	for number := sarama.ErrUnknown; number <= sarama.ErrInvalidUpdateVersion; number++ {
		text := number.Error()
		if other, ok := seen[text]; ok || !strings.HasPrefix(text, "kafka server: ") {
			t.Errorf("%d and %d are both %q", other, number, text)
		}
		seen[text] = number
		isKnown := number <= sarama.ErrProducerFenced || number == sarama.ErrInvalidUpdateVersion
		if isKnown == strings.Contains(text, "error ") && number != sarama.ErrNoError {
			t.Errorf("%d is %q", number, text)
		}
	}
	if sarama.ErrProducerFenced != 90 || sarama.ErrInvalidUpdateVersion != 95 ||
		sarama.ErrThrottlingQuotaExceeded != 89 || sarama.ErrNonEmptyGroup != 68 {
		t.Error("the numbers are not Kafka's")
	}
}

func TestWrap(t *testing.T) {
	causes := []error{io.EOF, io.ErrClosedPipe}
	err := sarama.Wrap(sarama.ErrDeleteRecords, causes...)
	want := "kafka server: failed to delete records: EOF\nio: read/write on closed pipe"
	if err.Error() != want {
		t.Errorf("got %q", err)
	}
	for _, found := range append(causes, sarama.ErrDeleteRecords) {
		if !errors.Is(err, found) {
			t.Errorf("%v is not found", found)
		}
	}
	alone := sarama.Wrap(sarama.ErrDeleteRecords)
	if alone.Error() != sarama.ErrDeleteRecords.Error() ||
		!errors.Is(alone, sarama.ErrDeleteRecords) {
		t.Errorf("got %q", alone)
	}
}

func TestMultiErrorFormat(t *testing.T) {
	errs := []error{io.EOF, io.ErrClosedPipe}
	want := "2 errors occurred:\n\t* EOF\n\t* io: read/write on closed pipe\n"
	if got := sarama.MultiErrorFormat(errs); got != want {
		t.Errorf("got %q", got)
	}
	if got := sarama.MultiErrorFormat(errs[:1]); got != "EOF" {
		t.Errorf("got %q", got)
	}
}

func TestErrorTexts(t *testing.T) {
	for err, want := range map[error]string{
		sarama.ConfigurationError("x"):                "kafka: invalid configuration (x)",
		sarama.PacketEncodingError{Info: "x"}:         "kafka: error encoding packet: x",
		sarama.PacketDecodingError{Info: "x"}:         "kafka: error decoding packet: x",
		sarama.ConsumerError{Topic: "t", Err: io.EOF}: "kafka: error while consuming t/0: EOF",
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}
