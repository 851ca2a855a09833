package ropewalk

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

const (
	// noForward is the metadata with which a broker refuses what it would have to forward.
	noForward = "ropewalk-no-forward"
	// leaderTrailer names the broker to ask next time: id, address and epoch.
	leaderTrailer = "ropewalk-leader"
	// anyBroker stands for whichever broker answers; brokers count from 1.
	anyBroker uint64 = 0

	// relearnAfter is how often brokers, and the leaders of a topic, are asked for at most.
	relearnAfter = time.Second
	// A broker that could not be reached is left alone from awayFirst, doubling, up to awayLongest.
	awayFirst   = time.Second
	awayLongest = 30 * time.Second
	// idleAfter is when a connection to a leader that nobody uses is closed.
	idleAfter = time.Minute
	// maxBrokerConns bounds the connections to leaders; what others lead is forwarded.
	maxBrokerConns = 64
)

// brokers is what a client knows of the brokers of its cluster: where each is, and the connections
// to those that lead something it writes or reads. While a broker cannot be reached from here, its
// calls go through another one, which forwards them.
type brokers struct {
	client *Client

	mu      sync.Mutex
	cluster string
	known   map[uint64]*broker
	// count is how many there are, also those that have not told where they are.
	count     int
	conns     int
	refreshed time.Time
	// wait is how long what is known is believed; it doubles with each answer that tells nothing new.
	wait   time.Duration
	asking bool
	closed bool
	// ended are connections that unlock closes.
	ended []clientConn
	// again asks for the brokers when what is known of them is old, or not whole.
	again *time.Timer
}

// A broker is one broker of the cluster.
type broker struct {
	address   string
	failures  int
	awayUntil time.Time
	conn      *brokerConn
}

// A brokerConn is a connection to one broker, and further ones where its streams need them. Its
// fields are guarded by the lock of brokers, but for those that are set before it is shared.
type brokerConn struct {
	id        uint64
	address   string
	conn      clientConn
	producers pb.ProducerServiceClient
	consumers pb.ConsumerServiceClient
	up        bool
	users     int
	retired   bool
	used      time.Time
}

func (b *brokers) init(c *Client) { b.client, b.known = c, map[uint64]*broker{} }

// learn takes what GetCluster tells.
func (b *brokers) learn(answer *pb.GetClusterResponse) {
	b.mu.Lock()
	b.cluster, b.refreshed = answer.GetClusterId(), time.Now()
	isNew := b.count != len(answer.GetBrokers())
	b.count = len(answer.GetBrokers())
	listed := map[uint64]bool{}
	addresses := make([]string, 0, len(answer.GetBrokers()))
	for _, found := range answer.GetBrokers() {
		id, address := found.GetBrokerId(), found.GetAddress()
		listed[id] = true
		addresses = append(addresses, address)
		isNew = !b.noteLocked(id, address) || isNew
	}
	for id, k := range b.known {
		if !listed[id] {
			b.retireLocked(k)
			delete(b.known, id)
		}
	}
	if b.wait *= 2; isNew || b.count == 0 {
		b.wait = relearnAfter
	}
	b.askAgainLocked()
	b.unlock()
	b.client.addAddresses(addresses)
}

// askAgainLocked has the brokers asked for in a while: some may come, go or move. It is soon where the
// last answer told something new: in a cluster that was just formed, each of them says where it is in
// its own time.
func (b *brokers) askAgainLocked() {
	b.wait = max(min(b.wait, b.client.config.metadataAge), relearnAfter)
	if b.again != nil {
		b.again.Stop()
	}
	if !b.closed {
		b.again = time.AfterFunc(b.wait, b.refresh)
	}
}

// note takes where a broker is, from its own hint or another's.
func (b *brokers) note(id uint64, address string) {
	b.mu.Lock()
	defer b.unlock()
	b.noteLocked(id, address)
}

// noteLocked reports whether the broker was known to be there.
func (b *brokers) noteLocked(id uint64, address string) (known bool) {
	if id == anyBroker || checkAddresses([]string{address}) != nil {
		return false
	}
	k := b.known[id]
	if k != nil && k.address == address {
		return true
	}
	if k != nil {
		b.retireLocked(k) // it has moved
	}
	b.known[id] = &broker{address: address}
	return false
}

// noteHint takes the broker that an answer's trailers name.
func (b *brokers) noteHint(trailer metadata.MD) {
	for _, hint := range trailer.Get(leaderTrailer) {
		parts := strings.Split(hint, " ")
		if len(parts) < 2 {
			continue
		}
		if id, err := strconv.ParseUint(parts[0], 10, 64); err == nil {
			b.note(id, parts[1])
		}
	}
}

// refresh asks for the brokers in the background, unless that was done a moment ago.
func (b *brokers) refresh() {
	b.mu.Lock()
	defer b.unlock()
	if b.asking || time.Since(b.refreshed) < relearnAfter {
		return
	}
	b.asking = b.client.inBackground(func() {
		answer, err := call(b.client.ctx, b.client, "get cluster", true,
			func(ctx context.Context) (*pb.GetClusterResponse, error) {
				return b.client.admins.GetCluster(ctx, whoAreYou())
			})
		if err == nil {
			b.learn(answer)
		}
		b.mu.Lock()
		defer b.unlock()
		if b.asking = false; err != nil {
			b.askAgainLocked()
		}
	})
}

