package otelropewalk_test

import (
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/internal/examplecheck"
)

func TestEachTypeHasAnExample(t *testing.T) {
	examplecheck.Run(t, "github.com/ropewalk/ropewalk/sdk-go/otel")
}
