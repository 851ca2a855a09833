package ropewalk

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A Client is the way to a cluster. It is safe for use by many goroutines, and meant to be shared.
//
// One address that can be reached is enough. The client learns from the cluster who leads what, and
// has a connection to each broker that leads something it writes or reads; while such a broker cannot
// be reached from here, as behind a port-forward, another one forwards to it.
//
// Hundreds of consumers, members of groups and producers share a connection. What is beyond half of
// the calls that the broker takes at a time on one, or 500, gets further ones, so that calls never
// wait behind streams.
type Client struct {
	config    clientConfig
	addresses []string
	conn      clientConn
	resolver  *manual.Resolver
	// tried are the addresses in use: those that were given, and those that were learned.
	tried []string
	log   *slog.Logger

	producers pb.ProducerServiceClient
	consumers pb.ConsumerServiceClient
	admins    pb.AdminServiceClient

	topics  topicCache
	brokers brokers
	hooks   hooks

	// ctx ends with Close; background work and streams hang on it.
	ctx    context.Context
	cancel context.CancelFunc

	background sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	children map[child]struct{}
	// ended is done once all is closed.
	ended sync.Once
}

// A clientConn is what a client needs of gRPC's connection.
type clientConn interface {
	grpc.ClientConnInterface
	Connect()
	GetState() connectivity.State
	WaitForStateChange(ctx context.Context, last connectivity.State) bool
	Close() error
}

// child is what a client closes with itself.
type child interface{ Shutdown(context.Context) error }

// Dial connects to a cluster. The addresses, each HOST:PORT, are tried in order, now and whenever
// the connection is lost; any broker of the cluster will do. Dial returns when a broker has
// answered, or with the error of the last address once all have failed.
func Dial(ctx context.Context, addresses []string, options ...ClientOption) (*Client, error) {
	config := defaultClientConfig()
	for _, option := range options {
		option(&config)
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	config.tls = config.tls.Clone()
	if err := checkAddresses(addresses); err != nil {
		return nil, err
	}
	c := newClient(config, slices.Clone(addresses))
	if err := c.connect(); err != nil {
		c.cancel()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, config.dialTimeout)
	defer cancel()
	if err := c.awaitBroker(ctx); err != nil {
		_ = c.Close() // nothing was made with it, and err is why
		return nil, err
	}
	return c, nil
}

// newClient makes a client that has no connection yet.
func newClient(config clientConfig, addresses []string) *Client {
	c := &Client{
		config:    config,
		addresses: addresses,
		tried:     addresses,
		log:       config.logger,
		children:  map[child]struct{}{},
		hooks:     newHooks(&config),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.topics.init(c)
	c.brokers.init(c)
	return c
}

func checkAddresses(addresses []string) *Error {
	if len(addresses) == 0 {
		return invalidError("dial", "no address is given")
	}
	for _, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || port == "" {
			return invalidError("dial", "address %q is not HOST:PORT", address)
		}
	}
	return nil
}

// connect makes the gRPC connection, which tries the addresses by itself, in order.
func (c *Client) connect() error {
	conn, err := newConnSet(c, c.dialAny)
	if err != nil {
		return newError("dial", ReasonUnreachable, codes.Unavailable, OutcomeNo, "%v", err)
	}
	c.connected(conn)
	return nil
}

// dialAny makes a connection to whichever broker answers. The first one is told of addresses that
// are learned while it is there.
func (c *Client) dialAny(limit *callLimit) (clientConn, error) {
	addresses := manual.NewBuilderWithScheme("ropewalk") // of one connection only
	c.mu.Lock()
	addresses.InitialState(c.resolverState(c.tried))
	if c.resolver == nil {
		c.resolver = addresses
	}
	c.mu.Unlock()
	options := append(c.dialOptions(), grpc.WithResolvers(addresses),
		grpc.WithChainUnaryInterceptor(c.takeHint),
		grpc.WithTransportCredentials(limit.heardBy(c.brokers.greeter())))
	return grpc.NewClient("ropewalk:///"+c.addresses[0], options...)
}

// connected takes the connection.
func (c *Client) connected(conn clientConn) {
	c.conn = conn
	c.producers = pb.NewProducerServiceClient(conn)
	c.consumers = pb.NewConsumerServiceClient(conn)
	c.admins = pb.NewAdminServiceClient(conn)
}

// resolverState has addresses tried in order; what answers at those behind the first ones, which were
// given, must belong to the cluster.
func (c *Client) resolverState(addresses []string) resolver.State {
	state := resolver.State{}
	for i, address := range addresses {
		found := resolver.Address{Addr: address, Attributes: attributes.New(dialedAddress{}, address)}
		if c.config.tls != nil && c.config.tls.ServerName == "" {
			found.ServerName = address // gRPC would ask all of them for the name of the first
		}
		if i >= len(c.addresses) {
			found.Attributes = found.Attributes.WithValue(learnedAddress{}, address)
		}
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{found}})
	}
	return state
}

