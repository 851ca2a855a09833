"""ProducerService.ProduceStream: many batches over one call, without waiting for each answer."""

import queue

from google.rpc import code_pb2
from ropewalk.v1 import producer_pb2, record_pb2

from client import Refusal, values


def append(correlation, topic, *texts, partition=0):
    return producer_pb2.ProduceStreamRequest(
        correlation=correlation,
        request=producer_pb2.ProduceRequest(
            topic=topic,
            partition=partition,
            records=record_pb2.RecordSet(records=values(*texts)),
        ),
    )


def test_a_bad_batch_does_not_end_the_stream(client, topic):
    requests = [
        append(10, topic, "a", "b"),
        append(11, topic),  # An empty batch is refused.
        append(12, topic, "c"),
        append(13, topic, "d", partition=7),  # There is no partition 7.
        append(14, topic, "e"),
    ]
    # The library sends what the iterator gives, and closes our side at its end; the answers come
    # meanwhile. The server then answers what is left and ends the call with OK.
    answers = {a.correlation: a for a in client.producer.ProduceStream(iter(requests), timeout=30)}
    assert sorted(answers) == [10, 11, 12, 13, 14]

    appended = {c: a.response.appends[0] for c, a in answers.items() if a.HasField("response")}
    assert {c: a.base_offset for c, a in appended.items()} == {10: 0, 12: 2, 14: 3}
    assert all(answers[c].status.code == code_pb2.OK for c in appended)

    for correlation, code, reason in [
        (11, code_pb2.INVALID_ARGUMENT, "INVALID_FIELD"),
        (13, code_pb2.NOT_FOUND, "PARTITION_NOT_FOUND"),
    ]:
        refusal = Refusal()
        refusal.fill(answers[correlation].status)
        assert (refusal.status.code, refusal.info.reason) == (code, reason)


def test_answers_come_in_order_per_partition(client, topic3):
    count = 300
    requests = (append(i, topic3, f"{i}", partition=i % 3) for i in range(count))
    answered = {0: [], 1: [], 2: []}
    for answer in client.producer.ProduceStream(requests, timeout=30):
        (where,) = answer.response.appends
        assert where.partition == answer.correlation % 3
        assert where.base_offset == answer.correlation // 3
        answered[where.partition].append(answer.correlation)
    assert answered == {p: list(range(p, count, 3)) for p in range(3)}


def test_an_answer_comes_before_the_client_closes_its_side(client, topic):
    """A producer that lives long: it sends, and reads the answer while the stream stays open."""
    to_send = queue.Queue()
    answers = client.producer.ProduceStream(iter(to_send.get, None), timeout=30)
    for i in range(3):
        to_send.put(append(i, topic, "a"))
        answer = next(answers)
        assert (answer.correlation, answer.response.appends[0].base_offset) == (i, i)
    to_send.put(None)
    assert list(answers) == []


def test_the_server_places_records_of_a_stream_too(client, topic3):
    request = producer_pb2.ProduceStreamRequest(
        request=producer_pb2.ProduceRequest(
            topic=topic3,
            records=record_pb2.RecordSet(
                records=[record_pb2.Record(key=b"%d" % i) for i in range(20)]
            ),
        )
    )
    (answer,) = client.producer.ProduceStream(iter([request]), timeout=30)
    assert sum(a.record_count for a in answer.response.appends) == 20
    assert len(answer.response.appends) == 3
