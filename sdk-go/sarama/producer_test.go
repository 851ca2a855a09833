package sarama_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/ropewalk/ropewalk/sdk-go/gen/ropewalk/v1"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// batches has a server keep what it is sent.
type batches struct {
	mu   sync.Mutex
	list []*pb.ProduceRequest
}

func watchBatches(server *testserver.Server) *batches {
	b := &batches{}
	server.OnProduce(func(r *pb.ProduceRequest) *testserver.Fault {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.list = append(b.list, r)
		return nil
	})
	return b
}

// sizes returns how many records each batch had so far.
func (b *batches) sizes() (sizes []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.list {
		sizes = append(sizes, len(r.GetRecords().GetRecords()))
	}
	return sizes
}

// What an acknowledgement means is the durability of the core. The offset is a true one in any
// case.
func TestRequiredAcks(t *testing.T) {
	for acks, want := range map[sarama.RequiredAcks]pb.Durability{
		sarama.NoResponse:   pb.Durability_DURABILITY_NONE,
		sarama.WaitForLocal: pb.Durability_DURABILITY_LEADER,
		sarama.WaitForAll:   pb.Durability_DURABILITY_QUORUM,
	} {
		server := newServer(t)
		sent := watchBatches(server)
		config := testConfig()
		config.Producer.RequiredAcks = acks
		producer := newProducer(t, []string{server.Address()}, config)
		for want := range int64(2) {
			if _, offset, err := producer.SendMessage(text("t", "x")); err != nil || offset != want {
				t.Errorf("%d: offset %d, %v", acks, offset, err)
			}
		}
		if got := sent.list[0].GetDurability(); got != want {
			t.Errorf("%d: the durability is %v", acks, got)
		}
	}
}

// Messages wait until there are enough of them.
func TestFlushMessages(t *testing.T) {
	server := newServer(t)
	sent := watchBatches(server)
	config := testConfig()
	config.Producer.Flush.Messages = 10
	config.Producer.Flush.Frequency = time.Hour
	producer := newAsyncProducer(t, []string{server.Address()}, config)
	for range 2 {
		for range 10 {
			send(t, producer, text("t", "x"))
		}
		if all := collect(t, producer, 10); len(all.errors) > 0 {
			t.Fatal(all.errors[0])
		}
	}
	if sizes := sent.sizes(); !slices.Equal(sizes, []int{10, 10}) {
		t.Errorf("batches of %v", sizes)
	}
	// What waits is sent at the end.
	send(t, producer, text("t", "x"))
	closing(t, producer)
	if values, err := server.Values("t", 0); err != nil || len(values) != 21 {
		t.Errorf("%d values, %v", len(values), err)
	}
}

// Messages wait until they have enough bytes.
func TestFlushBytes(t *testing.T) {
	server := newServer(t)
	sent := watchBatches(server)
	config := testConfig()
	config.Producer.Flush.Bytes = 100 << 10
	config.Producer.Flush.Frequency = time.Hour
	producer := newAsyncProducer(t, []string{server.Address()}, config)
	for range 10 {
		send(t, producer, &sarama.ProducerMessage{
			Topic: "t", Value: sarama.ByteEncoder(make([]byte, 10<<10)),
		})
	}
	collect(t, producer, 10)
	if sizes := sent.sizes(); sizes[0] != 10 {
		t.Errorf("batches of %v", sizes)
	}
}

// Messages wait for as long as the frequency, and no longer.
func TestFlushFrequency(t *testing.T) {
	server := newServer(t)
	config := testConfig()
	config.Producer.Flush.Messages = 3
	config.Producer.Flush.Frequency = 300 * time.Millisecond
	producer := newAsyncProducer(t, []string{server.Address()}, config)
	for range 2 {
		began := time.Now()
		send(t, producer, text("t", "alone"))
		// Without a frequency it would wait for others for longer than it is waited for.
		if all := collect(t, producer, 1); len(all.errors) > 0 {
			t.Fatal(all.errors[0])
		}
		if waited := time.Since(began); waited < config.Producer.Flush.Frequency {
			t.Errorf("it has waited for %v only", waited)
		}
	}
}