// use returns a connection to a broker, which the caller releases; nil when there is none: one is then
// being made, if the broker is known, was not found away a moment ago, and is not the only one.
func (b *brokers) use(id uint64) *brokerConn {
	if id == anyBroker {
		return nil
	}
	b.mu.Lock()
	k := b.known[id]
	if k == nil {
		b.unlock()
		b.refresh()
		return nil
	}
	defer b.unlock()
	conn := k.conn
	if conn != nil && conn.up && conn.conn.GetState() != connectivity.Ready {
		// It is going away, or lost: its streams still tell what became of what was sent.
		b.retireLocked(k)
		conn = nil
	}
	if conn == nil {
		b.connectLocked(id, k)
		return nil
	}
	if !conn.up {
		return nil
	}
	conn.users++
	return conn
}

// release gives back what use returned.
func (b *brokers) release(conn *brokerConn) {
	b.mu.Lock()
	defer b.unlock()
	conn.users--
	conn.used = time.Now()
	b.endLocked(conn)
	if conn.users == 0 && !conn.retired && !b.closed {
		time.AfterFunc(idleAfter, func() {
			b.client.inBackground(func() { b.closeIdle(conn) })
		})
	}
}

func (b *brokers) closeIdle(conn *brokerConn) {
	b.mu.Lock()
	defer b.unlock()
	k := b.known[conn.id]
	if k != nil && k.conn == conn && conn.users == 0 && time.Since(conn.used) >= idleAfter {
		b.retireLocked(k)
	}
}

// failed leaves a broker alone for a while, and asks whether it is somewhere else by now: nobody says
// so unasked.
func (b *brokers) failed(id uint64) {
	b.mu.Lock()
	if k := b.known[id]; k != nil {
		if time.Now().After(k.awayUntil) { // streams that break together are one failure
			k.failures++
			k.awayUntil = time.Now().Add(min(awayFirst<<min(k.failures-1, 10), awayLongest))
		}
		b.retireLocked(k)
	}
	b.unlock()
	b.refresh()
}

// haveChoice reports whether there is more than one broker.
func (b *brokers) haveChoice() bool {
	b.mu.Lock()
	defer b.unlock()
	return b.count > 1
}

// worked forgets that a broker could not be reached.
func (b *brokers) worked(id uint64) {
	b.mu.Lock()
	defer b.unlock()
	if k := b.known[id]; k != nil {
		k.failures = 0
	}
}

// retireLocked lets go of a broker's connection, which is closed with its last user.
func (b *brokers) retireLocked(k *broker) {
	if k.conn == nil {
		return
	}
	k.conn.retired = true
	b.endLocked(k.conn)
	k.conn = nil
}

func (b *brokers) endLocked(conn *brokerConn) {
	if conn.retired && conn.users == 0 && conn.conn != nil {
		b.ended = append(b.ended, conn.conn)
		conn.conn = nil
		b.conns--
	}
}

// unlock gives the lock back, and only then closes the connections that have ended: hooks are told
// of that at once.
func (b *brokers) unlock() {
	ended := b.ended
	b.ended = nil
	b.mu.Unlock()
	for _, conn := range ended {
		_ = conn.Close() // a second close is the only thing that can fail
	}
}

func (b *brokers) connectLocked(id uint64, k *broker) {
	if b.closed || len(b.known) < 2 || b.conns >= maxBrokerConns || time.Now().Before(k.awayUntil) {
		return
	}
	inner, err := newConnSet(b.client, func(limit *callLimit) (clientConn, error) {
		options := append(b.client.dialOptions(),
			grpc.WithTransportCredentials(limit.heardBy(b.client.credentials())))
		return grpc.NewClient("passthrough:///"+k.address, options...)
	})
	if err != nil {
		return
	}
	conn := &brokerConn{
		id: id, address: k.address, conn: inner, used: time.Now(), users: 1,
		producers: pb.NewProducerServiceClient(inner), consumers: pb.NewConsumerServiceClient(inner),
	}
	k.conn = conn
	b.conns++
	started := b.client.inBackground(func() {
		err := b.greet(b.client.ctx, inner)
		if err != nil && b.client.ctx.Err() == nil {
			b.client.log.Info("ropewalk: a broker cannot be reached, others forward to it",
				"broker", id, "address", k.address, "error", err)
			b.client.hooks.brokerUnreachable(id, k.address, err)
			b.failed(id)
		}
		b.mu.Lock()
		conn.up = err == nil
		b.unlock()
		b.release(conn)
	})
	if !started {
		conn.users = 0
		b.retireLocked(k)
	}
}

// close closes what nobody uses, and the rest with its last user.
func (b *brokers) close() {
	b.mu.Lock()
	defer b.unlock()
	b.closed = true
	if b.again != nil {
		b.again.Stop()
	}
	for _, k := range b.known {
		b.retireLocked(k)
	}
}

// leads reads from a refusal which broker leads instead.
func (b *brokers) leads(e *Error) (id uint64, epoch int64) {
	id, _ = strconv.ParseUint(e.Metadata["leader_id"], 10, 64)      // 0 where it says nothing
	epoch, _ = strconv.ParseInt(e.Metadata["leader_epoch"], 10, 64) // 0 likewise
	b.note(id, e.Metadata["leader_address"])
	return id, epoch
}

// isAboutLeaders reports whether an error says that what is known of a partition's leader is wrong, or
// may be.
func isAboutLeaders(e *Error) bool {
	switch e.Reason {
	case ReasonNotLeader, ReasonNoLeader, ReasonLeaderChanged, ReasonNoQuorum, ReasonBrokerDraining,
		ReasonDisconnected, ReasonUnreachable:
		return true
	}
	return e.Reason == "" && e.code == codes.Unavailable
}
