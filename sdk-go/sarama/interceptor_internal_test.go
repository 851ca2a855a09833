package sarama

import "testing"

// An interceptor that panics does not stop the others, nor the message.
func TestInterceptorsPanic(t *testing.T) {
	message, seen := &ProducerMessage{}, ""
	message.intercept([]ProducerInterceptor{
		sendFunc(func(*ProducerMessage) { panic("a") }),
		sendFunc(func(m *ProducerMessage) { m.Topic += "b" }),
		sendFunc(func(m *ProducerMessage) { m.Topic += "c" }),
	})
	consumed := &ConsumerMessage{}
	consumed.intercept([]ConsumerInterceptor{
		consumeFunc(func(*ConsumerMessage) { panic("a") }),
		consumeFunc(func(m *ConsumerMessage) { seen = "d"; m.Topic = "e" }),
	})
	if message.Topic != "bc" || consumed.Topic != "e" || seen != "d" {
		t.Errorf("got %q, %q", message.Topic, consumed.Topic)
	}
}

type sendFunc func(*ProducerMessage)

func (f sendFunc) OnSend(m *ProducerMessage) { f(m) }

type consumeFunc func(*ConsumerMessage)

func (f consumeFunc) OnConsume(m *ConsumerMessage) { f(m) }
