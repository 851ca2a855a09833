package compat_test

import (
	"fmt"
	"hash"
	"hash/crc32"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	ibm "github.com/IBM/sarama"
	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hashers are the partitioners that depend on the key alone, of both packages.
var hashers = []struct {
	name   string
	theirs ibm.PartitionerConstructor
	ours   sarama.PartitionerConstructor
}{
	{"fnv", ibm.NewHashPartitioner, sarama.NewHashPartitioner},
	{"reference", ibm.NewReferenceHashPartitioner, sarama.NewReferenceHashPartitioner},
	{"crc", ibm.NewConsistentCRCHashPartitioner, sarama.NewConsistentCRCHashPartitioner},
	{"fnv by name", ibm.NewCustomHashPartitioner(fnv.New32a),
		sarama.NewCustomHashPartitioner(fnv.New32a)},
	{"crc by name", ibm.NewCustomHashPartitioner(crc32.NewIEEE),
		sarama.NewCustomHashPartitioner(crc32.NewIEEE)},
	{"absolute first",
		ibm.NewCustomPartitioner(ibm.WithAbsFirst()),
		sarama.NewCustomPartitioner(sarama.WithAbsFirst())},
	{"unsigned",
		ibm.NewCustomPartitioner(ibm.WithHashUnsigned()),
		sarama.NewCustomPartitioner(sarama.WithHashUnsigned())},
	{"own hash, unsigned",
		ibm.NewCustomPartitioner(ibm.WithHashUnsigned(),
			ibm.WithCustomHashFunction(crc32.NewIEEE)),
		sarama.NewCustomPartitioner(sarama.WithHashUnsigned(),
			sarama.WithCustomHashFunction(crc32.NewIEEE))},
}

func TestPartitionersHashBitForBit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, h := range hashers {
		theirs, ours := h.theirs("t"), h.ours("t")
		if theirs.RequiresConsistency() != ours.RequiresConsistency() {
			t.Errorf("%s: consistency is not required alike", h.name)
		}
		for range 5000 {
			key := make([]byte, random.IntN(40))
			for i := range key {
				key[i] = byte(random.Uint32())
			}
			partitions := 1 + random.Int32N(300)
			samePlace(t, h.name, theirs, ours, key, partitions)
		}
	}
}

// fixed gives a hash that is known, for the numbers at which signs go wrong.
type fixed struct {
	hash.Hash32
	sum uint32
}

func (f fixed) Sum32() uint32 { return f.sum }

func TestPartitionersTakeTheEdgesAlike(t *testing.T) {
	for _, sum := range []uint32{0, 1, math.MaxInt32, 1 << 31, 1<<31 + 1, math.MaxUint32} {
		hasher := func() hash.Hash32 { return fixed{fnv.New32a(), sum} }
		for _, h := range []struct {
			name   string
			theirs ibm.PartitionerConstructor
			ours   sarama.PartitionerConstructor
		}{
			{"custom hash", ibm.NewCustomHashPartitioner(hasher),
				sarama.NewCustomHashPartitioner(hasher)},
			{"options", ibm.NewCustomPartitioner(ibm.WithCustomHashFunction(hasher)),
				sarama.NewCustomPartitioner(sarama.WithCustomHashFunction(hasher))},
			{"absolute first",
				ibm.NewCustomPartitioner(ibm.WithAbsFirst(),
					ibm.WithCustomHashFunction(hasher)),
				sarama.NewCustomPartitioner(sarama.WithAbsFirst(),
					sarama.WithCustomHashFunction(hasher))},
			{"unsigned",
				ibm.NewCustomPartitioner(ibm.WithHashUnsigned(),
					ibm.WithCustomHashFunction(hasher)),
				sarama.NewCustomPartitioner(sarama.WithHashUnsigned(),
					sarama.WithCustomHashFunction(hasher))},
		} {
			for _, partitions := range []int32{1, 2, 3, 50, 1000} {
				samePlace(t, fmt.Sprint(h.name, " of ", sum), h.theirs("t"), h.ours("t"),
					[]byte("key"), partitions)
			}
		}
	}
}

