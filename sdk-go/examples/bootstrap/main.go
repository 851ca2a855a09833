// Bootstrap has the topics of a program be as the program needs them: it creates those that are
// missing, adds partitions where there are too few, and changes settings that are not as they are
// to be; those that it does not name stay. It can run with each start of the program, and by many of
// them at once. A call whose outcome is not known is no harm: the next run finds what there is.
//
//	go run ./examples/bootstrap
//
// ROPEWALK_SERVER names the broker; default localhost:9092.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// topic is what is wanted.
type topic struct {
	name       string
	partitions int32
	settings   []ropewalk.TopicSetting
}

var wanted = []topic{
	{
		name: "clicks", partitions: 6,
		settings: []ropewalk.TopicSetting{
			ropewalk.Retention(24 * time.Hour), ropewalk.CompressedBy(ropewalk.TopicCompressionZstd),
		},
	},
	{
		name: "customers", partitions: 3,
		settings: []ropewalk.TopicSetting{
			ropewalk.Cleanup(ropewalk.CleanupCompact), ropewalk.Retention(ropewalk.KeepForever),
		},
	},
}

// ensure has one topic be as it is wanted, and says what it did.
func ensure(ctx context.Context, admin *ropewalk.Admin, want topic) (string, error) {
	_, err := admin.CreateTopic(ctx, want.name, want.partitions, want.settings...)
	if err == nil {
		return "created", nil
	}
	var e *ropewalk.Error
	maybe := errors.As(err, &e) && e.Appended() == ropewalk.OutcomeMaybe
	if !maybe && !errors.Is(err, ropewalk.ReasonTopicExists) {
		return "", err
	}
	found, _, missing := admin.GetTopic(ctx, want.name)
	if missing != nil {
		return "", errors.Join(err, missing)
	}
	did := "as it is to be"
	// Partitions are never taken away, and keys may stand elsewhere once there are more.
	if found.Partitions < want.partitions {
		if _, err := admin.AddPartitions(ctx, want.name, want.partitions); err != nil {
			return "", err
		}
		did = "changed"
	}
	// Settings are set to what they are to be, which changes nothing where they are so already.
	set, err := admin.UpdateTopic(ctx, want.name, want.settings...)
	if err != nil {
		return "", err
	}
	if set.Settings != found.Settings {
		did = "changed"
	}
	return did, nil
}

func run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	server := cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")
	client, err := ropewalk.Dial(ctx, []string{server})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	for _, want := range wanted {
		did, err := ensure(ctx, client.Admin(), want)
		if err != nil {
			return fmt.Errorf("topic %s: %w", want.name, err)
		}
		fmt.Println(want.name, "is", did)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
