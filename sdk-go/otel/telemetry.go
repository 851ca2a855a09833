package otelropewalk

import (
	"errors"
	"runtime/debug"

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
// and trace commits; and an interceptor for [ropewalk.WithSendInterceptor],
// [ropewalk.WithDeliveryInterceptor] and [ropewalk.GroupDeliveryInterceptor], which has it trace. It
// is safe for use by many goroutines, and needs no Close.
type Telemetry struct {
	config config
	tracer trace.Tracer
	meters *meters
	series *cache
	client *clientName
	// group is whose records Process works on.
	group string
}

var (
	_ ropewalk.SendInterceptor        = (*Telemetry)(nil)
	_ ropewalk.DeliveryInterceptor    = (*Telemetry)(nil)
	_ ropewalk.HookBatchAnswered      = (*Telemetry)(nil)
	_ ropewalk.HookBatchRetried       = (*Telemetry)(nil)
	_ ropewalk.HookRecordsFailed      = (*Telemetry)(nil)
	_ ropewalk.HookBatchReceived      = (*Telemetry)(nil)
	_ ropewalk.HookRecordsDelivered   = (*Telemetry)(nil)
	_ ropewalk.HookGapFound           = (*Telemetry)(nil)
	_ ropewalk.HookStreamBroken       = (*Telemetry)(nil)
	_ ropewalk.HookCommitDone         = (*Telemetry)(nil)
	_ ropewalk.HookGroupAssigned      = (*Telemetry)(nil)
	_ ropewalk.HookGroupRevoked       = (*Telemetry)(nil)
	_ ropewalk.HookGroupLost          = (*Telemetry)(nil)
	_ ropewalk.HookGroupLeft          = (*Telemetry)(nil)
	_ ropewalk.HookBrokerConnected    = (*Telemetry)(nil)
	_ ropewalk.HookBrokerDisconnected = (*Telemetry)(nil)
)

// An Option changes a setting of [New].
type Option func(*config)

type config struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator
	partitions bool
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

// WithPartitions has metrics tell partitions apart, by messaging.destination.partition.id: each
// metric of a topic is then one for each of its partitions. The SDK has 2,000 series for each
// instrument, unless it is told otherwise, and puts what is beyond them together. Default: metrics
// are of topics; spans name the partition either way.
func WithPartitions() Option { return func(c *config) { c.partitions = true } }

// WithProducerAsParent has the span of [Telemetry.Process] be a child of the one that sent the
// record, in the same trace, where the context that Process is given has no span. It is linked to it
// all the same. The spans of calls that hand out records, and those of [Telemetry.ProcessBatch], are
// of many records, and never such a child. Default: it is linked only, and has the parent that the
// context says, or begins a trace.
func WithProducerAsParent() Option { return func(c *config) { c.parent = true } }

// ForGroup returns the same Telemetry for what the members of a consumer group read: its Process and
// ProcessBatch name the group, in spans and metrics. All else knows the group by itself, and works as
// that of the original.
func (t *Telemetry) ForGroup(group string) *Telemetry {
	of := *t
	of.group = group
	return &of
}

// New makes a Telemetry. It fails where a provider is nil, and where the meter provider refuses an
// instrument.
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
	meters, err := newMeters(c.meters.Meter(scope,
		metric.WithInstrumentationVersion(version()), metric.WithSchemaURL(semconv.SchemaURL)))
	if err != nil {
		return nil, err
	}
	return &Telemetry{
		config: c,
		tracer: c.tracers.Tracer(scope,
			trace.WithInstrumentationVersion(version()), trace.WithSchemaURL(semconv.SchemaURL)),
		meters: &meters,
		series: &cache{known: map[series]*measured{}},
		client: &clientName{},
	}, nil
}

// version is that of this module, as the program was built with it; empty where that is not known.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == scope {
				return module.Version
			}
		}
	}
	return ""
}

// errorType is the attribute of an error: its reason, or its gRPC code, where it is the client's.
func errorType(err error) attribute.KeyValue {
	e, ok := err.(*ropewalk.Error) // as those of the client are
	if !ok {
		e = within(err)
	}
	switch {
	case e == nil:
		return semconv.ErrorType(err)
	case e.Reason != "":
		return semconv.ErrorTypeKey.String(string(e.Reason))
	}
	return semconv.ErrorTypeKey.String(e.Code().String())
}

// within is the client's error in another one; nil where there is none. It allocates.
func within(err error) (e *ropewalk.Error) {
	_ = errors.As(err, &e)
	return e
}
