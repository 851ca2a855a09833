package testserver

import (
	"regexp"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// cursor is one partition of a stream.
type cursor struct {
	topic     *topic
	number    int32
	partition *partition
	next      int64
	end       int64
	hasEnd    bool
	caughtUp  bool
}

func (c *cursor) finished() bool { return c.hasEnd && c.next >= c.end }

func (c *cursor) position() *pb.PartitionPosition {
	return &pb.PartitionPosition{
		Topic:          c.topic.info.Name,
		TopicId:        c.topic.info.TopicId,
		Partition:      c.number,
		Offset:         c.next,
		HighWatermark:  c.partition.next(),
		LogStartOffset: c.partition.start,
	}
}

// Subscribe streams records.
func (c *consumerService) Subscribe(
	r *pb.SubscribeRequest, stream pb.ConsumerService_SubscribeServer,
) error {
	s := c.s
	if r.GetGroup() != "" {
		return s.join(r, stream)
	}
	s.mu.Lock()
	hook := s.onSubscribe
	s.subscribes = append(s.subscribes, r)
	s.cluster.readers = append(s.cluster.readers, s.id)
	s.endStreams = nil
	s.mu.Unlock()
	if hook != nil {
		if err := hook(r); err != nil {
			return err
		}
	}
	sub := &subscription{s: s, r: r, all: map[string]bool{}}
	s.mu.Lock()
	err := sub.start()
	started := sub.started(sub.cursors)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := stream.Send(started); err != nil {
		return err
	}
	return sub.follow(stream)
}

type subscription struct {
	s       *Server
	r       *pb.SubscribeRequest
	cursors []*cursor
	// all names the topics that are read as a whole.
	all map[string]bool
}

// start resolves the request; the caller holds the server's lock.
func (u *subscription) start() error {
	if len(u.r.GetTopics()) == 0 {
		return invalid("topics")
	}
	for _, selection := range u.r.GetTopics() {
		if pattern := selection.GetPattern(); pattern != "" {
			if err := u.match(pattern); err != nil {
				return err
			}
			continue
		}
		if selection.GetName() == "" || u.r.GetText() {
			return invalid("topics")
		}
		t, err := u.s.use(selection.GetName())
		if err != nil {
			return err
		}
		for _, p := range selection.GetPartitions() {
			start := p.GetStart()
			if start == nil {
				start = u.r.GetDefaultStart()
			}
			if err := u.add(t, p.GetPartition(), start); err != nil {
				return err
			}
		}
		if len(selection.GetPartitions()) == 0 {
			u.all[selection.GetName()] = true
			for i := range t.partitions {
				if err := u.add(t, int32(i), u.r.GetDefaultStart()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// match has the partitions read that topics of a pattern have beside those that are named. They join
// at once, from their beginning; topics that come later do not.
func (u *subscription) match(pattern string) error {
	whole, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return invalid("topics")
	}
	for name := range u.s.topics {
		if whole.MatchString(name) {
			u.all[name] = true
		}
	}
	return nil
}

func (u *subscription) add(t *topic, number int32, start *pb.Start) error {
	p, err := t.find(number)
	if err != nil {
		return err
	}
	c := &cursor{topic: t, number: number, partition: p}
	if c.next, err = u.resolve(c, start); err != nil {
		return err
	}
	switch end := u.r.GetStop().GetEnd().(type) {
	case *pb.Stop_CaughtUp:
		c.end, c.hasEnd = p.next(), true
	case *pb.Stop_Offset:
		c.end, c.hasEnd = end.Offset, true
	case *pb.Stop_Timestamp:
		c.end, _ = t.atTime(p, end.Timestamp.AsTime())
		c.hasEnd = true
	}
	u.cursors = append(u.cursors, c)
	return nil
}

func (u *subscription) resolve(c *cursor, start *pb.Start) (int64, error) {
	p := c.partition
	switch at := start.GetPosition().(type) {
	case *pb.Start_Latest:
		return p.next(), nil
	case *pb.Start_Offset:
		if at.Offset < 0 || at.Offset > p.next() {
			return 0, Status(codes.OutOfRange, "OFFSET_OUT_OF_RANGE",
				"earliest", strconv.FormatInt(p.start, 10), "latest", strconv.FormatInt(p.next(), 10)).Err()
		}
		return at.Offset, nil
	case *pb.Start_Timestamp:
		offset, _ := c.topic.atTime(p, at.Timestamp.AsTime())
		return offset, nil
	case *pb.Start_Committed:
		if o := u.s.groups[at.Committed.GetGroup()][place{c.topic.info.Name, c.number}]; o != nil {
			return o.GetOffset(), nil
		}
		if at.Committed.GetLatest() != nil {
			return p.next(), nil
		}
	}
	return p.start, nil
}

func (u *subscription) started(cursors []*cursor) *pb.SubscribeResponse {
	started := &pb.Started{}
	for _, c := range cursors {
		started.Positions = append(started.Positions, c.position())
	}
	return &pb.SubscribeResponse{Event: &pb.SubscribeResponse_Started{Started: started}}
}

// follow sends what there is, and waits for more.
func (u *subscription) follow(stream pb.ConsumerService_SubscribeServer) error {
	interval := 5 * time.Second
	if d := u.r.GetHeartbeatInterval(); d != nil {
		interval = d.AsDuration()
	}
	heartbeat := time.NewTicker(interval)
	defer heartbeat.Stop()
	for {
		u.s.mu.Lock()
		events, done, err := u.collect()
		changed := u.s.changed
		u.s.mu.Unlock()
		for _, event := range events {
			if err := stream.Send(event); err != nil {
				return err
			}
		}
		if err != nil || done {
			return err
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-heartbeat.C:
			if err := stream.Send(u.heartbeat()); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

func (u *subscription) heartbeat() *pb.SubscribeResponse {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	beat := &pb.Heartbeat{}
	for _, c := range u.cursors {
		beat.Positions = append(beat.Positions, c.position())
	}
	return &pb.SubscribeResponse{Event: &pb.SubscribeResponse_Heartbeat{Heartbeat: beat}}
}

// collect takes what each partition has now; the caller holds the server's lock.
func (u *subscription) collect() (events []*pb.SubscribeResponse, done bool, err error) {
	if u.s.endStreams != nil {
		return nil, true, u.s.endStreams
	}
	var joined []*cursor
	for name := range u.all {
		t := u.s.topics[name]
		for number := 0; t != nil && number < len(t.partitions); number++ {
			if !u.reads(name, int32(number)) {
				c := &cursor{topic: t, number: int32(number), partition: t.partitions[number]}
				u.cursors, joined = append(u.cursors, c), append(joined, c)
			}
		}
	}
	if len(joined) > 0 {
		events = append(events, u.started(joined))
	}
	done = true
	for _, c := range u.cursors {
		if u.s.topics[c.topic.info.Name] != c.topic {
			return events, true, notFound("TOPIC_NOT_FOUND", c.topic.info.Name)
		}
		if event := c.take(int(u.r.GetMaxBatchBytes())); event != nil {
			events = append(events, event)
		}
		done = done && c.finished()
	}
	return events, done, nil
}

func (u *subscription) reads(name string, number int32) bool {
	return slices.ContainsFunc(u.cursors, func(c *cursor) bool {
		return c.topic.info.Name == name && c.number == number
	})
}

// take is the next event of a partition, or nil.
func (c *cursor) take(limit int) *pb.SubscribeResponse {
	p, name := c.partition, c.topic.info.Name
	if c.next < p.start {
		gap := &pb.Gap{Topic: name, Partition: c.number, FromOffset: c.next, ToOffset: p.start,
			Reason: pb.Gap_REASON_DELETED}
		c.next = p.start
		return &pb.SubscribeResponse{Event: &pb.SubscribeResponse_Gap{Gap: gap}}
	}
	end := p.next()
	if c.hasEnd {
		end = min(end, c.end)
	}
	if c.next >= end {
		if c.caughtUp || c.next < p.next() {
			return nil
		}
		c.caughtUp = true
		return &pb.SubscribeResponse{Event: &pb.SubscribeResponse_CaughtUp{
			CaughtUp: &pb.CaughtUp{Topic: name, Partition: c.number, Offset: c.next}}}
	}
	if limit == 0 {
		limit = 1 << 20
	}
	set := &pb.RecordSet{}
	first, bytes := p.at(c.next), 0
	base := c.next
	for ; c.next < end; c.next++ {
		e := p.at(c.next)
		// Records of one append share its time, so one batch holds those of one append only.
		if bytes += proto.Size(e.record); len(set.Records) > 0 && (bytes > limit || e.appended != first.appended) {
			break
		}
		set.Records = append(set.Records, e.record)
	}
	return &pb.SubscribeResponse{Event: &pb.SubscribeResponse_Batch{
		Batch: &pb.RecordBatch{
			Topic:         name,
			Partition:     c.number,
			BaseOffset:    base,
			RecordCount:   int32(len(set.Records)),
			LeaderEpoch:   p.epoch,
			AppendTime:    timestamppb.New(first.appended),
			TimestampType: c.topic.info.Settings.TimestampType,
			Compression:   pb.Compression_COMPRESSION_NONE,
			Data:          &pb.RecordBatch_Records{Records: set},
		}}}
}