// Batches have no more messages than MaxMessages.
func TestFlushMaxMessages(t *testing.T) {
	server := newServer(t)
	sent := watchBatches(server)
	config := testConfig()
	config.Producer.Flush.Messages = 3
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Producer.Flush.MaxMessages = 3
	producer := newProducer(t, []string{server.Address()}, config)
	var many []*sarama.ProducerMessage
	for range 100 {
		many = append(many, text("t", "x"))
	}
	if err := producer.SendMessages(many); err != nil {
		t.Fatal(err)
	}
	if sizes := sent.sizes(); slices.Max(sizes) > 3 {
		t.Errorf("batches of %v", sizes)
	}
}

// Key, value and headers arrive as they were, absent and empty too.
func TestMessagesArriveAsTheyWere(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		producer := newProducer(t, addrs, testConfig())
		made := time.UnixMilli(1_700_000_000_123)
		for _, m := range []*sarama.ProducerMessage{
			{Topic: "t", Timestamp: made},
			{Topic: "t", Key: sarama.StringEncoder(""), Value: sarama.ByteEncoder{}},
			{Topic: "t", Key: sarama.ByteEncoder(nil), Value: sarama.StringEncoder("v"),
				Headers: []sarama.RecordHeader{
					{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("a")}, {Value: []byte("2")},
				}},
		} {
			if _, _, err := producer.SendMessage(m); err != nil {
				t.Fatal(err)
			}
		}
		partition := consume(t, newConsumer(t, addrs, testConfig()), "t", 0, sarama.OffsetOldest)
		var got []*sarama.ConsumerMessage
		for _, value := range []string{"", "", "v"} {
			got = append(got, receive(t, partition, value))
		}
		if m := got[0]; m.Key != nil || m.Value != nil || !m.Timestamp.Equal(made) {
			t.Errorf("got %+v", m)
		}
		if m := got[1]; m.Key == nil || m.Value == nil {
			t.Errorf("got %+v", m)
		}
		if m := got[2]; m.Key != nil || len(m.Headers) != 3 || string(m.Headers[1].Key) != "a" ||
			len(m.Headers[1].Value) > 0 || string(m.Headers[2].Value) != "2" {
			t.Errorf("got %+v", m)
		}
	})
}

// turns takes the partitions in turn. What it says of consistency is the topic's name.
type turns struct {
	topic string
	next  int32
}

func (p *turns) Partition(_ *sarama.ProducerMessage, partitions int32) (int32, error) {
	if p.topic == "broken" {
		return 0, errEncoder
	}
	p.next++
	return (p.next - 1) % partitions, nil
}

func (p *turns) RequiresConsistency() bool { return p.topic == "consistent" }

// keyed is turns that wants consistency of messages with a key.
type keyed struct{ *turns }

func (keyed) MessageRequiresConsistency(m *sarama.ProducerMessage) bool { return m.Key != nil }

