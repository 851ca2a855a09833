// Package testserver is an in-memory broker for tests: the three services over a real socket, with
// faults on demand. Several of them make a cluster: they share all that they hold, and differ in what
// they lead. It keeps the contract in what clients of this module rely on; it has no disk, no replicas
// and no retention, and does not know text.
package testserver

import (
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A Fault is what happens to a batch instead of the ordinary.
type Fault struct {
	// Status is the answer. Without one, the batch is answered as always.
	Status *status.Status
	// Append has the batch appended although Status refuses it.
	Append bool
	// End ends the whole stream with Status.
	End bool
	// Cut breaks the connection instead of answering.
	Cut bool
	// Hang gives no answer at all.
	Hang bool
}

// Server is a broker in memory. What is not its own is promoted from the state of its cluster, so that
// a hook that is set on one broker acts on all.
type Server struct {
	*state

	// ConnectionAge is after how long a connection is told to go, 0 for never; set it before Start.
	ConnectionAge time.Duration
	// MaxStreams is how many calls a connection takes at a time, 0 for any number; set it before
	// Start.
	MaxStreams uint32

	id       uint64
	address  string
	grpc     *grpc.Server
	listener *listener
	done     chan struct{}
}

// state is what the brokers of a cluster share.
type state struct {
	// AutoCreate is whether the first use of an unknown topic creates it.
	AutoCreate bool
	// DefaultPartitions is the number of partitions of such a topic.
	DefaultPartitions int32
	// ClusterID tells the cluster from others; set it before a client comes.
	ClusterID string

	mu             sync.Mutex
	topics         map[string]*topic
	groups         map[string]map[place]*pb.CommittedOffset
	changed        chan struct{}
	onProduce      func(*pb.ProduceRequest) *Fault
	onSubscribe    func(*pb.SubscribeRequest) error
	onGetCommitted func() error
	endStreams     error
	subscribes     []*pb.SubscribeRequest
	// names has the id and the newest epoch of each producer's name; given counts ids.
	names   map[string]*pb.InitProducerResponse
	given   uint64
	told    groups
	cluster cluster
}

type place struct {
	topic     string
	partition int32
}

// New starts a broker on a free port of the loopback. It creates topics by their first use.
func New() (*Server, error) { return NewAt("127.0.0.1:0") }

// NewAt is as New, at an address.
func NewAt(address string) (*Server, error) {
	s := newServer(1, newState(), address)
	return s, s.Start()
}

func newState() *state {
	return &state{
		AutoCreate:        true,
		DefaultPartitions: 1,
		ClusterID:         "test-cluster",
		topics:            map[string]*topic{},
		groups:            map[string]map[place]*pb.CommittedOffset{},
		names:             map[string]*pb.InitProducerResponse{},
		changed:           make(chan struct{}),
		told:              groups{members: make(chan *Member, 64)},
		cluster:           newCluster(),
	}
}

func newServer(id uint64, shared *state, address string) *Server {
	return &Server{state: shared, id: id, address: address}
}

// Start starts the broker again after a Stop, at the same address and with what it held.
func (s *Server) Start() error {
	inner, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = inner.Addr().String()
	s.cluster.started(s.id, s.address)
	s.listener = &listener{Listener: inner, conns: map[net.Conn]struct{}{}}
	options := []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: s.ConnectionAge}),
	}
	if s.MaxStreams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(s.MaxStreams))
	}
	s.grpc = grpc.NewServer(options...)
	pb.RegisterProducerServiceServer(s.grpc, &producerService{s: s})
	pb.RegisterConsumerServiceServer(s.grpc, &consumerService{s: s})
	pb.RegisterAdminServiceServer(s.grpc, &adminService{s: s})
	s.done = make(chan struct{})
	go func(g *grpc.Server, l net.Listener, done chan struct{}) {
		defer close(done)
		_ = g.Serve(l) // returns when the server is stopped
	}(s.grpc, s.listener, s.done)
	return nil
}

// Stop breaks all connections and stops listening. The data is kept.
func (s *Server) Stop() {
	s.mu.Lock()
	g, done := s.grpc, s.done
	s.mu.Unlock()
	g.Stop()
	<-done
}

// Address is where the broker listens, HOST:PORT.
func (s *Server) Address() string { return s.address }

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// CutConnections breaks every connection; new ones are accepted.
func (s *Server) CutConnections() {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	l.cut()
}

// OnProduce asks f about every batch before it is appended; nil lets it pass. f runs without the
// server's lock.
func (s *state) OnProduce(f func(*pb.ProduceRequest) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onProduce = f
}

// OnSubscribe asks f about every Subscribe call; an error ends the call.
func (s *state) OnSubscribe(f func(*pb.SubscribeRequest) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onSubscribe = f
}

// OnGetCommittedOffsets asks f about every such call; an error is its answer. f runs without the
// server's lock.
func (s *state) OnGetCommittedOffsets(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onGetCommitted = f
}

// Subscribes returns the Subscribe requests so far.
func (s *state) Subscribes() []*pb.SubscribeRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*pb.SubscribeRequest(nil), s.subscribes...)
}

// EndSubscribes ends all open Subscribe streams with an error; later ones are not touched.
func (s *state) EndSubscribes(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endStreams = err
	s.signal()
}

// signal wakes all streams; the caller holds the lock.
func (s *state) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// listener remembers its connections, so that they can be cut.
type listener struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return &conn{Conn: c, listener: l}, nil
}

func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
	clear(l.conns)
}

type conn struct {
	net.Conn
	listener *listener
}

func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c.Conn)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
