// Event-sourcing keeps bank accounts as streams of events: what an account has follows from its events,
// and an event is appended only if nobody has appended another one since they were read.
//
//	go run ./examples/event-sourcing account-7
//
// Two tellers pay into the account and take from it at once, and no change is lost. The key of a record
// is the account, so that its events stand in one partition, in order; its version is the offset of the
// last one. ROPEWALK_SERVER names the broker; default localhost:9092.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

const (
	topic    = "accounts"
	payments = 10 // of each teller
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
	open    bool
	balance uint64 // in cents
	events  int
	version int64 // the offset of its last event
}

func (a *account) apply(e event, offset int64) error {
	switch e.what {
	case "opened":
		a.open = true
	case "paid-in":
		a.balance += e.amount
	case "taken-out":
		a.balance -= e.amount
	default:
		return fmt.Errorf("%q is no event of an account", e.what)
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
	client, err := ropewalk.Dial(ctx, []string{cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")})
	if err != nil {
		return nil, err
	}
	_, err = client.Admin().CreateTopic(ctx, topic, 4)
	if err != nil && !errors.Is(err, ropewalk.ReasonTopicExists) {
		return nil, errors.Join(err, client.Close())
	}
	described, _, err := client.Admin().GetTopic(ctx, topic)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	producer, err := client.NewProducer()
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &accounts{client, producer, described.Partitions}, nil
}

func (s *accounts) close() { _ = s.client.Close() }

func (s *accounts) partition(id string) int32 { return ropewalk.KeyPartition([]byte(id), s.partitions) }

// load reads the events of an account, from among those of its partition. A program with many accounts
// keeps them in memory, and reads on from where it was.
func (s *accounts) load(ctx context.Context, id string) (account, error) {
	a := account{version: ropewalk.NoVersion}
	events, err := s.client.NewConsumer(ctx,
		ropewalk.WithPartition(topic, s.partition(id), ropewalk.StartEarliest()),
		ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		return a, err
	}
	defer events.Close()
	for record, err := range events.Records(ctx) {
		if err != nil {
			return a, err
		}
		if string(record.Key) != id {
			continue
		}
		e, err := decode(record.Value)
		if err != nil {
			return a, err
		}
		if err := a.apply(e, record.Offset); err != nil {
			return a, err
		}
	}
	return a, nil
}

// change loads an account, decides, and appends what was decided, again and again until nobody was
// faster.
func (s *accounts) change(ctx context.Context, id string, decide decision) error {
	for {
		a, err := s.load(ctx, id)
		if err != nil {
			return err
		}
		e, err := decide(a)
		if err != nil {
			return err
		}
		key := []byte(id)
		records := []*ropewalk.Record{{Key: key, Value: e.encode()}}
		_, err = s.producer.Append(ctx, topic, s.partition(id), records, ropewalk.IfVersion(key, a.version))
		if !errors.Is(err, ropewalk.ReasonExpectedVersionMismatch) {
			return err
		}
		// The decision was made by what is not so any more.
	}
}

// teller pays 100 into an account and takes 50 from it, again and again.
func teller(ctx context.Context, id string) error {
	s, err := connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	for range payments {
		if err := s.change(ctx, id, payIn(100)); err != nil {
			return err
		}
		if err := s.change(ctx, id, takeOut(50)); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, id string) error {
	s, err := connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.change(ctx, id, open); err != nil {
		return err
	}
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- teller(ctx, id) }()
	}
	if err := errors.Join(<-ended, <-ended); err != nil {
		return err
	}
	a, err := s.load(ctx, id)
	if err != nil {
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
	if err := run(context.Background(), id); err != nil {
		log.Fatal(err)
	}
}
