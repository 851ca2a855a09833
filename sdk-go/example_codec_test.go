package ropewalk_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// Values of a program's own type, over a topic and back. One that is something else does not end
// the loop.
func ExampleValues() {
	ctx, client, stop := exampleClient()
	defer stop()
	type payment struct {
		From  string `json:"from"`
		Cents int    `json:"cents"`
	}
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	payments := ropewalk.NewTypedProducer(producer, "payments", ropewalk.JSON[payment]{})
	if _, err := payments.Send(ctx, []byte("ann"), payment{"ann", 1200}); err != nil {
		log.Fatal(err)
	}
	fill(ctx, client, "payments", "not JSON")

	consumer, err := client.NewConsumer(ctx,
		ropewalk.WithTopics("payments"), ropewalk.WithStop(ropewalk.StopCaughtUp()))
	if err != nil {
		log.Fatal(err)
	}
	for paid, err := range ropewalk.Values(consumer.Records(ctx), ropewalk.JSON[payment]{}) {
		if errors.Is(err, ropewalk.ReasonUndecodable) {
			fmt.Printf("left out: %s\n", paid.Record.Value)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(paid.Value.From, paid.Value.Cents)
	}
	// Output:
	// ann 1200
	// left out: not JSON
}

func ExampleTypedProducer_Record() {
	ctx, client, stop := exampleClient()
	defer stop()
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	// The values of this topic are protobuf messages.
	births := ropewalk.NewTypedProducer(producer, "births", ropewalk.Proto[*timestamppb.Timestamp]{})
	record, err := births.Record(nil, timestamppb.New(time.Unix(1_000_000_000, 0)))
	if err != nil {
		log.Fatal(err)
	}
	record.Headers = append(record.Headers, ropewalk.Header{Key: "source", Value: []byte("registry")})
	if _, err := producer.Send(ctx, record); err != nil {
		log.Fatal(err)
	}

	birth, err := ropewalk.Decode(ropewalk.Proto[*timestamppb.Timestamp]{}, record)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(birth.AsTime().Format(time.DateOnly))
	// Output: 2001-09-09
}

// Celsius is a type with a codec of its own.
type Celsius float64

type celsiusCodec struct{}

func (celsiusCodec) Marshal(c Celsius) ([]byte, error) { return fmt.Appendf(nil, "%.1f C", c), nil }

func (celsiusCodec) Unmarshal(data []byte) (c Celsius, err error) {
	_, err = fmt.Sscanf(string(data), "%f C", &c)
	return c, err
}

func ExampleCodec() {
	record := &ropewalk.Record{Topic: "weather"}
	if err := ropewalk.Encode(celsiusCodec{}, record, 21.5); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", record.Value)
	temperature, err := ropewalk.Decode(celsiusCodec{}, record)
	fmt.Println(temperature, err)
	record.Value = []byte("warm")
	_, err = ropewalk.Decode(celsiusCodec{}, record)
	fmt.Println(errors.Is(err, ropewalk.ReasonUndecodable))
	// Output:
	// 21.5 C
	// 21.5 <nil>
	// true
}