func samePlace(
	t *testing.T, name string, theirs ibm.Partitioner, ours sarama.Partitioner, key []byte,
	partitions int32,
) {
	t.Helper()
	want, err := theirs.Partition(
		&ibm.ProducerMessage{Topic: "t", Key: ibm.ByteEncoder(key)}, partitions)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ours.Partition(
		&sarama.ProducerMessage{Topic: "t", Key: sarama.ByteEncoder(key)}, partitions)
	if err != nil || got != want {
		t.Fatalf("%s: %q on %d partitions goes to %d, want %d (%v)",
			name, key, partitions, got, want, err)
	}
}

func TestStrategiesPlanAlike(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, s := range []struct {
		theirs ibm.BalanceStrategy
		ours   sarama.BalanceStrategy
	}{
		{ibm.NewBalanceStrategyRange(), sarama.NewBalanceStrategyRange()},
		{ibm.NewBalanceStrategyRoundRobin(), sarama.NewBalanceStrategyRoundRobin()},
	} {
		if s.theirs.Name() != s.ours.Name() {
			t.Errorf("names %q and %q", s.theirs.Name(), s.ours.Name())
		}
		for range 300 {
			topics := map[string][]int32{}
			var names []string
			for i := range 1 + random.IntN(5) {
				name := fmt.Sprint("topic", i)
				names = append(names, name)
				for p := range random.Int32N(12) {
					topics[name] = append(topics[name], p)
				}
			}
			their := map[string]ibm.ConsumerGroupMemberMetadata{}
			our := map[string]sarama.ConsumerGroupMemberMetadata{}
			for i := range 1 + random.IntN(6) {
				id := fmt.Sprint("member", i)
				reads := slices.Clone(names[:1+random.IntN(len(names))])
				their[id] = ibm.ConsumerGroupMemberMetadata{Topics: reads}
				our[id] = sarama.ConsumerGroupMemberMetadata{Topics: reads}
			}
			samePlan(t, s.theirs, s.ours, their, our, topics)
		}
	}
}

func samePlan(
	t *testing.T, theirs ibm.BalanceStrategy, ours sarama.BalanceStrategy,
	their map[string]ibm.ConsumerGroupMemberMetadata,
	our map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32,
) {
	t.Helper()
	read := map[string][]int32{}
	for _, member := range their {
		for _, topic := range member.Topics {
			read[topic] = topics[topic]
		}
	}
	want, err := theirs.Plan(their, read)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ours.Plan(our, read)
	if err != nil {
		t.Fatal(err)
	}
	if wanted, gotten := spellPlan(want), spellPlan(got); wanted != gotten {
		t.Fatalf("%s of %v over %v plans\n%s, want\n%s", theirs.Name(), read, their, gotten, wanted)
	}
}

