package ropewalk

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc/peer"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// hooks has whom to tell of each event. Where nobody wants to know, nothing is made to tell it.
type hooks struct {
	log *slog.Logger
	// clientID is what the client calls itself.
	clientID string

	connected    []HookBrokerConnected
	disconnected []HookBrokerDisconnected
	unreachable  []HookBrokerUnreachable
	requests     []HookRequestDone
	broken       []HookStreamBroken
	sent         []HookBatchSent
	retried      []HookBatchRetried
	answered     []HookBatchAnswered
	failed       []HookRecordsFailed
	received     []HookBatchReceived
	delivered    []HookRecordsDelivered
	gaps         []HookGapFound
	assigned     []HookGroupAssigned
	revoked      []HookGroupRevoked
	lost         []HookGroupLost
	left         []HookGroupLeft
	commits      []HookCommitDone
}

func newHooks(config *clientConfig) hooks {
	h := hooks{log: config.logger, clientID: config.clientID}
	for _, hook := range config.hooks {
		h.add(hook)
	}
	return h
}

// add reports whether the hook is one.
func (h *hooks) add(hook Hook) bool {
	found := []bool{
		addTo(&h.connected, hook), addTo(&h.disconnected, hook), addTo(&h.unreachable, hook),
		addTo(&h.requests, hook), addTo(&h.broken, hook),
		addTo(&h.sent, hook), addTo(&h.retried, hook), addTo(&h.answered, hook),
		addTo(&h.failed, hook),
		addTo(&h.received, hook), addTo(&h.delivered, hook), addTo(&h.gaps, hook),
		addTo(&h.assigned, hook), addTo(&h.revoked, hook), addTo(&h.lost, hook),
		addTo(&h.left, hook), addTo(&h.commits, hook),
	}
	return slices.Contains(found, true)
}

func addTo[H any](list *[]H, hook Hook) bool {
	typed, ok := hook.(H)
	if ok {
		*list = append(*list, typed)
	}
	return ok
}

func validateHooks(given []Hook) error {
	for i, hook := range given {
		if !new(hooks).add(hook) {
			return invalidError("dial",
				"hook %d, %T, has none of the methods of the Hook interfaces", i, hook)
		}
	}
	return nil
}

// tell calls hooks with an event; one that panics does no harm.
func tell[H, E any](h *hooks, list []H, call func(H, E), event E) {
	for _, hook := range list {
		unharmed(h.log, "a hook", func() { call(hook, event) })
	}
}

func (h *hooks) brokerUnreachable(id uint64, address string, err error) {
	if len(h.unreachable) > 0 {
		tell(h, h.unreachable, HookBrokerUnreachable.OnBrokerUnreachable,
			BrokerUnreachable{Broker: id, Address: address, Err: err})
	}
}

func (h *hooks) streamBroken(event StreamBroken) {
	tell(h, h.broken, HookStreamBroken.OnStreamBroken, event)
}

// info says what is in a batch. Whoever calls it has the batch to himself.
func (b *batch) info() BatchInfo {
	info := BatchInfo{
		TopicPartition: TopicPartition{b.lane.topic, b.lane.partition},
		Records:        len(b.records), Compression: CompressionNone,
		Attempt: b.attempts, Broker: b.broker, Address: b.address,
	}
	for _, record := range b.records {
		info.Bytes += record.size
	}
	info.WireBytes = info.Bytes
	if b.encoded != nil {
		info.WireBytes, info.Compression = b.encoded.data.Len(), b.encoded.compression
	}
	return info
}

func (h *hooks) batchSent(b *batch) {
	if len(h.sent) > 0 {
		tell(h, h.sent, HookBatchSent.OnBatchSent, BatchSent{b.info()})
	}
}

func (h *hooks) batchRetried(b *batch, delay time.Duration, err error) {
	if len(h.retried) > 0 {
		tell(h, h.retried, HookBatchRetried.OnBatchRetried,
			BatchRetried{BatchInfo: b.info(), Delay: delay, Err: err})
	}
}

func (h *hooks) batchAnswered(p *Producer, b *batch, ack Ack, err error) {
	if len(h.answered) == 0 {
		return
	}
	oldest := b.deadline.Add(-p.config.deliveryTimeout)
	event := BatchAnswered{BatchInfo: b.info(), Ack: ack, Duration: time.Since(oldest), Err: err}
	if !b.started.IsZero() {
		event.RoundTrip = time.Since(b.started)
	}
	tell(h, h.answered, HookBatchAnswered.OnBatchAnswered, event)
}