// addAddresses has the addresses of the cluster's brokers tried too, after those that were given.
func (c *Client) addAddresses(learned []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append([]string(nil), c.addresses...)
	for _, address := range learned {
		if !slices.Contains(all, address) && checkAddresses([]string{address}) == nil {
			all = append(all, address)
		}
	}
	if !slices.Equal(all, c.tried) {
		c.tried = all
		c.resolver.UpdateState(c.resolverState(all))
	}
}

// takeHint learns from the trailers of answers where the broker is that had to be asked.
func (c *Client) takeHint(
	ctx context.Context, method string, request, answer any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	var trailer metadata.MD
	err := invoke(ctx, method, request, answer, conn, append(options, grpc.Trailer(&trailer))...)
	c.brokers.noteHint(trailer)
	return err
}

const (
	// streamWindow is how many bytes of a stream a broker may send before they are read: two
	// batches of the default size, so that the next one is on its way while one is read. What a
	// member of a group is to know, as that a partition is revoked, comes behind them.
	streamWindow = 2 << 20
	// readBuffer is how much is read of a connection at a time: several frames of HTTP/2, which are
	// 16 KiB here.
	readBuffer = 256 << 10
)

// dialOptions are those of every connection.
func (c *Client) dialOptions() []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(c.credentials()),
		grpc.WithUserAgent(c.config.clientID),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:    c.config.keepAlive,
			Timeout: c.config.keepAlive / 2,
		}),
		// A broker that comes back is found soon; gRPC's own default waits for up to two minutes.
		grpc.WithConnectParams(connectParams(c.config.dialTimeout)),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(4 * streamWindow),
		grpc.WithReadBufferSize(readBuffer),
		c.hooks.dialOption(),
		// gRPC would hand the proxy's address on in place of each of ours, and nothing of what says
		// which name to verify there, and whether to ask first who answers.
		grpc.WithNoProxy(),
	}
	if c.config.dialer != nil {
		options = append(options, grpc.WithContextDialer(c.config.dialer))
	}
	return options
}

// credentials are how connections are secured.
func (c *Client) credentials() credentials.TransportCredentials {
	if c.config.tls != nil {
		return credentials.NewTLS(c.config.tls)
	}
	return insecure.NewCredentials()
}

// awaitBroker asks for the cluster, so that a peer that is no broker is found out at once.
func (c *Client) awaitBroker(ctx context.Context) error {
	began := time.Now()
	answer, err := c.admins.GetCluster(ctx, whoAreYou())
	if err == nil {
		c.brokers.learn(answer)
		return nil
	}
	if ctx.Err() == nil && status.Code(err) == codes.Unavailable && time.Since(began) >= tryTimeout {
		return c.awaitBroker(ctx) // an address did not answer: it may be slow
	}
	e := fromRPC("dial", err)
	if e.Reason == "" && e.code == codes.Unavailable {
		e.Reason, e.outcome = ReasonUnreachable, OutcomeNo
		e.Message = "no broker at " + strings.Join(c.addresses, ", ") + ": " + e.Message
	}
	if ctx.Err() != nil {
		e.cause = ctx.Err()
	}
	return e
}

// Close closes the client's producers, which first finish what they were given, consumers and members
// of groups, and then the connection. It takes as long as the longest of their Close. Closing again
// does nothing, but for waiting until all is closed.
func (c *Client) Close() error { return c.Shutdown(context.Background()) }

// Shutdown is Close for who can wait as long as the context only: what is not done then is given up, as
// [Producer.Shutdown] and [GroupConsumer.Shutdown] say, and everything is closed all the same. Where
// another call closes the client already, it waits for that, whatever its context says.
func (c *Client) Shutdown(ctx context.Context) (err error) {
	c.ended.Do(func() { err = c.shutdown(ctx) })
	return err
}

