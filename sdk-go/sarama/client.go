package sarama

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Client is the way to a cluster, to be shared by producers, consumers and administrators. It is
// safe for use by many goroutines. It must be closed, after what uses it.
//
// What it was told of topics and brokers it tells at once. Where that is more than a second old, it
// asks anew meanwhile, so that the next answer is newer; only what it has not been told yet is
// waited for, and the methods that begin with Refresh. So it answers while no broker does. Every
// broker takes every request, so that no program needs a Broker to send one to.
type Client interface {
	// Config returns the client's settings, which must not be changed.
	Config() *Config
	// Controller returns the broker that leads the cluster's metadata, or
	// ErrControllerNotAvailable while none does.
	Controller() (*Broker, error)
	// RefreshController is Controller, asked anew.
	RefreshController() (*Broker, error)
	// Brokers returns the brokers of the cluster, in no order.
	Brokers() []*Broker
	// Broker returns a broker by its id, or ErrBrokerNotFound.
	Broker(brokerID int32) (*Broker, error)
	// Topics returns the names of all topics; with Metadata.Full off, of those asked for so far.
	Topics() ([]string, error)
	// Partitions returns the ids of a topic's partitions, sorted. A topic that does not exist is
	// created where the broker and Metadata.AllowAutoTopicCreation allow that; else the error is
	// ErrUnknownTopicOrPartition.
	Partitions(topic string) ([]int32, error)
	// WritablePartitions is Partitions without those that have no leader.
	WritablePartitions(topic string) ([]int32, error)
	// Leader returns the broker that leads a partition, or ErrLeaderNotAvailable while none does.
	Leader(topic string, partitionID int32) (*Broker, error)
	// LeaderAndEpoch is Leader, with the leader's epoch; -1 beside an error.
	LeaderAndEpoch(topic string, partitionID int32) (*Broker, int32, error)
	// Replicas returns the ids of the brokers that are to hold a replica, the preferred leader
	// first.
	Replicas(topic string, partitionID int32) ([]int32, error)
	// InSyncReplicas returns those whose replica keeps up with the leader; none while no leader
	// answers.
	InSyncReplicas(topic string, partitionID int32) ([]int32, error)
	// OfflineReplicas returns those that cannot be reached.
	OfflineReplicas(topic string, partitionID int32) ([]int32, error)
	// RefreshBrokers replaces the addresses that the client was given. It is not supported: the
	// client follows the cluster by itself. It returns ErrUnsupportedVersion.
	RefreshBrokers(addrs []string) error
	// RefreshMetadata asks for topics anew, for all of them when none is named. It creates topics
	// as Partitions does. Producers that share the client go by it from then on.
	RefreshMetadata(topics ...string) error
	// GetOffset returns the offset of the first record whose time in milliseconds is time or later,
	// -1 when there is none; or of OffsetOldest or OffsetNewest.
	GetOffset(topic string, partitionID int32, time int64) (int64, error)
	// Coordinator returns a broker for a consumer group. Every broker serves every group here: it
	// is the controller, or any that can be reached.
	Coordinator(consumerGroup string) (*Broker, error)
	// RefreshCoordinator asks for the brokers anew.
	RefreshCoordinator(consumerGroup string) error
	// TransactionCoordinator returns ErrUnsupportedVersion: there are no transactions.
	TransactionCoordinator(transactionID string) (*Broker, error)
	// RefreshTransactionCoordinator returns ErrUnsupportedVersion.
	RefreshTransactionCoordinator(transactionID string) error
	// InitProducerID returns ErrUnsupportedVersion: a producer gets its id by itself.
	InitProducerID() (*InitProducerIDResponse, error)
	// LeastLoadedBroker returns any broker that can be reached; nil when there is none.
	LeastLoadedBroker() *Broker
	// PartitionNotReadable reports whether a partition is unknown or has no leader.
	PartitionNotReadable(topic string, partition int32) bool
	// Close ends the client, and what still uses it. A second time it returns ErrClosedClient.
	Close() error
	// Closed reports whether the client was closed.
	Closed() bool
}

// InitProducerIDResponse is the id of an idempotent producer. No call gives one.
type InitProducerIDResponse struct {
	// ThrottleTime is how long the broker asks to wait.
	ThrottleTime time.Duration
	// Err says whether it worked.
	Err KError
	// Version is that of the message.
	Version int16
	// ProducerID and ProducerEpoch tell the producer from others.
	ProducerID    int64
	ProducerEpoch int16
}

type client struct {
	conf *Config
	core *ropewalk.Client
	view *view

	mu     sync.Mutex
	closed bool
	// users are the producers, consumers and administrators that share the client.
	users int
}