// A partitioner that wants consistency chooses from all partitions, another one from those that
// have a leader.
func TestPartitionersAndPartitionsWithoutALeader(t *testing.T) {
	server := newServer(t)
	server.DefaultPartitions = 4
	addrs := []string{server.Address()}
	config := testConfig()
	config.Producer.Retry.Max = 0
	for _, topic := range []string{"any", "consistent", "keyed"} {
		if _, _, err := newProducer(t, addrs, config).SendMessage(text(topic, "x")); err != nil {
			t.Fatal(err)
		}
		if err := server.Lead(topic, 2, 0); err != nil {
			t.Fatal(err)
		}
	}
	config.Producer.Partitioner = func(topic string) sarama.Partitioner {
		if topic == "keyed" {
			return keyed{&turns{topic: topic}}
		}
		return &turns{topic: topic}
	}
	producer := newProducer(t, addrs, config)
	places := func(topic string, key sarama.Encoder) (got []int32) {
		for range 8 {
			m := &sarama.ProducerMessage{Topic: topic, Key: key}
			_, _, err := producer.SendMessage(m)
			if err != nil && (err != sarama.ErrLeaderNotAvailable || m.Partition != 2) {
				t.Fatal(err)
			}
			got = append(got, m.Partition)
		}
		return got
	}
	some, all := []int32{0, 1, 3, 0, 1, 3, 0, 1}, []int32{0, 1, 2, 3, 0, 1, 2, 3}
	if got := places("any", nil); !slices.Equal(got, some) {
		t.Errorf("any: %v", got)
	}
	if got := places("consistent", nil); !slices.Equal(got, all) {
		t.Errorf("consistent: %v", got)
	}
	if got := places("keyed", nil); !slices.Equal(got, some) {
		t.Errorf("without a key: %v", got)
	}
	if got := places("keyed", sarama.StringEncoder("k")); !slices.Equal(got, all) {
		t.Errorf("with a key: %v", got)
	}
	if err := server.Lead("any", 2, 1); err != nil {
		t.Fatal(err)
	}
	await(t, "a leader that is there again", func() bool {
		return slices.Contains(places("any", nil), 2)
	})
}

// A partitioner's error is that of the message, as it is, and so is a partition that there is not.
func TestPartitionersThatFail(t *testing.T) {
	config := testConfig()
	config.Producer.Partitioner = func(topic string) sarama.Partitioner {
		if topic == "broken" {
			return &turns{topic: topic}
		}
		return sarama.NewManualPartitioner(topic)
	}
	producer := newProducer(t, []string{newServer(t).Address()}, config)
	if _, _, err := producer.SendMessage(text("broken", "x")); err != errEncoder {
		t.Errorf("got %v", err)
	}
	for _, partition := range []int32{-1, 1} {
		m := text("t", "x")
		m.Partition = partition
		if _, _, err := producer.SendMessage(m); err != sarama.ErrInvalidPartition {
			t.Errorf("partition %d: %v", partition, err)
		}
	}
}

// intercepted adds its name to the value. It counts what it sees without a lock, as programs do.
type intercepted struct {
	name string
	seen int
}

func (i *intercepted) OnSend(m *sarama.ProducerMessage) {
	i.seen++
	if i.name == "panics" {
		panic("an interceptor panicked")
	}
	value, _ := m.Value.Encode()
	m.Value = sarama.StringEncoder(string(value) + i.name)
}

// Interceptors see each message before it is placed, one after the other, and once though it is
// sent again; one that panics harms nothing.
func TestProducerInterceptors(t *testing.T) {
	log := logTo(t)
	server := newServer(t)
	first, last := &intercepted{name: "a"}, &intercepted{name: "b"}
	bad := &intercepted{name: "panics"}
	config := testConfig()
	config.Producer.Interceptors = []sarama.ProducerInterceptor{first, bad, last}
	producer := newProducer(t, []string{server.Address()}, config)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, _, err := producer.SendMessage(text("t", "")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	async := newAsyncProducer(t, []string{server.Address()}, config)
	send(t, async, text("t", ""))
	collect(t, async, 1)
	values, err := server.Values("t", 0)
	values = slices.DeleteFunc(values, func(v string) bool { return v != "ab" })
	if err != nil || len(values) != 21 {
		t.Errorf("got %v, %v", values, err)
	}
	if first.seen != 21 || last.seen != 21 {
		t.Errorf("seen %d and %d times", first.seen, last.seen)
	}
	panicked := func(line string) bool { return strings.Contains(line, "an interceptor panicked") }
	if n := log.count(panicked); n != 21 {
		t.Errorf("%d panics were logged", n)
	}
}

// A message counts as sarama counts it.
func TestMaxMessageBytes(t *testing.T) {
	m := &sarama.ProducerMessage{
		Topic: "t", Key: sarama.StringEncoder("key"), Value: sarama.StringEncoder("value"),
		Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("v")}},
	}
	if old, size := m.ByteSize(1), m.ByteSize(2); old != 26+8 || size != 36+8+12 {
		t.Errorf("sizes %d and %d", old, size)
	}
	config := testConfig()
	config.Producer.MaxMessageBytes = m.ByteSize(2) - 1
	addrs := []string{newServer(t).Address()}
	_, _, err := newProducer(t, addrs, config).SendMessage(m)
	want := sarama.ConfigurationError(
		"Attempt to produce message larger than configured Producer.MaxMessageBytes: 56 > 55")
	if err != want {
		t.Errorf("got %v", err)
	}
	config.Producer.MaxMessageBytes++
	if _, _, err := newProducer(t, addrs, config).SendMessage(m); err != nil {
		t.Error(err)
	}
	// The topic has a limit too.
	config.Producer.MaxMessageBytes = 3 << 20
	m.Value = sarama.ByteEncoder(make([]byte, 2<<20))
	_, _, err = newProducer(t, addrs, config).SendMessage(m)
	if err != sarama.ErrMessageSizeTooLarge {
		t.Errorf("got %v", err)
	}
}

