package sarama_test

import (
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// Whatever codec a producer has, a consumer gets the messages.
func TestCompression(t *testing.T) {
	addrs := []string{ropewalktest.Start(t).Address}
	value := strings.Repeat("again and ", 100)
	for codec := sarama.CompressionNone; codec <= sarama.CompressionZSTD; codec++ {
		text, err := codec.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var named sarama.CompressionCodec
		if err := named.UnmarshalText(text); err != nil || named != codec {
			t.Errorf("%s is taken for %s: %v", codec, named, err)
		}
		config := testConfig()
		config.Producer.Compression = codec
		producer := newProducer(t, addrs, config)
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: codec.String(), Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder(value),
		}); err != nil {
			t.Fatal(err)
		}
		consumer := newConsumer(t, addrs, testConfig())
		receive(t, consume(t, consumer, codec.String(), 0, sarama.OffsetOldest), value)
	}
	if err := new(sarama.CompressionCodec).UnmarshalText([]byte("brotli")); err == nil {
		t.Error("brotli is no codec")
	}
}
