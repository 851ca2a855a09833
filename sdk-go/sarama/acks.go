package sarama

// RequiredAcks says what must be true of a record before its answer.
type RequiredAcks int16

const (
	// NoResponse waits until the leader has the record in memory.
	NoResponse RequiredAcks = 0
	// WaitForLocal waits until it is on the leader's disk.
	WaitForLocal RequiredAcks = 1
	// WaitForAll waits until it is on the disks of a majority of the replicas.
	WaitForAll RequiredAcks = -1
)
