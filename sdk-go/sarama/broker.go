package sarama

import (
	"context"
	"crypto/tls"
	"sync"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Broker is a broker of the cluster. Those of a [Client] share its connections; one made with
// [NewBroker] has a connection of its own from Open to Close.
//
// The requests of Kafka's protocol have no counterpart here: [Client] and [ClusterAdmin] do what
// programs send them for.
type Broker struct {
	id   int32
	addr string
	rack string
	// view is that of the client whose broker it is; nil for one made with NewBroker.
	view *view

	mu     sync.Mutex
	opened bool
	// dialed is closed when the connection was made or has failed.
	dialed chan struct{}
	core   *ropewalk.Client
	err    error
}

// NewBroker returns a broker at an address, HOST:PORT. It connects with Open.
func NewBroker(addr string) *Broker { return &Broker{id: -1, addr: addr} }

// Open connects in the background, with the defaults when conf is nil; Connected waits for it. It
// fails with ErrAlreadyConnected, or a ConfigurationError.
func (b *Broker) Open(conf *Config) error {
	conf, err := orDefault(conf)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened {
		return ErrAlreadyConnected
	}
	b.opened, b.err = true, nil
	if b.view != nil {
		return nil
	}
	once := *conf
	once.Metadata.Retry.Max = 0 // it is this broker that is asked for, now
	dialed := make(chan struct{})
	b.dialed = dialed
	go withRecover(func() {
		core, err := connect([]string{b.addr}, &once)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.core, b.err = core, err; err != nil {
			Logger.Printf("no connection to broker %s: %v\n", b.addr, err)
			b.opened = false
		}
		close(dialed)
	})
	return nil
}

// use opens a broker that a client hands out for use.
func (b *Broker) use(conf *Config) *Broker {
	_ = b.Open(conf) // it is open already, or shares the client's connections
	return b
}

// settled waits for a connection that is being made, and locks.
func (b *Broker) settled() {
	b.mu.Lock()
	dialed := b.dialed
	b.mu.Unlock()
	if dialed != nil {
		<-dialed
	}
	b.mu.Lock()
}

// Connected reports whether the broker is open and can be reached, and why the last Open failed. A
// client's broker can be reached when the cluster says so, at most a second ago.
func (b *Broker) Connected() (bool, error) {
	b.settled()
	opened, view, err := b.opened, b.view, b.err
	b.mu.Unlock()
	if view == nil || !opened {
		return opened, err
	}
	ctx, cancel := metadataContext(context.Background(), view.conf)
	defer cancel()
	if _, err := view.cluster(ctx, fresh); err != nil {
		return false, err
	}
	return view.isAlive(b.id), nil
}

// Close ends the broker's own connection; one of a client only counts as closed. It returns
// ErrNotConnected when it was not open.
func (b *Broker) Close() error {
	b.settled()
	defer b.mu.Unlock()
	if b.err = nil; !b.opened {
		return ErrNotConnected
	}
	core := b.core
	b.opened, b.core, b.dialed = false, nil, nil
	if core == nil {
		return nil
	}
	return mapError(core.Close())
}

// ID returns the broker's id, -1 for one made with NewBroker.
func (b *Broker) ID() int32 { return b.id }

// Addr returns its address, HOST:PORT.
func (b *Broker) Addr() string { return b.addr }

// Rack returns the rack or zone that it stands in; empty when it has none, or is not known.
func (b *Broker) Rack() string { return b.rack }

// ResponseSize returns 0: answers do not queue at a broker here.
func (b *Broker) ResponseSize() int { return 0 }

// TLSConnectionState returns false: connections are shared and come and go, so that there is no
// state of one to tell.
func (b *Broker) TLSConnectionState() (state tls.ConnectionState, ok bool) { return state, false }
