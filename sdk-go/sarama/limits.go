package sarama

// Limits that sarama has for all clients together. They change nothing here, by their nature: what
// goes between a client and a broker is below 4 MiB, and a batch that would be more than 16 MiB
// when it is decompressed is ErrInvalidMessage.
var (
	// MaxRequestSize bounds a request, in bytes. Default: 100 MiB.
	MaxRequestSize int32 = 100 * 1024 * 1024

	// MaxResponseSize bounds an answer, in bytes. Default: 100 MiB.
	MaxResponseSize int32 = 100 * 1024 * 1024

	// MaxDecompressedBatchSize bounds a batch, uncompressed, in bytes. Default: 0, no bound.
	MaxDecompressedBatchSize int32
)
