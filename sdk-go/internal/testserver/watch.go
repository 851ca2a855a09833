package testserver

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// WatchTopics tells which topics there are, and how they change. EndSubscribes ends it too.
func (a *adminService) WatchTopics(
	r *pb.WatchTopicsRequest, stream pb.AdminService_WatchTopicsServer,
) error {
	s := a.s
	s.mu.Lock()
	s.endStreams = nil
	told := s.matching(r.GetNamePrefix())
	changed := s.changed
	s.mu.Unlock()
	var events []*pb.WatchTopicsResponse
	for _, name := range slices.Sorted(maps.Keys(told)) {
		events = append(events, &pb.WatchTopicsResponse{
			Event: &pb.WatchTopicsResponse_Present{Present: told[name]}})
	}
	events = append(events, &pb.WatchTopicsResponse{Event: &pb.WatchTopicsResponse_Synced{
		Synced: &pb.TopicsSynced{TopicCount: int32(len(told))}}})
	for {
		for _, event := range events {
			if err := stream.Send(event); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
		s.mu.Lock()
		now, end := s.matching(r.GetNamePrefix()), s.endStreams
		changed = s.changed
		s.mu.Unlock()
		if end != nil {
			return end
		}
		events, told = changes(told, now), now
	}
}

// matching copies the topics whose name begins with prefix; the caller holds the lock.
func (s *state) matching(prefix string) map[string]*pb.Topic {
	found := map[string]*pb.Topic{}
	for name, t := range s.topics {
		if strings.HasPrefix(name, prefix) {
			found[name] = snapshot(t)
		}
	}
	return found
}

func changes(before, now map[string]*pb.Topic) []*pb.WatchTopicsResponse {
	var events []*pb.WatchTopicsResponse
	tell := func(event *pb.WatchTopicsResponse) { events = append(events, event) }
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if t := now[name]; t == nil || t.GetTopicId() != before[name].GetTopicId() {
			tell(&pb.WatchTopicsResponse{Event: &pb.WatchTopicsResponse_Deleted{Deleted: before[name]}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		switch was := before[name]; {
		case was == nil || was.GetTopicId() != now[name].GetTopicId():
			tell(&pb.WatchTopicsResponse{Event: &pb.WatchTopicsResponse_Created{Created: now[name]}})
		case !proto.Equal(was, now[name]):
			tell(&pb.WatchTopicsResponse{Event: &pb.WatchTopicsResponse_Changed{Changed: now[name]}})
		}
	}
	return events
}
