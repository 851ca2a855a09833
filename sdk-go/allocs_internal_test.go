package ropewalk

import (
	"context"
	"testing"
)

// producedAtMost is how many allocations a record that is sent may cost, over all that a batch
// costs.
const producedAtMost = 2

// A record costs few allocations: here the producer is alone, over a connection that is none. What
// is counted includes the answers, as a broker would have sent them.
func TestProducerAllocatesLittle(t *testing.T) {
	record := &Record{Topic: "t", Key: []byte("key"), Value: make([]byte, 1000)}
	for name, test := range map[string]struct {
		options []ProducerOption
		record  *Record
		most    float64
	}{
		"batches":       {[]ProducerOption{WithBatching(Batching{Records: 200})}, record, 0.3},
		"as they come":  {nil, record, producedAtMost},
		"with headers":  {nil, &Record{Topic: "t", Headers: []Header{{"a", nil}}}, producedAtMost},
		"not numbered":  {[]ProducerOption{WithoutIdempotence()}, record, producedAtMost},
		"compressed":    {[]ProducerOption{WithCompression(CompressionLZ4)}, record, producedAtMost},
		"compressed by": {[]ProducerOption{WithCompression(CompressionZstd)}, record, producedAtMost},
	} {
		t.Run(name, func(t *testing.T) {
			producer, err := newFakeClient(t, &fakeConn{quick: true}).NewProducer(test.options...)
			if err != nil {
				t.Fatal(err)
			}
			const count = 5_000
			done := func(_ *Record, _ Ack, err error) {
				if err != nil {
					t.Error(err)
				}
			}
			send := func() {
				for range count {
					if err := producer.SendAsync(context.Background(), test.record, done); err != nil {
						t.Fatal(err)
					}
				}
				if err := producer.Flush(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			send() // what is made once
			allocated := testing.AllocsPerRun(5, send) / count
			t.Logf("%.3f allocations a record", allocated)
			if allocated > test.most {
				t.Errorf("a record costs %.3f allocations, not %.1f", allocated, test.most)
			}
		})
	}
}
