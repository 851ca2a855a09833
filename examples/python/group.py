"""Reads a topic as a member of a consumer group, with nothing but stubs.

Start it several times: the members share the partitions. The stubs are made as in hello.py.

    PYTHONPATH=stubs python examples/python/group.py ADDRESS TOPIC GROUP [COUNT]
"""

import sys

import grpc
from ropewalk.v1 import consumer_pb2 as pb
from ropewalk.v1 import consumer_pb2_grpc

address, topic, group = sys.argv[1:4]
count = int(sys.argv[4]) if len(sys.argv) > 4 else None

with grpc.insecure_channel(address) as channel:
    consumer = consumer_pb2_grpc.ConsumerServiceStub(channel)
    # The open stream is the membership. Closing it leaves the group.
    events = consumer.Subscribe(
        pb.SubscribeRequest(topics=[pb.TopicSelection(name=topic)], group=group)
    )
    member, generation = "", 0
    done = {}  # partition: the next offset, of all that was dealt with

    def commit(partitions, release=()):
        """Keeps how far the member is. Refused if a partition is another's by now."""
        offsets = [
            pb.CommittedOffset(topic=topic, partition=p, offset=done[p])
            for p in partitions
            if p in done
        ]
        released = [pb.TopicPartitions(topic=topic, partitions=release)] if release else []
        consumer.CommitOffset(
            pb.CommitOffsetRequest(
                group=group,
                member_id=member,
                generation=generation,
                offsets=offsets,
                release=released,
            )
        )

    read = 0
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "started":
            member, generation = event.started.member_id, event.started.generation
        elif kind == "assignment":
            generation = event.assignment.generation
            for ended in event.assignment.ended:
                for partition in ended.partitions:
                    done.pop(partition, None)
            for begun in event.assignment.assigned:
                done[begun.partition] = begun.offset
                print(f"partition {begun.partition} from offset {begun.offset}", flush=True)
            for revoked in event.assignment.revoked:
                # Nothing more of these comes: all that did is dealt with, so they can go on.
                partitions = list(revoked.partitions.partitions)
                commit(partitions, release=partitions)
                print(f"gave back {partitions}", flush=True)
        elif kind == "batch":
            batch = event.batch
            for offset, record in enumerate(batch.records.records, batch.base_offset):
                print(f"{batch.partition}:{offset} {record.value.decode()}", flush=True)
            done[batch.partition] = batch.base_offset + batch.record_count
            read += batch.record_count
            commit([batch.partition])
            if count is not None and read >= count:
                break
    events.cancel()