// NewClient connects to a cluster. The addresses, each HOST:PORT, are tried in order; one that can
// be reached is enough. A nil config stands for the defaults.
func NewClient(addrs []string, conf *Config) (Client, error) {
	conf, err := orDefault(conf)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, ConfigurationError("at least one broker address must be given")
	}
	core, err := connect(addrs, conf)
	if err != nil {
		return nil, err
	}
	return &client{conf: conf, core: core, view: newView(core, conf)}, nil
}

// coreOf returns the core client behind c, for what is made from a Client. A Client of this package
// is shared; any other, such as a program's wrapper, is connected anew to the brokers that it
// names, with its settings. The caller calls release once, when it needs the core no more.
func coreOf(c Client) (core *ropewalk.Client, release func() error, err error) {
	if c.Closed() {
		return nil, nil, ErrClosedClient
	}
	if own, ok := c.(*client); ok {
		return own.share()
	}
	var addrs []string
	for _, broker := range c.Brokers() {
		addrs = append(addrs, broker.Addr())
	}
	conf, err := orDefault(c.Config())
	if err != nil {
		return nil, nil, err
	}
	if core, err = connect(addrs, conf); err != nil {
		return nil, nil, err
	}
	return core, func() error { return mapError(core.Close()) }, nil
}

func (c *client) share() (*ropewalk.Client, func() error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, ErrClosedClient
	}
	c.users++
	var once sync.Once
	release := func() error {
		once.Do(func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.users--
		})
		return nil
	}
	return c.core, release, nil
}

func (c *client) Config() *Config { return c.conf }

func (c *client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		Logger.Println("the client is closed a second time")
		return ErrClosedClient
	}
	c.closed = true
	users := c.users
	c.mu.Unlock()
	if users > 0 {
		Logger.Printf("the client is closed, and with it %d that still use it\n", users)
	}
	c.view.close()
	return mapError(c.core.Close())
}

func (c *client) Closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *client) open() error {
	if c.Closed() {
		return ErrClosedClient
	}
	return nil
}

// context bounds one question for metadata.
func (c *client) context() (context.Context, context.CancelFunc) {
	return metadataContext(context.Background(), c.conf)
}

func (c *client) Controller() (*Broker, error) { return c.controller(fresh) }

func (c *client) RefreshController() (*Broker, error) { return c.controller(0) }

func (c *client) controller(age time.Duration) (*Broker, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	cluster, err := c.view.cluster(ctx, age)
	if err != nil {
		return nil, err
	}
	broker := c.view.broker(cluster.controller)
	if broker == nil {
		return nil, ErrControllerNotAvailable
	}
	return broker.use(c.conf), nil
}

func (c *client) Brokers() []*Broker {
	if c.Closed() {
		return nil
	}
	ctx, cancel := c.context()
	defer cancel()
	cluster, err := c.view.cluster(ctx, fresh)
	if err != nil {
		Logger.Printf("the brokers are not known: %v\n", err)
		return nil
	}
	return slices.Clone(cluster.brokers)
}

func (c *client) Broker(brokerID int32) (*Broker, error) {
	for _, broker := range c.Brokers() {
		if broker.ID() == brokerID {
			return broker.use(c.conf), nil
		}
	}
	return nil, ErrBrokerNotFound
}

func (c *client) LeastLoadedBroker() *Broker {
	brokers := c.Brokers()
	for _, broker := range brokers {
		if c.view.isAlive(broker.ID()) {
			return broker.use(c.conf)
		}
	}
	return nil
}

func (c *client) Coordinator(string) (*Broker, error) {
	broker, err := c.Controller()
	if err == nil || errors.Is(err, ErrClosedClient) {
		return broker, err
	}
	if broker = c.LeastLoadedBroker(); broker == nil {
		return nil, ErrConsumerCoordinatorNotAvailable
	}
	return broker, nil
}

func (c *client) RefreshCoordinator(string) error {
	if err := c.open(); err != nil {
		return err
	}
	ctx, cancel := c.context()
	defer cancel()
	_, err := c.view.cluster(ctx, 0)
	return err
}

func (c *client) TransactionCoordinator(string) (*Broker, error) {
	return nil, ErrUnsupportedVersion
}

func (c *client) RefreshTransactionCoordinator(string) error { return ErrUnsupportedVersion }

func (c *client) InitProducerID() (*InitProducerIDResponse, error) {
	return nil, ErrUnsupportedVersion
}

func (c *client) RefreshBrokers([]string) error { return ErrUnsupportedVersion }

// viewOf returns what a Client of this package knows; nil for any other.
func viewOf(c Client) *view {
	if own, ok := c.(*client); ok {
		return own.view
	}
	return nil
}
