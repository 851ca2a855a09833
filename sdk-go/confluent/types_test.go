package kafka

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"
)

func TestOffsets(t *testing.T) {
	for text, want := range map[string]Offset{
		"beginning": OffsetBeginning, "earliest": OffsetBeginning, "end": OffsetEnd,
		"latest": OffsetEnd, "unset": OffsetInvalid, "invalid": OffsetInvalid,
		"stored": OffsetStored, "17": 17,
	} {
		var o Offset
		if err := o.Set(text); err != nil || o != want {
			t.Errorf("%s is %v, %v", text, o, err)
		}
	}
	for _, bad := range []any{"soon", 1.5} {
		if _, err := NewOffset(bad); err == nil {
			t.Errorf("%v is an offset", bad)
		}
	}
	for offset, want := range map[Offset]string{
		OffsetBeginning: "beginning", OffsetEnd: "end", OffsetInvalid: "unset",
		OffsetStored: "stored", 5: "5", OffsetTail(5): "-2005",
	} {
		if offset.String() != want {
			t.Errorf("%d is %s, not %s", int64(offset), offset, want)
		}
	}
}

func TestTexts(t *testing.T) {
	topic, at := "t", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tp := TopicPartition{Topic: &topic, Partition: 2, Offset: 7}
	failed := TopicPartition{Error: NewError(ErrQueueFull, "", false)}
	for got, want := range map[fmt.Stringer]string{
		tp:                               "t[2]@7",
		failed:                           "<null>[0]@0(Local: Queue full)",
		&Message{TopicPartition: tp}:     "t[2]@7",
		PartitionEOF(tp):                 "EOF at t[2]@7",
		Node{ID: 1, Host: "h", Port: 2}:  "[h:2]/1",
		TimestampLogAppendTime:           "LogAppendTime",
		ErrorCode(-555):                  "Err--555?",
		ErrTopicAlreadyExists:            "Broker: Topic already exists",
		NewError(ErrFail, "so", true):    "Fatal error: so",
		LogEvent{"n", "T", "m", 4, at}:   "[2026-01-02T03:04:05Z][n][T][4]m",
		TopicResult{"t", Error{code: 1}}: "t (Broker: Offset out of range)",
		ConsumerGroupStateEmpty:          "Empty",
		ConfigSourceGroup:                "GROUP_CONFIG",
		uuidOf("00112233-4455-6677-8899-aabbccddeeff"): "ABEiM0RVZneImaq7zN3u_w",
	} {
		if got.String() != want {
			t.Errorf("%T is %q, not %q", got, got, want)
		}
	}
	for _, test := range []struct {
		value []byte
		want  string
	}{
		{nil, "k=nil"}, {[]byte{}, "k=<empty>"}, {[]byte("v\n"), `k="v\n"`},
		{[]byte(strings.Repeat("x", 66)), `k="` + strings.Repeat("x", 50) + `"(16 more bytes)`},
	} {
		if got := (Header{"k", test.value}).String(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for code, number := range map[ErrorCode]int{
		ErrBadMsg: -199, ErrQueueFull: -184, ErrTimedOut: -185, ErrMsgTimedOut: -192, ErrState: -172,
		ErrNoOffset: -168, ErrUnknown: -1, ErrNoError: 0, ErrUnknownTopicOrPart: 3,
		ErrTopicAlreadyExists: 36, ErrRebootstrapRequired: 129,
	} {
		if int(code) != number {
			t.Errorf("%v is %d, not %d", code, int(code), number)
		}
	}
	if len(errorTexts) != 171 {
		t.Errorf("there are %d codes", len(errorTexts))
	}
	if !NewError(ErrTimedOutQueue, "", false).IsTimeout() || NewError(ErrFail, "", false).IsTimeout() {
		t.Error("IsTimeout is wrong")
	}
	err := toError(context.DeadlineExceeded)
	if !errors.Is(err, Error{code: ErrTimedOut}) || toError(nil) != nil {
		t.Error(err)
	}
}

func TestTopicPartitionsAreSorted(t *testing.T) {
	a, b := "a", "b"
	list := TopicPartitions{{Topic: &b}, {Topic: &a, Partition: 2}, {Topic: &a}}
	sort.Sort(list)
	if fmt.Sprint(list) != "[a[0]@0 a[2]@0 b[0]@0]" {
		t.Error(list)
	}
}
