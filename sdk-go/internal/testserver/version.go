package testserver

import (
	"bytes"
	"strconv"

	"google.golang.org/grpc/codes"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
)

// checkVersion says whether the version that a batch of so many records expects of a key, if it does, is
// the one that the key has. A batch that is there already has met its condition. The caller holds the
// lock.
func (p *partition) checkVersion(r *pb.ProduceRequest, records int) error {
	want := r.GetExpectedVersion()
	if want == nil || p.has(r.GetSequence(), uint32(records)) {
		return nil
	}
	key := want.GetKey()
	if _, ok := want.GetKeyForm().(*pb.ExpectedVersion_KeyText); ok {
		key = []byte(want.GetKeyText())
	}
	for i := len(p.records) - 1; i >= 0; i-- {
		if record := p.records[i].record; record.Key == nil || !bytes.Equal(record.Key, key) {
			continue
		}
		current := p.start + int64(i)
		if want.Version != nil && want.GetVersion() == current {
			return nil
		}
		return Status(codes.Aborted, "EXPECTED_VERSION_MISMATCH", "current", strconv.FormatInt(current, 10)).Err()
	}
	if want.Version == nil {
		return nil
	}
	return Status(codes.Aborted, "EXPECTED_VERSION_MISMATCH").Err()
}
