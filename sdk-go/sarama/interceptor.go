package sarama

// ProducerInterceptor sees messages that are to be produced, and may change them.
type ProducerInterceptor interface {
	// OnSend is called with each message before it is placed on a partition, once, however often it
	// is sent. The message is the program's own, not a copy. A panic is logged, and the message
	// goes on.
	OnSend(*ProducerMessage)
}

// ConsumerInterceptor sees messages that are to be delivered, and may change them.
type ConsumerInterceptor interface {
	// OnConsume is called with each message before it is put into its channel. The message is the
	// one that is delivered, not a copy. A panic is logged, and the message goes on.
	OnConsume(*ConsumerMessage)
}

// intercept calls the interceptors, one after the other.
func (m *ProducerMessage) intercept(interceptors []ProducerInterceptor) {
	for _, i := range interceptors {
		guarded("a producer's interceptor", func() { i.OnSend(m) })
	}
}

// intercept calls the interceptors, one after the other.
func (m *ConsumerMessage) intercept(interceptors []ConsumerInterceptor) {
	for _, i := range interceptors {
		guarded("a consumer's interceptor", func() { i.OnConsume(m) })
	}
}

// guarded logs a panic of a program's interceptor, which must not stop what it looks at.
func guarded(what string, f func()) {
	defer func() {
		if caught := recover(); caught != nil {
			Logger.Printf("%s panicked: %v\n", what, caught)
		}
	}()
	f()
}
