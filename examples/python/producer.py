"""Appends lines to a partition, each once, whatever happens in between: with nothing but stubs.

A batch that was sent and not answered is sent again under the same number. The broker appends it
once, and answers as the first time. The stubs are made as in hello.py.

    PYTHONPATH=stubs python examples/python/producer.py ADDRESS TOPIC PARTITION < LINES
"""

import sys
import time

import grpc
from ropewalk.v1 import producer_pb2 as pb
from ropewalk.v1 import producer_pb2_grpc
from ropewalk.v1.record_pb2 import Record, RecordSet

address, topic, partition = sys.argv[1], sys.argv[2], int(sys.argv[3])

# After these, a batch is there or is not. Any other error says that it is not.
UNSURE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

with grpc.insecure_channel(address) as channel:
    producer = producer_pb2_grpc.ProducerServiceStub(channel)
    # With a name, a program that is started again has the same id, and fences its former self.
    me = producer.InitProducer(pb.InitProducerRequest(), wait_for_ready=True)
    number = 0  # how many records were sent to the partition: batches are numbered by their first

    def append(texts):
        """Sends a batch until it is answered."""
        global number
        request = pb.ProduceRequest(
            topic=topic,
            partition=partition,
            records=RecordSet(records=[Record(value=text.encode()) for text in texts]),
            sequence=pb.ProducerSequence(
                producer_id=me.producer_id, epoch=me.epoch, first_sequence=number
            ),
        )
        while True:
            try:
                (appended,) = producer.Produce(request, timeout=5).appends
            except grpc.RpcError as error:
                if error.code() not in UNSURE:
                    raise
                time.sleep(0.1)
                continue
            number += len(texts)
            return appended

    for line in sys.stdin:
        appended = append([line.rstrip("\n")])
        again = ", which it was before" if appended.duplicate else ""
        print(f"{partition}:{appended.base_offset}{again}", flush=True)
