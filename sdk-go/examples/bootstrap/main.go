// Bootstrap has the topics of a program be as the program needs them: it creates those that are
// missing, adds partitions where there are too few, and changes settings that are not as they are
// to be. It can run with each start of the program, and by many of them at once.
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
	"time"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// topic is what is wanted.
type topic struct {
	name       string
	partitions int32
	settings   []ropewalk.TopicSetting
	// fits reports whether settings in force are those.
	fits func(ropewalk.TopicSettings) bool
}

var wanted = []topic{
	{
		name: "clicks", partitions: 6,
		settings: []ropewalk.TopicSetting{
			ropewalk.Retention(24 * time.Hour), ropewalk.CompressedBy(ropewalk.TopicCompressionZstd),
		},
		fits: func(s ropewalk.TopicSettings) bool {
			return s.Retention == 24*time.Hour && s.Compression == ropewalk.TopicCompressionZstd
		},
	},
	{
		name: "customers", partitions: 3,
		settings: []ropewalk.TopicSetting{
			ropewalk.Cleanup(ropewalk.CleanupCompact), ropewalk.Retention(ropewalk.KeepForever),
		},
		fits: func(s ropewalk.TopicSettings) bool {
			return s.CleanupPolicy == ropewalk.CleanupCompact && s.Retention < 0
		},
	},
}

// ensure has one topic be as it is wanted, and says what it did.
func ensure(ctx context.Context, admin *ropewalk.Admin, want topic) (string, error) {
	_, err := admin.CreateTopic(ctx, want.name, want.partitions, want.settings...)
	if err == nil {
		return "created", nil
	}
	if !errors.Is(err, ropewalk.ReasonTopicExists) {
		return "", err
	}
	found, _, err := admin.GetTopic(ctx, want.name)
	if err != nil {
		return "", err
	}
	did := "as it is to be"
	// Partitions are never taken away, and keys may stand elsewhere once there are more.
	if found.Partitions < want.partitions {
		if _, err := admin.AddPartitions(ctx, want.name, want.partitions); err != nil {
			return "", err
		}
		did = "changed"
	}
	if !want.fits(found.Settings) {
		if _, err := admin.UpdateTopic(ctx, want.name, want.settings...); err != nil {
			return "", err
		}
		did = "changed"
	}
	return did, nil
}

func run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client, err := ropewalk.Dial(ctx, []string{cmp.Or(os.Getenv("ROPEWALK_SERVER"), "localhost:9092")})
	if err != nil {
		return err
	}
	defer client.Close()
	for _, want := range wanted {
		did, err := ensure(ctx, client.Admin(), want)
		var e *ropewalk.Error
		if errors.As(err, &e) && e.Fatal() {
			return fmt.Errorf("topic %s, and to try again makes no sense: %w", want.name, err)
		}
		if err != nil {
			return fmt.Errorf("topic %s: %w", want.name, err)
		}
		fmt.Println(want.name, "is", did)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
