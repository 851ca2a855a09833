package ropewalk

import "testing"

// The producer alone: over a connection that is none, which encodes what it is given.
func BenchmarkSendAsyncAlone1KB(b *testing.B) {
	client := newFakeClient(b, &fakeConn{quick: true})
	producer, err := client.NewProducer()
	if err != nil {
		b.Fatal(err)
	}
	record := &Record{Topic: "t", Value: make([]byte, 1000)}
	b.SetBytes(int64(len(record.Value)))
	b.ReportAllocs()
	used := CPUTime()
	for b.Loop() {
		if err := producer.SendAsync(b.Context(), record, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(CPUTime()-used)/float64(b.N), "cpu-ns/op")
}
