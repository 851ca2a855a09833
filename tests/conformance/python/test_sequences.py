"""An idempotent producer from stubs alone: InitProducer, and a sequence in each batch."""

import grpc
from ropewalk.v1 import producer_pb2

from client import refused, values


class Sequenced:
    """A producer for one partition, which sends a batch until it is answered."""

    def __init__(self, client, topic, name=""):
        self.client = client
        self.topic = topic
        given = client.producer.InitProducer(producer_pb2.InitProducerRequest(name=name))
        self.id = given.producer_id
        self.epoch = given.epoch
        self.next = 0

    def send(self, *texts, first=None):
        """Sends a batch: the next one, or one that begins with another number."""
        sequence = producer_pb2.ProducerSequence(
            producer_id=self.id,
            epoch=self.epoch,
            first_sequence=self.next if first is None else first,
        )
        answer = self.client.produce(self.topic, values(*texts), partition=0, sequence=sequence)
        if first is None:
            self.next += len(texts)
        return answer.appends[0]


def test_a_batch_that_is_sent_again_is_there_once(client, topic):
    producer = Sequenced(client, topic)
    appends = [producer.send("a", "b"), producer.send("c"), producer.send("a", "b", first=0)]
    assert [(a.base_offset, a.duplicate) for a in appends] == [(0, False), (2, False), (0, True)]
    assert [record.value for record in client.read(topic).values()] == [b"a", b"b", b"c"]


def test_what_is_out_of_order_is_refused_with_the_next_number(client, topic):
    producer = Sequenced(client, topic)
    producer.send("a", "b")
    for texts, first in [(("d",), 3), (("other", "records"), 0)]:
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "SEQUENCE_GAP") as refusal:
            producer.send(*texts, first=first)
        assert dict(refusal.info.metadata) == {"expected": "2", "actual": str(first)}


def test_a_name_keeps_its_id_and_the_newer_holder_fences_the_older(client, topic, name):
    older = Sequenced(client, topic, name)
    older.send("a")
    newer = Sequenced(client, topic, name)
    assert (newer.id, newer.epoch) == (older.id, older.epoch + 65_536)
    assert newer.send("b").base_offset == 1
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "PRODUCER_FENCED") as refusal:
        older.send("c")
    assert dict(refusal.info.metadata) == {"expected": "65536", "actual": "0"}
    assert Sequenced(client, topic).id != older.id


def test_a_sequence_needs_a_partition(client, topic):
    sequence = producer_pb2.ProducerSequence(producer_id=Sequenced(client, topic).id)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD") as refusal:
        client.produce(topic, values("a"), sequence=sequence)
    assert refusal.info.metadata["field"] == "partition"