func (c *Client) shutdown(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	children := make([]child, 0, len(c.children))
	for k := range c.children {
		children = append(children, k)
	}
	c.mu.Unlock()
	var all sync.WaitGroup
	errs := make([]error, len(children))
	for i, k := range children {
		all.Go(func() { errs[i] = k.Shutdown(ctx) })
	}
	all.Wait()
	c.mu.Lock()
	c.cancel() // under the lock, so that inBackground starts nothing that Wait does not see
	c.mu.Unlock()
	c.background.Wait()
	c.brokers.close()
	return errors.Join(append(errs, c.conn.Close())...)
}

// adopt registers a child; it fails once the client is closed.
func (c *Client) adopt(k child) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.children[k] = struct{}{}
	return true
}

func (c *Client) disown(k child) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.children, k)
}

// startChild is the call with which a child begins, whose own context ends when it is closed: the
// client may close it meanwhile.
func startChild[T any](ctx, child context.Context, c *Client, op string,
	rpc func(context.Context) (T, error)) (T, error) {
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(child, cancel)()
	answer, err := call(starting, c, op, true, rpc)
	if err != nil && child.Err() != nil && ctx.Err() == nil {
		err = closedError(op, "client")
	}
	return answer, err
}

// inBackground runs a function that Close waits for; it reports false once the client is closed.
func (c *Client) inBackground(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.background.Go(f)
	return true
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// departing reports whether the connection under the open streams is going away: gRPC leaves the
// ready state when a broker says goodbye, while streams on that connection still live for a time.
func (c *Client) departing() bool { return c.conn.GetState() != connectivity.Ready }

// awaitConnection waits until there is a connection; it reports false when the context ended first.
func (c *Client) awaitConnection(ctx context.Context) bool {
	for {
		state := c.conn.GetState()
		if state == connectivity.Ready {
			return true
		}
		c.conn.Connect()
		if state == connectivity.Shutdown || !c.conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}

// call runs one unary call. It repeats what surely had no effect, and for reads whatever may pass,
// until the caller's context or the client's request timeout ends.
func call[T any](ctx context.Context, c *Client, op string, read bool,
	rpc func(context.Context) (T, error)) (T, error) {
	if c.isClosed() {
		var zero T
		return zero, closedError(op, "client")
	}
	return callOfChild(ctx, c, op, read, rpc)
}

// callOfChild is call for what a child of the client does, which closes while the client is closing.
func callOfChild[T any](ctx context.Context, c *Client, op string, read bool,
	rpc func(context.Context) (T, error)) (T, error) {
	var zero T
	limit, cancel := context.WithTimeout(ctx, c.config.requestTimeout)
	defer cancel()
	outcome := OutcomeNo
	for attempt := 1; ; attempt++ {
		// A write that meets no connection could not say whether it was sent: it waits for one.
		if !read && !c.awaitConnection(limit) && ctx.Err() == nil && c.ctx.Err() == nil {
			return zero, newError(op, ReasonUnreachable, codes.Unavailable, OutcomeNo,
				"no broker could be reached within %v", c.config.requestTimeout)
		}
		answer, err := rpc(limit)
		if err == nil {
			return answer, nil
		}
		e := fromRPC(op, err)
		// What an earlier try may have done, the last one does not know of.
		if e.outcome != OutcomeNo {
			outcome = e.outcome
		}
		e.outcome = outcome
		if e.Reason == "" && e.code == codes.DeadlineExceeded {
			awaitDeadline(limit)
		}
		switch {
		case ctx.Err() != nil:
			return zero, contextError(op, ctx, e.outcome)
		case c.ctx.Err() != nil:
			closed := closedError(op, "client")
			closed.outcome = e.outcome // it was under way
			return zero, closed
		case limit.Err() != nil && e.Reason == "":
			return zero, newError(op, ReasonTimedOut, codes.DeadlineExceeded, OutcomeMaybe,
				"no answer within %v: %s", c.config.requestTimeout, e.Message)
		case limit.Err() != nil, !e.Retriable(), !read && e.outcome != OutcomeNo:
			return zero, e
		}
		if !sleep(limit, max(backoff(attempt), e.RetryAfter)) {
			return zero, e
		}
	}
}

// awaitDeadline waits for a deadline that is at hand: the broker knows it too, and its clock may have
// been the first to strike.
func awaitDeadline(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < time.Second {
		<-ctx.Done()
	}
}

// sleep waits, and reports false when the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
