package ropewalk

import (
	"slices"
	"testing"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// A batch from which compaction has taken records names the offset of each that is left.
func TestCompactedBatchKeepsOffsets(t *testing.T) {
	record := func(value string) *pb.Record { return &pb.Record{Value: []byte(value)} }
	batch := &pb.RecordBatch{
		Topic: "t", BaseOffset: 11, RecordCount: 3, Offsets: []int64{11, 14, 19},
		Data: &pb.RecordBatch_Records{Records: &pb.RecordSet{
			Records: []*pb.Record{record("a"), record("b"), record("c")},
		}},
	}
	if received, _ := receivedAs(t, batch, 0); received.end() != 20 {
		t.Errorf("it ends at %d", received.end())
	}
	for _, c := range []struct {
		from int64
		want []int64
	}{
		{0, []int64{11, 14, 19}},
		{12, []int64{14, 19}},
		{15, []int64{19}},
		{20, nil},
	} {
		var got []int64
		_, records := receivedAs(t, batch, c.from)
		for _, r := range records {
			got = append(got, r.Offset)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("from %d: got %v, want %v", c.from, got, c.want)
		}
	}
}
