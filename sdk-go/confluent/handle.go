package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A Handle is what producers, consumers and administrators have in common.
type Handle interface {
	// SetOAuthBearerToken fails with ErrUnsupportedFeature: there is no SASL.
	SetOAuthBearerToken(oauthBearerToken OAuthBearerToken) error
	// SetOAuthBearerTokenFailure fails with ErrUnsupportedFeature: there is no SASL.
	SetOAuthBearerTokenFailure(errstr string) error
	// IsClosed reports whether Close has been called.
	IsClosed() bool

	connection() *handle
}

// An OAuthBearerToken would be a token for SASL, which there is none of: the type is here for
// programs that name it.
type OAuthBearerToken struct {
	// TokenValue is the token itself.
	TokenValue string
	// Expiration is when it is of no more use.
	Expiration time.Time
	// Principal is whose it is.
	Principal string
	// Extensions are what goes with it.
	Extensions map[string]string
}

// SetOAuthBearerToken fails with ErrUnsupportedFeature: there is no SASL.
func (h *handle) SetOAuthBearerToken(OAuthBearerToken) error {
	return unsupported("SASL/OAUTHBEARER")
}

// SetOAuthBearerTokenFailure fails with ErrUnsupportedFeature: there is no SASL.
func (h *handle) SetOAuthBearerTokenFailure(string) error {
	return unsupported("SASL/OAUTHBEARER")
}

// SetSaslCredentials fails with ErrUnsupportedFeature: there is no SASL.
func (h *handle) SetSaslCredentials(username, password string) error {
	return unsupported("SASL")
}

// A handle is a client of the core, which connects in the background: programs make producers and
// consumers also while no broker is there.
type handle struct {
	name string
	s    *settings
	log  *slog.Logger
	logs chan LogEvent
	sink *logSink
	// ownLogs: the channel is closed with the client.
	ownLogs bool

	// ctx ends with Close.
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	closed atomic.Bool

	// ready is closed once client is there.
	ready  chan struct{}
	client *ropewalk.Client
	// failing: there is none yet, as no broker could be reached.
	failing atomic.Bool
	// onError takes why that is.
	onError func(error)
}

var instances atomic.Int64