// There are no transactions, and no producer has any.
func TestProducersHaveNoTransactions(t *testing.T) {
	addrs := []string{newServer(t).Address()}
	type transactional interface {
		IsTransactional() bool
		TxnStatus() sarama.ProducerTxnStatusFlag
		BeginTxn() error
		CommitTxn() error
		AbortTxn() error
		AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata, string) error
		AddMessageToTxn(*sarama.ConsumerMessage, string, *string) error
	}
	for _, p := range []transactional{
		newProducer(t, addrs, testConfig()), newAsyncProducer(t, addrs, testConfig()),
	} {
		if p.IsTransactional() || p.TxnStatus() != sarama.ProducerTxnFlagUninitialized {
			t.Errorf("the state is %v", p.TxnStatus())
		}
		for _, err := range []error{
			p.BeginTxn(), p.CommitTxn(), p.AbortTxn(), p.AddOffsetsToTxn(nil, "g"),
			p.AddMessageToTxn(&sarama.ConsumerMessage{}, "g", nil),
		} {
			if !errors.Is(err, sarama.ErrNonTransactedProducer) {
				t.Errorf("got %v", err)
			}
		}
	}
	state := sarama.ProducerTxnFlagReady | sarama.ProducerTxnFlagInError
	if got := state.String(); got != "ProducerTxnStateReady|ProducerTxnStateInError" {
		t.Errorf("got %s", got)
	}
	config := testConfig()
	config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	config.Producer.Transaction.ID = "mine"
	var refused sarama.ConfigurationError
	if _, err := sarama.NewSyncProducer(addrs, config); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

// Timestamps come back as consumers see them.
func TestTimestampsAreWrittenBack(t *testing.T) {
	eachBroker(t, func(t *testing.T, addrs []string) {
		createTopic(t, addrs, "appended")
		producer := newProducer(t, addrs, testConfig())
		consumer := newConsumer(t, addrs, testConfig())
		made := time.UnixMilli(1_700_000_000_123)
		for _, topic := range []string{"t", "appended"} {
			for i, given := range []time.Time{{}, made} {
				m := text(topic, fmt.Sprint(i))
				m.Timestamp = given
				if _, _, err := producer.SendMessage(m); err != nil {
					t.Fatal(err)
				}
				partition := consume(t, consumer, topic, 0, int64(i))
				read := receive(t, partition, fmt.Sprint(i))
				closing(t, partition)
				if !m.Timestamp.Equal(read.Timestamp) {
					t.Errorf("%s %d: %v was written back, %v is read",
						topic, i, m.Timestamp, read.Timestamp)
				}
			}
		}
	})
}
