"""Appends three records and reads the topic back, with nothing but stubs.

From the root of the repository:

    python3 -m venv .venv
    .venv/bin/pip install grpcio grpcio-tools googleapis-common-protos
    mkdir -p stubs
    .venv/bin/python -m grpc_tools.protoc -I proto --python_out=stubs --grpc_python_out=stubs \
        proto/ropewalk/v1/*.proto
    PYTHONPATH=stubs .venv/bin/python examples/python/hello.py
"""

import sys

import grpc
from google.protobuf.empty_pb2 import Empty
from ropewalk.v1 import consumer_pb2, consumer_pb2_grpc, producer_pb2, producer_pb2_grpc
from ropewalk.v1.record_pb2 import Record, RecordSet

address = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
topic = "python-example"

with grpc.insecure_channel(address) as channel:
    producer = producer_pb2_grpc.ProducerServiceStub(channel)
    consumer = consumer_pb2_grpc.ConsumerServiceStub(channel)

    # The topic is created by its first record. Without a partition the broker places each record:
    # those of one key go to one partition, and keep their order there.
    records = [Record(key=b"fruit", value=name.encode()) for name in ("apple", "pear", "plum")]
    produced = producer.Produce(
        producer_pb2.ProduceRequest(topic=topic, records=RecordSet(records=records))
    )
    for append in produced.appends:
        print(f"partition {append.partition}, from offset {append.base_offset}")

    # From the earliest record, and to the end when the stream began. Without `stop` it would go on.
    events = consumer.Subscribe(
        consumer_pb2.SubscribeRequest(
            topics=[consumer_pb2.TopicSelection(name=topic)],
            default_start=consumer_pb2.Start(earliest=Empty()),
            stop=consumer_pb2.Stop(caught_up=Empty()),
        )
    )
    for event in events:
        # The first event says where reading starts; records come in batches.
        if event.WhichOneof("event") == "batch":
            batch = event.batch
            for offset, record in enumerate(batch.records.records, batch.base_offset):
                print(f"{batch.partition}:{offset} {record.key.decode()}={record.value.decode()}")
