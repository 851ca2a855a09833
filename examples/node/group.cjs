// Reads a topic as a member of a consumer group, with nothing but stubs. Start it several times: the
// members share the partitions. What it needs is installed as for hello.cjs.
//
//     node group.cjs ADDRESS TOPIC GROUP [COUNT]

const path = require('node:path');
const { promisify } = require('node:util');
const grpc = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');

const [address, topic, group, count = Infinity] = process.argv.slice(2);

const definition = loadSync(['ropewalk/v1/consumer.proto'], {
  includeDirs: [path.join(__dirname, '../../proto')],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { v1 } = grpc.loadPackageDefinition(definition).ropewalk;
const consumer = new v1.ConsumerService(address, grpc.credentials.createInsecure());
const commitOffset = promisify(consumer.commitOffset.bind(consumer));

async function main() {
  // The open stream is the membership. Closing it leaves the group.
  const events = consumer.subscribe({ topics: [{ name: topic }], group, text: true });
  events.on('error', () => {}); // the loop below throws what matters
  let memberId = '';
  let generation = '0';
  let read = 0;
  const done = new Map(); // partition: the next offset, of all that was dealt with

  // Keeps how far the member is. Refused if a partition is another's by now.
  const commit = (partitions, release = []) => {
    const known = partitions.filter((partition) => done.has(partition));
    const offsets = known.map((partition) => ({ topic, partition, offset: done.get(partition) }));
    const released = release.length ? [{ topic, partitions: release }] : [];
    return commitOffset({ group, memberId, generation, offsets, release: released });
  };

  for await (const { event, started, assignment, batch } of events) {
    if (event === 'started') {
      ({ memberId, generation } = started);
    } else if (event === 'assignment') {
      generation = assignment.generation;
      assignment.ended.forEach(({ partitions }) => partitions.forEach((p) => done.delete(p)));
      assignment.assigned.forEach(({ partition, offset }) => {
        done.set(partition, offset);
        console.log(`partition ${partition} from offset ${offset}`);
      });
      for (const { partitions } of assignment.revoked) {
        // Nothing more of these comes: all that did is dealt with, so they can go on.
        await commit(partitions.partitions, partitions.partitions);
        console.log(`gave back ${partitions.partitions}`);
      }
    } else if (event === 'batch') {
      const { partition, baseOffset, records } = batch;
      records.records.forEach(({ text }, i) => {
        console.log(`${partition}:${BigInt(baseOffset) + BigInt(i)} ${text}`);
      });
      done.set(partition, String(BigInt(baseOffset) + BigInt(batch.recordCount)));
      read += batch.recordCount;
      await commit([partition]);
      if (read >= count) break;
    }
  }
  // Leaving the loop does not end the call.
  events.cancel();
  consumer.close();
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
