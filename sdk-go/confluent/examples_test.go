package kafka_test

import (
	"log"
	"testing"

	kafka "github.com/ropewalk/ropewalk/sdk-go/confluent"
	"github.com/ropewalk/ropewalk/sdk-go/internal/examplecheck"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// exampleServer stands in for the broker at localhost:9092.
func exampleServer() (address string, stop func()) {
	server, err := testserver.New()
	if err != nil {
		log.Fatal(err)
	}
	return server.Address(), server.Stop
}

// exampleBroker is a real broker, for what the server in memory does not do.
func exampleBroker() (address string, stop func()) { return examplecheck.Broker() }

// produceTexts sends texts to a topic, which there is afterwards.
func produceTexts(address, topic string, texts ...string) {
	p, err := kafka.NewProducer(with(address))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	reports := make(chan kafka.Event, len(texts))
	for _, text := range texts {
		if err := p.Produce(message(topic, text), reports); err != nil {
			log.Fatal(err)
		}
	}
	for range texts {
		if report := (<-reports).(*kafka.Message); report.TopicPartition.Error != nil {
			log.Fatal(report.TopicPartition.Error)
		}
	}
}

func TestEachTypeHasAnExample(t *testing.T) {
	examplecheck.Run(t, "github.com/ropewalk/ropewalk/sdk-go/confluent",
		examplecheck.Allowed{
			Names:  "*AdminOption AdminOption*",
			Reason: "what options of an AdminClient's calls are, and make: ExampleAdminClient has one",
		},
		examplecheck.Allowed{
			Names: "AlterOperation AlterConfigOpType ConfigSource ResourceType ConsumerGroupState " +
				"ConsumerGroupType IsolationLevel TimestampType",
			Reason: "an enumeration: its values stand in fields, and are taken by what has them",
		},
		examplecheck.Allowed{
			Names:  "ACLOperation",
			Reason: "there is no authorization: it is the type of fields which are always nil",
		},
		examplecheck.Allowed{
			Names:  "OAuthBearerToken*",
			Reason: "there is no SASL: its calls return ErrUnsupportedFeature",
		},
		examplecheck.Allowed{
			Names:  "Stats",
			Reason: "there are no statistics: statistics.interval.ms is refused",
		},
		examplecheck.Allowed{
			Names:  "ConsumerGroupMetadata",
			Reason: "is for transactions, which there are none of",
		},
		examplecheck.Allowed{
			Names:  "ConfigEntryResult ConfigResourceResult",
			Reason: "what DescribeConfigs returns: ExampleConfigResource",
		},
		examplecheck.Allowed{
			Names: "AlterConsumerGroupOffsetsResult ListConsumerGroup* ConsumerGroupListing " +
				"ConsumerGroupResult DeleteConsumerGroupsResult DescribeConsumerGroupsResult " +
				"MemberAssignment MemberDescription",
			Reason: "parts of what an AdminClient does with groups: ExampleConsumerGroupDescription",
		},
		examplecheck.Allowed{
			Names:  "ListOffsetsResult* DeleteRecordsResult* DeletedRecords",
			Reason: "what these calls return: ExampleOffsetSpec",
		},
		examplecheck.Allowed{
			Names:  "DescribeTopicsResult TopicPartitionInfo UUID",
			Reason: "parts of what DescribeTopics returns: ExampleTopicDescription",
		},
		examplecheck.Allowed{
			Names:  "BrokerMetadata TopicMetadata PartitionMetadata",
			Reason: "parts of a Metadata: ExampleMetadata",
		},
	)
}