// open reads settings and begins to connect.
func open(conf *ConfigMap, of role, onError func(error)) (*handle, error) {
	if conf == nil {
		conf = &ConfigMap{}
	}
	s, notes, err := conf.parse(of)
	if err != nil {
		return nil, err
	}
	kind := "consumer"
	if of == forProducer || of == forAdmin {
		kind = "producer" // as librdkafka, where an administrator is one
	}
	h := &handle{
		name:  fmt.Sprintf("%s#%s-%d", s.clientID, kind, instances.Add(1)),
		s:     s,
		ready: make(chan struct{}), onError: onError,
	}
	if s.logsChannel {
		if h.logs = s.logsTo; h.logs == nil {
			h.logs, h.ownLogs = make(chan LogEvent, mostLogs), true
		}
	}
	h.sink = &logSink{to: h.logs}
	h.log = newLogger(h.name, s, h.sink)
	for _, note := range notes {
		h.log.Warn(note)
	}
	options, err := h.options()
	if err != nil {
		return nil, err
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.tasks.Go(func() { h.connect(options) })
	return h, nil
}

// options are the core's for the settings.
func (h *handle) options() ([]ropewalk.ClientOption, error) {
	s := h.s
	options := []ropewalk.ClientOption{
		ropewalk.WithClientID(s.clientID),
		ropewalk.WithLogger(h.log),
		ropewalk.WithRequestTimeout(s.requestTimeout),
		ropewalk.WithMetadataAge(s.metadataAge),
		ropewalk.WithDialTimeout(s.socket.setup),
	}
	if s.tls.on {
		config, err := s.tls.config()
		if err != nil {
			return nil, err
		}
		options = append(options, ropewalk.WithTLS(config))
	}
	for name := range s.given {
		switch name {
		case "socket.keepalive.enable", "socket.nagle.disable", "broker.address.family",
			"socket.send.buffer.bytes", "socket.receive.buffer.bytes":
			return append(options, ropewalk.WithDialer(s.socket.dial)), nil
		}
	}
	return options, nil
}

// dial makes a connection as the settings say.
func (s *socketSettings) dial(ctx context.Context, address string) (net.Conn, error) {
	network := map[string]string{"v4": "tcp4", "v6": "tcp6"}[s.family]
	if network == "" {
		network = "tcp"
	}
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: s.keepAlive}}
	if !s.keepAlive {
		dialer.KeepAlive = -1
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetNoDelay(s.noDelay)
		if s.send > 0 {
			err = errors.Join(err, tcp.SetWriteBuffer(s.send))
		}
		if s.receive > 0 {
			err = errors.Join(err, tcp.SetReadBuffer(s.receive))
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// leastReconnect is about the least pause between two tries, also where the settings say 0: a port
// that is closed answers at once.
const leastReconnect = 10 * time.Millisecond

// reconnectPause is the pause after so many tries, as reconnect.backoff.ms says.
func (s *settings) reconnectPause(attempt int) time.Duration {
	return doubling(max(s.reconnectFirst, leastReconnect), s.reconnectLatest)(attempt)
}

// connect tries until there is a client.
func (h *handle) connect(options []ropewalk.ClientOption) {
	for attempt := 1; ; attempt++ {
		client, err := ropewalk.Dial(h.ctx, h.s.addresses, options...)
		if err == nil {
			h.client = client
			close(h.ready)
			return
		}
		if h.ctx.Err() != nil {
			return
		}
		h.failing.Store(true)
		h.log.Warn("no broker can be reached", "attempt", attempt, "error", err)
		if h.onError != nil {
			h.onError(err)
		}
		select {
		case <-time.After(h.s.reconnectPause(attempt)):
		case <-h.ctx.Done():
			return
		}
	}
}

// doubling is a pause that begins with first, doubles up to latest, and is a little more or less.
func doubling(first, latest time.Duration) func(attempt int) time.Duration {
	return func(attempt int) time.Duration {
		d := first << min(max(attempt-1, 0), 20)
		if d > latest || d < first {
			d = max(latest, first)
		}
		return d - d/5 + time.Duration(rand.Int64N(int64(d)*2/5+1))
	}
}

// core waits for the client. The error is an Error.
func (h *handle) core(ctx context.Context) (*ropewalk.Client, error) {
	select {
	case <-h.ready:
		return h.client, nil
	default:
	}
	select {
	case <-h.ready:
		return h.client, nil
	case <-ctx.Done():
		return nil, errorf(ErrTransport, "no broker at %v could be reached in time", h.s.addresses)
	case <-h.ctx.Done():
		return nil, closedError()
	}
}

// admin is core's administrator.
func (h *handle) admin(ctx context.Context) (*ropewalk.Admin, error) {
	client, err := h.core(ctx)
	if err != nil {
		return nil, err
	}
	return client.Admin(), nil
}

// within is a context for a call of so many milliseconds at most; below 0: as long as
// socket.timeout.ms.
func (h *handle) within(timeoutMs int) (context.Context, context.CancelFunc) {
	limit := time.Duration(timeoutMs) * time.Millisecond
	if timeoutMs < 0 {
		limit = h.s.requestTimeout
	}
	return context.WithTimeout(h.ctx, limit)
}

func (h *handle) check() error {
	if h.closed.Load() {
		return closedError()
	}
	return nil
}

// shut ends the connection, and all that runs in the background.
func (h *handle) shut() error {
	h.cancel()
	h.tasks.Wait()
	var err error
	if h.client != nil {
		err = h.client.Close()
	}
	if h.ownLogs {
		h.sink.close()
	}
	return err
}

func (h *handle) connection() *handle { return h }

// IsClosed reports whether Close has been called.
func (h *handle) IsClosed() bool { return h.closed.Load() }

// String names the client, as in rdkafka#producer-1.
func (h *handle) String() string { return h.name }

// Logs returns the channel of logs, nil without go.logs.channel.enable.
func (h *handle) Logs() chan LogEvent { return h.logs }
