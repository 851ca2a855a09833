package sarama

import (
	"encoding/binary"
	"maps"
	"slices"
)

// encodeShare writes what a member has as Kafka's sticky assignor does: the number of topics; of
// each its name, the number of partitions, and the partitions; then the generation. Numbers are big
// endian, of 4 bytes, and the length of a name of 2.
func encodeShare(share formerShare) []byte {
	topics := map[string][]int32{}
	for _, p := range share.places {
		topics[p.topic] = append(topics[p.topic], p.partition)
	}
	data := binary.BigEndian.AppendUint32(nil, uint32(len(topics)))
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		data = binary.BigEndian.AppendUint16(data, uint16(len(topic)))
		data = append(data, topic...)
		data = binary.BigEndian.AppendUint32(data, uint32(len(topics[topic])))
		for _, partition := range topics[topic] {
			data = binary.BigEndian.AppendUint32(data, uint32(partition))
		}
	}
	return binary.BigEndian.AppendUint32(data, uint32(share.generation))
}

// decodeShare reads it. Nothing at all is of a member that had nothing; without a generation it is
// of the form before, which had none.
func decodeShare(data []byte) (formerShare, error) {
	share := formerShare{generation: noGeneration}
	if len(data) == 0 {
		return share, nil
	}
	r := shareReader{rest: data}
	for range r.count(6) {
		topic := string(r.take(int(binary.BigEndian.Uint16(r.take(2)))))
		for range r.count(4) {
			share.places = append(share.places, place{topic, r.number()})
		}
	}
	if !r.short && len(r.rest) > 0 {
		share.generation = r.number()
	}
	if r.short {
		return formerShare{}, ErrInsufficientData
	}
	return share, nil
}

// shareReader reads from the front. What is not there is 0, and noted.
type shareReader struct {
	rest  []byte
	short bool
}

func (r *shareReader) take(n int) []byte {
	if n > len(r.rest) {
		r.short, r.rest = true, nil
		return make([]byte, min(n, 4))
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *shareReader) number() int32 { return int32(binary.BigEndian.Uint32(r.take(4))) }

// count reads how many there are of what takes at least so many bytes each.
func (r *shareReader) count(least int) int {
	n := int(r.number())
	if n < 0 || n > len(r.rest)/least {
		r.short = true
		return 0
	}
	return n
}