// spellPlan leaves out members and topics of which nothing is assigned.
func spellPlan[P ~map[string]map[string][]int32](plan P) string {
	var lines []string
	for member, topics := range plan {
		for topic, partitions := range topics {
			if len(partitions) > 0 {
				lines = append(lines, fmt.Sprintln(member, topic, slices.Sorted(slices.Values(partitions))))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// Errors of the broker have the same numbers, and those that sarama has a text for have one here.
func TestErrorsHaveTheSameNumbersAndATextEach(t *testing.T) {
	for number := int16(-1); number < 200; number++ {
		their, our := ibm.KError(number).Error(), sarama.KError(number).Error()
		known := !strings.HasPrefix(their, "Unknown error, how did this happen?")
		bare := !strings.HasPrefix(our, "kafka server: ") || strings.HasSuffix(our, fmt.Sprint(number))
		if known && bare {
			t.Errorf("%d is %q, and here only %q", number, their, our)
		}
	}
}

func TestSentinelsSayTheSame(t *testing.T) {
	for _, pair := range []struct{ theirs, ours error }{
		{ibm.ErrOutOfBrokers, sarama.ErrOutOfBrokers},
		{ibm.ErrBrokerNotFound, sarama.ErrBrokerNotFound},
		{ibm.ErrClosedClient, sarama.ErrClosedClient},
		{ibm.ErrShuttingDown, sarama.ErrShuttingDown},
		{ibm.ErrAlreadyConnected, sarama.ErrAlreadyConnected},
		{ibm.ErrNotConnected, sarama.ErrNotConnected},
		{ibm.ErrInvalidPartition, sarama.ErrInvalidPartition},
		{ibm.ErrMessageTooLarge, sarama.ErrMessageTooLarge},
		{ibm.ErrControllerNotAvailable, sarama.ErrControllerNotAvailable},
		{ibm.ErrDeleteRecords, sarama.ErrDeleteRecords},
		{ibm.ErrReassignPartitions, sarama.ErrReassignPartitions},
		{ibm.ErrClosedConsumerGroup, sarama.ErrClosedConsumerGroup},
		{ibm.ErrNonTransactedProducer, sarama.ErrNonTransactedProducer},
	} {
		if pair.theirs.Error() != pair.ours.Error() {
			t.Errorf("%q here is %q", pair.theirs, pair.ours)
		}
	}
}

func TestVersionsReadAlike(t *testing.T) {
	for _, text := range []string{
		"0.8.2.0", "0.11.0.2", "1.0.0", "2.1.1", "2.8.0", "3.9.0", "4.1.0", "", "2", "2.1", "1.2.3.4",
		"0.9.0", "v2.1.0", "2.1.0-rc1", "10.0.0", "0.10.2.1",
	} {
		their, theirErr := ibm.ParseKafkaVersion(text)
		our, ourErr := sarama.ParseKafkaVersion(text)
		if (theirErr == nil) != (ourErr == nil) || their.String() != our.String() {
			t.Errorf("%q is read as %v (%v), want %v (%v)", text, our, ourErr, their, theirErr)
		}
	}
	var their, our []string
	for _, v := range ibm.SupportedVersions {
		their = append(their, v.String())
	}
	for _, v := range sarama.SupportedVersions {
		our = append(our, v.String())
	}
	if !slices.Equal(their, our) || ibm.DefaultVersion.String() != sarama.DefaultVersion.String() {
		t.Errorf("versions %v, want %v", our, their)
	}
}

// Defaults are the same, field by field.
func TestDefaultsAreTheSame(t *testing.T) {
	their, our := map[string]string{}, map[string]string{}
	flatten("", reflect.ValueOf(ibm.NewConfig()).Elem(), their)
	flatten("", reflect.ValueOf(sarama.NewConfig()).Elem(), our)
	for name, want := range their {
		if got, ok := our[name]; !ok || got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name := range our {
		if _, ok := their[name]; !ok {
			t.Errorf("%s is not sarama's", name)
		}
	}
	if len(their) < 80 {
		t.Errorf("only %d fields", len(their))
	}
}

// flatten writes the fields of a struct under their names. Of what only the package can compare, it
// tells whether it is there.
func flatten(name string, v reflect.Value, into map[string]string) {
	switch v.Kind() {
	case reflect.Struct:
		if stringer, ok := v.Interface().(fmt.Stringer); ok {
			into[name] = stringer.String()
			return
		}
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				flatten(strings.TrimPrefix(name+"."+field.Name, "."), v.Field(i), into)
			}
		}
	case reflect.Func, reflect.Interface, reflect.Pointer, reflect.Map, reflect.Chan:
		into[name] = fmt.Sprint("nil: ", v.IsNil())
	case reflect.Slice:
		into[name] = fmt.Sprint("elements: ", v.Len())
	default:
		into[name] = fmt.Sprint(reflect.ValueOf(v.Interface()))
	}
}
