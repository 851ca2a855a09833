package otelropewalk

import (
	"errors"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// scope is the name under which spans and metrics are reported.
const scope = "github.com/ropewalk/ropewalk/sdk-go/otel"

// system is messaging.system.
const system = "ropewalk"

// Telemetry reports to OpenTelemetry. It is a hook for [ropewalk.WithHooks], which has it measure,
// and an interceptor for [ropewalk.WithSendInterceptor], [ropewalk.WithReceiveInterceptor] and
// [ropewalk.GroupReceiveInterceptor], which has it trace. It is safe for use by many goroutines,
// and needs no Close.
type Telemetry struct {
	config config
	tracer trace.Tracer
	meters meters
	// sets keeps the attributes of measurements, by what they are made of: one for each series.
	sets sync.Map
}

var (
	_ ropewalk.SendInterceptor        = (*Telemetry)(nil)
	_ ropewalk.ReceiveInterceptor     = (*Telemetry)(nil)
	_ ropewalk.HookBatchAnswered      = (*Telemetry)(nil)
	_ ropewalk.HookBatchRetried       = (*Telemetry)(nil)
	_ ropewalk.HookBatchReceived      = (*Telemetry)(nil)
	_ ropewalk.HookRecordsDelivered   = (*Telemetry)(nil)
	_ ropewalk.HookGapFound           = (*Telemetry)(nil)
	_ ropewalk.HookStreamBroken       = (*Telemetry)(nil)
	_ ropewalk.HookCommitDone         = (*Telemetry)(nil)
	_ ropewalk.HookGroupAssigned      = (*Telemetry)(nil)
	_ ropewalk.HookGroupRevoked       = (*Telemetry)(nil)
	_ ropewalk.HookGroupLost          = (*Telemetry)(nil)
	_ ropewalk.HookBrokerConnected    = (*Telemetry)(nil)
	_ ropewalk.HookBrokerDisconnected = (*Telemetry)(nil)
)

// An Option changes a setting of [New].
type Option func(*config)

type config struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator
	group      string
	parent     bool
}

// WithTracerProvider sets who takes the spans. Default: the global one.
func WithTracerProvider(p trace.TracerProvider) Option { return func(c *config) { c.tracers = p } }

// WithMeterProvider sets who takes the metrics. Default: the global one.
func WithMeterProvider(p metric.MeterProvider) Option { return func(c *config) { c.meters = p } }

// WithPropagator sets what of a context travels in headers, and how. Default: W3C Trace Context and
// Baggage, whatever the global one is.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(c *config) { c.propagator = p }
}

// WithConsumerGroup names the consumer group in the spans of records that are read: an interceptor
// does not know it. Default: spans name none.
func WithConsumerGroup(group string) Option { return func(c *config) { c.group = group } }

// WithProducerAsParent has the span of [Telemetry.Process] be a child of the one that sent the
// record, in the same trace, where its context has no span of its own. Default: it is linked only,
// in a trace of its own.
func WithProducerAsParent() Option { return func(c *config) { c.parent = true } }

// New makes a Telemetry. It fails where the meter provider refuses an instrument.
func New(options ...Option) (*Telemetry, error) {
	c := config{
		tracers: otel.GetTracerProvider(),
		meters:  otel.GetMeterProvider(),
		propagator: propagation.NewCompositeTextMapPropagator(
			propagation.TraceContext{}, propagation.Baggage{}),
	}
	for _, option := range options {
		option(&c)
	}
	if c.tracers == nil || c.meters == nil || c.propagator == nil {
		return nil, errors.New("otelropewalk: a provider or the propagator is nil")
	}
	t := &Telemetry{
		config: c,
		tracer: c.tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
	}
	var err error
	t.meters, err = newMeters(c.meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)))
	return t, err
}

// errorType is the attribute of an error: its reason, or its gRPC code, where it is the client's.
func errorType(err error) attribute.KeyValue {
	var e *ropewalk.Error
	switch {
	case !errors.As(err, &e):
		return semconv.ErrorType(err)
	case e.Reason != "":
		return semconv.ErrorTypeKey.String(string(e.Reason))
	}
	return semconv.ErrorTypeKey.String(e.Code().String())
}
