package kafka

import (
	"context"
	"errors"
	"sync/atomic"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// An AdminClient manages topics, settings, groups and their offsets. Its calls return one result
// for each thing that was asked for, in that order, with an Error of its own; the error of the
// call itself says that nothing could be asked for. It is safe for use by many goroutines.
type AdminClient struct {
	*handle
	// derived: the connection is a producer's or a consumer's, which closes it.
	derived bool
	over    atomic.Bool
}

// NewAdminClient makes an administrator of the settings. It does not wait for a broker.
func NewAdminClient(conf *ConfigMap) (*AdminClient, error) {
	h, err := open(conf, forAdmin, nil)
	if err != nil {
		return nil, err
	}
	return &AdminClient{handle: h}, nil
}

// NewAdminClientFromProducer makes an administrator that uses a producer's connection, as long as
// the producer is open.
func NewAdminClientFromProducer(p *Producer) (*AdminClient, error) {
	if p == nil || p.handle == nil {
		return nil, errorf(ErrInvalidArg, "Can't create AdminClient from uninitialized producer")
	}
	return derivedFrom(p.handle)
}

// NewAdminClientFromConsumer makes an administrator that uses a consumer's connection, as long as
// the consumer is open.
func NewAdminClientFromConsumer(c *Consumer) (*AdminClient, error) {
	if c == nil || c.handle == nil {
		return nil, errorf(ErrInvalidArg, "Can't create AdminClient from uninitialized consumer")
	}
	return derivedFrom(c.handle)
}

func derivedFrom(h *handle) (*AdminClient, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	return &AdminClient{handle: h, derived: true}, nil
}

// Close ends the administrator. Closing again does nothing.
func (a *AdminClient) Close() {
	if !a.over.CompareAndSwap(false, true) || a.derived {
		return
	}
	a.closed.Store(true)
	if err := a.shut(); err != nil {
		a.log.Warn("the client was not closed in order", "error", err)
	}
}

// IsClosed reports whether Close has been called, of it or of what it is derived from.
func (a *AdminClient) IsClosed() bool { return a.over.Load() || a.handle.IsClosed() }

// String names the administrator.
func (a *AdminClient) String() string { return "admin-" + a.name }

// beginWith begins a call with its options.
func beginWith[T AdminOption](ctx context.Context, a *AdminClient, options []T) (
	context.Context, *ropewalk.Admin, context.CancelFunc, error,
) {
	o, err := optionsOf(options)
	if err != nil {
		return nil, nil, nil, err
	}
	return a.begin(ctx, o)
}

// begin is how each call begins: with the core's administrator, and a context that ends with the
// client too.
func (a *AdminClient) begin(
	ctx context.Context, options adminOptions,
) (context.Context, *ropewalk.Admin, context.CancelFunc, error) {
	if a.IsClosed() {
		return nil, nil, nil, closedError()
	}
	if ctx == nil {
		ctx = context.Background()
	}
	limit := a.s.requestTimeout
	if options.request > 0 {
		limit = options.request
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	unbind := context.AfterFunc(a.ctx, cancel)
	end := func() { unbind(); cancel() }
	admin, err := a.admin(ctx)
	if err != nil {
		end()
		if ctx.Err() != nil && errors.Is(err, Error{code: ErrTransport}) {
			err = errorf(ErrTimedOut, "%v", err)
		}
		return nil, nil, nil, err
	}
	return ctx, admin, end, nil
}

// ClusterID returns the cluster's id.
func (a *AdminClient) ClusterID(ctx context.Context) (string, error) {
	cluster, err := a.cluster(ctx, adminOptions{})
	if err != nil {
		return "", err
	}
	return cluster.ID, nil
}

// ControllerID returns the broker that leads the cluster's metadata; -1 while none does.
func (a *AdminClient) ControllerID(ctx context.Context) (int32, error) {
	cluster, err := a.cluster(ctx, adminOptions{})
	if err != nil {
		return -1, err
	}
	if cluster.Controller == 0 {
		return -1, nil
	}
	return brokerID(cluster.Controller), nil
}

func (a *AdminClient) cluster(ctx context.Context, o adminOptions) (*ropewalk.Cluster, error) {
	ctx, admin, end, err := a.begin(ctx, o)
	if err != nil {
		return nil, err
	}
	defer end()
	cluster, err := admin.GetCluster(ctx)
	if err != nil {
		return nil, asError(err)
	}
	return cluster, nil
}

// DescribeClusterResult describes a cluster.
type DescribeClusterResult struct {
	// ClusterID is its id.
	ClusterID *string
	// Controller is the broker that leads its metadata; nil while none does.
	Controller *Node
	// Nodes are its brokers.
	Nodes []Node
	// AuthorizedOperations is nil always: there is no authorization.
	AuthorizedOperations []ACLOperation
}

// DescribeCluster describes the cluster.
func (a *AdminClient) DescribeCluster(
	ctx context.Context, options ...DescribeClusterAdminOption,
) (DescribeClusterResult, error) {
	o, err := optionsOf(options)
	if err != nil {
		return DescribeClusterResult{}, err
	}
	cluster, err := a.cluster(ctx, o)
	if err != nil {
		return DescribeClusterResult{}, err
	}
	result := DescribeClusterResult{ClusterID: &cluster.ID}
	for _, b := range cluster.Brokers {
		node := nodeOf(b)
		result.Nodes = append(result.Nodes, node)
		if b.ID == cluster.Controller {
			result.Controller = &node
		}
	}
	return result, nil
}

// GetMetadata describes the cluster: its brokers, and one topic or all. Below 0 ms it waits as
// long as socket.timeout.ms.
func (a *AdminClient) GetMetadata(
	topic *string, allTopics bool, timeoutMs int,
) (*Metadata, error) {
	if a.IsClosed() {
		return nil, closedError()
	}
	return a.getMetadata(topic, allTopics, timeoutMs, func() []string { return nil })
}

// An ACLOperation is what a principal may do. There is no authorization; the type is that of fields
// which are always nil.
type ACLOperation int

// What a principal may do, with librdkafka's numbers.
const (
	ACLOperationUnknown         ACLOperation = 0
	ACLOperationAny             ACLOperation = 1
	ACLOperationAll             ACLOperation = 2
	ACLOperationRead            ACLOperation = 3
	ACLOperationWrite           ACLOperation = 4
	ACLOperationCreate          ACLOperation = 5
	ACLOperationDelete          ACLOperation = 6
	ACLOperationAlter           ACLOperation = 7
	ACLOperationDescribe        ACLOperation = 8
	ACLOperationClusterAction   ACLOperation = 9
	ACLOperationDescribeConfigs ACLOperation = 10
	ACLOperationAlterConfigs    ACLOperation = 11
	// ACLOperationIdempotentWrite: write as an idempotent producer.
	ACLOperationIdempotentWrite ACLOperation = 12
)

// String returns the operation's name in capitals.
func (o ACLOperation) String() string {
	names := []string{"UNKNOWN", "ANY", "ALL", "READ", "WRITE", "CREATE", "DELETE", "ALTER",
		"DESCRIBE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE"}
	if o < 0 || int(o) >= len(names) {
		return "UNSUPPORTED"
	}
	return names[o]
}
