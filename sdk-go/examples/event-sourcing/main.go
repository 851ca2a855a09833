// Event-sourcing keeps bank accounts as streams of events: what an account has follows from its
// events, and an event is appended only if nobody has appended another one since they were read.
//
//	go run ./examples/event-sourcing account-7
//
// Two tellers pay into the account and take from it at once, and no change is lost. The key of a
// record is the account, so that its events stand in one partition, in order; its version is the
// offset of the last one. The topic keeps all events for ever: an account that lost some of them
// would have another balance. ROPEWALK_SERVER names the broker; default localhost:9092.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	topic    = "accounts"
	payments = 10 // of each teller
	// tries bounds how often others may be faster. Each time one of them has got on.
	tries = 100
)

// event is what has happened to an account. Amounts are in cents.
type event struct {
	what   string // opened, paid-in or taken-out
	amount uint64
}

func (e event) encode() []byte { return fmt.Appendf(nil, "%s %d", e.what, e.amount) }

func decode(value []byte) (e event, err error) {
	_, err = fmt.Sscanf(string(value), "%s %d", &e.what, &e.amount)
	return e, err
}

// account is what its events have made of it.
type account struct {
	id      string
	open    bool
	balance uint64 // in cents
	events  int
	version int64 // the offset of its last event
}

// apply takes what has happened. An event that cannot have happened says that others are missing.
func (a *account) apply(e event, offset int64) error {
	switch {
	case e.what == "opened" && !a.open:
		a.open = true
	case e.what == "paid-in" && a.open && e.amount <= math.MaxUint64-a.balance:
		a.balance += e.amount
	case e.what == "taken-out" && e.amount <= a.balance:
		a.balance -= e.amount
	default:
		return fmt.Errorf("%s has %d: %q at offset %d cannot be", a.id, a.balance, e.encode(), offset)
	}
	a.events++
	a.version = offset
	return nil
}

// A decision says what is to happen to an account by what has happened, and by nothing else.
type decision func(account) (event, error)

func open(a account) (event, error) {
	if a.open {
		return event{}, errors.New("the account is open already")
	}
	return event{what: "opened"}, nil
}

func payIn(amount uint64) decision {
	return func(a account) (event, error) {
		if !a.open {
			return event{}, errors.New("the account is not open")
		}
		if amount > math.MaxUint64-a.balance {
			return event{}, fmt.Errorf("there are %d, and no room for %d", a.balance, amount)
		}
		return event{"paid-in", amount}, nil
	}
}

func takeOut(amount uint64) decision {
	return func(a account) (event, error) {
		if amount > a.balance {
			return event{}, fmt.Errorf("there are %d and not %d", a.balance, amount)
		}
		return event{"taken-out", amount}, nil
	}
}

// accounts keeps accounts in a topic.
type accounts struct {
	client     *ropewalk.Client
	producer   *ropewalk.Producer
	partitions int32
}

// connect creates the topic where it is missing.
func connect(ctx context.Context) (*accounts, error) {
	server := cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")
	client, err := ropewalk.Dial(ctx, []string{server})
	if err != nil {
		return nil, err
	}
	partitions, err := ensureTopic(ctx, client.Admin())
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	producer, err := client.NewProducer()
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &accounts{client, producer, partitions}, nil
}

// ensureTopic returns the number of partitions. It refuses a topic of which events go in time: who
// had them all gone could be opened anew.
func ensureTopic(ctx context.Context, admin *ropewalk.Admin) (int32, error) {
	_, err := admin.CreateTopic(ctx, topic, 4, ropewalk.Retention(ropewalk.KeepForever))
	if err != nil && !errors.Is(err, ropewalk.ReasonTopicExists) {
		return 0, err
	}
	described, _, err := admin.GetTopic(ctx, topic)
	if err != nil {
		return 0, err
	}
	s := described.Settings
	if s.Retention >= 0 || s.RetentionBytes >= 0 || s.RecordTTL > 0 ||
		s.CleanupPolicy != ropewalk.CleanupDelete {
		return 0, fmt.Errorf("topic %s does not keep its records for ever: retention %v, %d bytes, "+
			"time to live %v, cleanup %v", topic, s.Retention, s.RetentionBytes, s.RecordTTL,
			s.CleanupPolicy)
	}
	return described.Partitions, nil
}

func (s *accounts) close() error { return s.client.Close() }

func (s *accounts) partition(id string) int32 {
	return ropewalk.KeyPartition([]byte(id), s.partitions)
}

// load reads the events of an account, from among those of its partition.
func (s *accounts) load(ctx context.Context, id string) (*account, error) {
	a := &account{id: id, version: ropewalk.NoVersion}
	return a, s.readOn(ctx, a)
}

// readOn reads what has happened to an account since its last event that is known. It names the
// offset, also for the first of all: were records gone that it asks for, they would be a gap, which
// is an error.
func (s *accounts) readOn(ctx context.Context, a *account) error {
	events, err := s.client.NewConsumer(ctx,
		ropewalk.WithPartition(topic, s.partition(a.id), ropewalk.StartOffset(a.version+1)),
		ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		return err
	}
	defer events.Close()
	for record, err := range events.Records(ctx) {
		if err != nil {
			return err
		}
		if string(record.Key) != a.id {
			continue
		}
		e, err := decode(record.Value)
		if err != nil {
			return err
		}
		if err := a.apply(e, record.Offset); err != nil {
			return err
		}
	}
	return nil
}

// change decides and appends what was decided. Where somebody was faster, it reads what they did,
// and decides again.
func (s *accounts) change(ctx context.Context, a *account, decide decision) error {
	key := []byte(a.id)
	for try := range tries {
		e, err := decide(*a)
		if err != nil {
			return err
		}
		records := []*ropewalk.Record{{Key: key, Value: e.encode()}}
		ack, err := s.producer.Append(ctx, topic, s.partition(a.id), records,
			ropewalk.IfVersion(key, a.version))
		if err == nil {
			// Nothing has happened to the account in between: that was the condition.
			return a.apply(e, ack.Offset)
		}
		if !errors.Is(err, ropewalk.ReasonExpectedVersionMismatch) {
			return err
		}
		// The decision was made by what is not so any more. Those who collide part by chance.
		select {
		case <-time.After(rand.N(time.Millisecond << min(try, 7))):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.readOn(ctx, a); err != nil {
			return err
		}
	}
	return fmt.Errorf("others were faster %d times", tries)
}

// teller pays 100 into an account and takes 50 from it, again and again.
func teller(ctx context.Context, id string) (err error) {
	s, err := connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	a, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	for range payments {
		if err := s.change(ctx, a, payIn(100)); err != nil {
			return err
		}
		if err := s.change(ctx, a, takeOut(50)); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, id string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	s, err := connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	a, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	if err := s.change(ctx, a, open); err != nil {
		return err
	}
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- teller(ctx, id) }()
	}
	if err := errors.Join(<-ended, <-ended); err != nil {
		return err
	}
	if err := s.readOn(ctx, a); err != nil {
		return err
	}
	fmt.Printf("%s has %d after %d events\n", id, a.balance, a.events)
	return nil
}

func main() {
	id := "account-7"
	if len(os.Args) > 1 {
		id = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, id); err != nil {
		log.Fatal(err)
	}
}
