package sarama

// Encoder is anything that turns into the bytes of a key or a value. Encode is called when the
// message is sent, and for a key also by partitioners; Length must be what Encode gives.
type Encoder interface {
	Encode() ([]byte, error)
	Length() int
}

// StringEncoder is a string as a key or a value.
type StringEncoder string

// Encode returns the bytes of the string.
func (s StringEncoder) Encode() ([]byte, error) { return []byte(s), nil }

// Length returns their number.
func (s StringEncoder) Length() int { return len(s) }

// ByteEncoder is bytes as a key or a value. They must stay as they are until the message has its
// answer. A nil one stands for no key or no value.
type ByteEncoder []byte

// Encode returns the bytes.
func (b ByteEncoder) Encode() ([]byte, error) { return b, nil }

// Length returns their number.
func (b ByteEncoder) Length() int { return len(b) }