// recordsFailed tells of records that end without a batch.
func (h *hooks) recordsFailed(to TopicPartition, records int, err error) {
	if len(h.failed) > 0 && records > 0 {
		tell(h, h.failed, HookRecordsFailed.OnRecordsFailed,
			RecordsFailed{TopicPartition: to, Records: records, Err: err})
	}
}

// A toldAppend tells of what is appended by itself, as of any other batch; nil where nobody wants to
// know.
type toldAppend struct {
	hooks     *hooks
	info      BatchInfo
	began, at time.Time
}

func (h *hooks) append(to TopicPartition, records, bytes int) *toldAppend {
	if len(h.sent)+len(h.answered) == 0 {
		return nil
	}
	return &toldAppend{hooks: h, began: time.Now(), info: BatchInfo{
		TopicPartition: to, Records: records, Bytes: bytes, WireBytes: bytes,
		Compression: CompressionNone,
	}}
}

func (a *toldAppend) sent() {
	if a == nil {
		return
	}
	a.at = time.Now()
	a.info.Attempt++
	tell(a.hooks, a.hooks.sent, HookBatchSent.OnBatchSent, BatchSent{a.info})
}

func (a *toldAppend) answered(ack Ack, err error, address string) {
	if a == nil {
		return
	}
	a.info.Address = address
	event := BatchAnswered{BatchInfo: a.info, Ack: ack, Duration: time.Since(a.began), Err: err}
	if !a.at.IsZero() {
		event.RoundTrip = time.Since(a.at)
	}
	tell(a.hooks, a.hooks.answered, HookBatchAnswered.OnBatchAnswered, event)
}

// batchReceived tells of a batch that was opened.
func (h *hooks) batchReceived(group string, b *receivedBatch) {
	if len(h.received) == 0 {
		return
	}
	codec := CompressionNone
	if b.isPacked {
		codec = b.codec
	}
	tell(h, h.received, HookBatchReceived.OnBatchReceived, BatchReceived{
		TopicPartition: TopicPartition{b.topic, b.partition}, Group: group,
		BaseOffset: b.base, Records: int(b.count),
		Bytes: b.plain, WireBytes: len(b.data), Compression: codec,
	})
}

func (h *hooks) recordsDelivered(group, address string, records []Record) {
	if len(h.delivered) == 0 || len(records) == 0 {
		return
	}
	first := &records[0]
	tell(h, h.delivered, HookRecordsDelivered.OnRecordsDelivered, RecordsDelivered{
		TopicPartition: TopicPartition{first.Topic, first.Partition}, Group: group,
		Address: address, Records: len(records), Offset: first.Offset,
	})
}

func (h *hooks) gapFound(group string, gap *Gap) {
	tell(h, h.gaps, HookGapFound.OnGapFound, GapFound{Gap: *gap, Group: group})
}

// groupChanged tells of what an assignment changes, or of what was lost with the membership.
func (h *hooks) groupChanged(group, member string, c groupChanges) {
	of := func(positions []Position) GroupChange { return GroupChange{group, member, positions} }
	if len(c.lost) > 0 {
		tell(h, h.lost, HookGroupLost.OnGroupLost, of(c.lost))
	}
	if len(c.fresh) > 0 {
		tell(h, h.assigned, HookGroupAssigned.OnGroupAssigned, of(c.fresh))
	}
	if len(c.revoked) > 0 {
		tell(h, h.revoked, HookGroupRevoked.OnGroupRevoked, of(c.revoked))
	}
}

// groupLeft tells of what a member gives up by leaving.
func (h *hooks) groupLeft(group, member string, held []Position) {
	if len(held) > 0 {
		tell(h, h.left, HookGroupLeft.OnGroupLeft, GroupChange{group, member, held})
	}
}

// commitDone tells of a commit that was begun at some time, and of who answered it.
func (h *hooks) commitDone(
	ctx context.Context, r *pb.CommitOffsetRequest, began time.Time, by *peer.Peer, err error,
) {
	if len(h.commits) == 0 || len(r.GetOffsets()) == 0 {
		return
	}
	event := CommitDone{
		Context: ctx, Group: r.GetGroup(), Member: r.GetMemberId(),
		Address: addressAt(by), Duration: time.Since(began), Err: err,
	}
	for _, o := range r.GetOffsets() {
		event.Offsets = append(event.Offsets, CommittedOffset{
			TopicPartition: TopicPartition{o.GetTopic(), o.GetPartition()},
			Offset:         o.GetOffset(), Metadata: o.GetMetadata(),
		})
	}
	tell(h, h.commits, HookCommitDone.OnCommitDone, event)
}
