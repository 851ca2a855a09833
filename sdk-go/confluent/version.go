package kafka

// LibrdkafkaLinkInfo says where librdkafka comes from: nowhere.
const LibrdkafkaLinkInfo = "none: a client of Ropewalk in Go"

// LibraryVersion returns the version of librdkafka whose behaviour this package has, as a number
// and as text. There is no librdkafka in it.
func LibraryVersion() (int, string) { return 0x020b01ff, "2.11.1-ropewalk" }
