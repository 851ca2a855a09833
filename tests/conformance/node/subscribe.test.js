// ConsumerService: reading records, and keeping positions.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { Broker } from './broker.js';
import { all, bytes, call, Client, reader, recordsOf, refused, text, values } from './client.js';
import { setup } from './setup.js';

const shared = setup();
const CAUGHT_UP = { caughtUp: {} };

const offsets = (records) => records.map(({ offset }) => offset);
const texts = (records) => records.map(({ value }) => text(value));
const read = async (topic, start, stop = CAUGHT_UP) =>
  texts(await shared.client.read(topic, { defaultStart: start, stop }));

test('from the earliest record until caught up', async () => {
  const topic = await shared.topic();
  await shared.client.produce(topic, values('a', 'b'));
  await shared.client.produce(topic, values('c'));
  const events = await all(shared.client.subscribe(topic, { stop: CAUGHT_UP }));
  const [position] = events[0].started.positions;
  assert.deepEqual([position.offset, position.highWatermark], ['0', '3']);
  assert.deepEqual(texts(recordsOf(events)), ['a', 'b', 'c']);
  assert.deepEqual(offsets(recordsOf(events)), [0, 1, 2]);
});

test('from the latest offset', async () => {
  const topic = await shared.topic();
  await shared.client.produce(topic, values('before'));
  const stream = shared.client.subscribe(topic, { defaultStart: { latest: {} } });
  const events = reader(stream);
  // What is produced after `started` has arrived is delivered.
  assert.equal((await events.next('started')).positions[0].offset, '1');
  await shared.client.produce(topic, values('after'));
  const batch = await events.next('batch');
  assert.equal(batch.baseOffset, '1');
  assert.equal(text(batch.records.records[0].value), 'after');
  await cancelled(stream, events);
});

test('from an offset to an offset', async () => {
  const topic = await shared.topic();
  await shared.client.produce(topic, values('a', 'b', 'c', 'd'));
  // The stop itself is not delivered.
  assert.deepEqual(await read(topic, { offset: 1 }, { offset: 3 }), ['b', 'c']);
});

test('from a time to a time', async () => {
  const topic = await shared.topic();
  for (const seconds of [100, 200, 300]) {
    await shared.client.produce(topic, [{ value: bytes(`${seconds}`), timestamp: { seconds } }]);
  }
  const at = (seconds) => ({ timestamp: { seconds } });
  assert.deepEqual(await read(topic, at(150)), ['200', '300']);
  assert.deepEqual(await read(topic, at(301)), []);
  assert.deepEqual(await read(topic, { earliest: {} }, at(200)), ['100']);
});

test('from what a group committed', async () => {
  const topic = await shared.topic();
  const group = shared.name();
  await shared.client.produce(topic, values('a', 'b', 'c'));
  const start = { committed: { group, latest: {} } };
  assert.deepEqual(await read(topic, start), []);
  await call(shared.client.consumer, 'commitOffset', {
    group,
    offsets: [{ topic, partition: 0, offset: 2, metadata: 'at home' }],
  });
  assert.deepEqual(await read(topic, start), ['c']);

  const kept = await call(shared.client.consumer, 'getCommittedOffsets', { group });
  assert.deepEqual(
    kept.offsets.map((o) => [o.topic, o.partition, o.offset, o.metadata]),
    [[topic, 0, '2', 'at home']],
  );
});

test('an offset outside the log is not committed', async () => {
  const topic = await shared.topic();
  const beyond = call(shared.client.consumer, 'commitOffset', {
    group: shared.name(),
    offsets: [{ topic, partition: 0, offset: 1 }],
  });
  await refused(beyond, 'OUT_OF_RANGE', 'OFFSET_OUT_OF_RANGE');
});

test('partitions have their own starts', async () => {
  const topic = await shared.topic(3);
  for (const partition of [0, 1, 2]) {
    await shared.client.produce(topic, values('a', 'b', 'c'), { partition });
  }
  const partitions = [{ partition: 0, start: { offset: 2 } }, { partition: 2 }];
  const stream = shared.client.consumer.subscribe({
    topics: [{ name: topic, partitions }],
    defaultStart: { offset: 1 },
    stop: CAUGHT_UP,
  });
  const got = recordsOf(await all(stream)).map(({ partition, offset }) => `${partition}:${offset}`);
  assert.deepEqual(got.sort(), ['0:2', '2:1', '2:2']);
});

test('text is for people', async () => {
  const topic = await shared.topic();
  await shared.client.produce(topic, [
    { key: bytes('k'), value: bytes('grüß') },
    { value: Buffer.from([0xff, 0]) }, // No UTF-8: it stays bytes.
  ]);
  const [first, second] = await shared.client.read(topic, { text: true });
  assert.deepEqual([first.keyText, first.text, first.value], ['k', 'grüß', undefined]);
  assert.deepEqual([second.text, second.value.toString('hex')], [undefined, 'ff00']);
});

test('a quiet stream shows that it lives', async () => {
  const topic = await shared.topic();
  const stream = shared.client.subscribe(topic, { heartbeatInterval: { nanos: 100_000_000 } });
  const events = reader(stream);
  const { positions } = await events.next('heartbeat');
  assert.deepEqual([positions[0].topic, positions[0].offset], [topic, '0']);
  await cancelled(stream, events);
});

test('positions are resolved', async () => {
  const topic = await shared.topic();
  for (const seconds of [100, 200]) {
    await shared.client.produce(topic, [{ timestamp: { seconds } }]);
  }
  const { offsets } = await call(shared.client.consumer, 'listOffsets', {
    queries: [
      { topic, partition: 0 }, // Earliest is the default.
      { topic, latest: {} }, // Without a partition: all of them.
      { topic, partition: 0, timestamp: { seconds: 150 } },
    ],
  });
  assert.deepEqual(
    offsets.map(({ offset }) => offset),
    ['0', '2', '1'],
  );
  assert.equal(offsets[2].timestamp.seconds, '200');
});

test('a slow reader loses nothing', async () => {
  const topic = await shared.topic();
  const batch = Array.from({ length: 10 }, () => ({ value: Buffer.alloc(100_000) }));
  for (let i = 0; i < 10; i += 1) await shared.client.produce(topic, batch);
  const stream = shared.client.subscribe(topic, { stop: CAUGHT_UP });
  const got = [];
  for await (const event of stream) {
    got.push(...offsets(recordsOf([event])));
    await sleep(20);
  }
  assert.deepEqual(got, Array.from({ length: 100 }, (_, i) => i));
});

test('a deadline ends the call and not the connection', async () => {
  const topic = await shared.topic();
  const stream = shared.client.subscribe(topic, {}, 0.3);
  await assert.rejects(all(stream), { details: /deadline/i, code: 4 });
  await shared.client.produce(topic, values('the channel goes on'));
});

test('a cancelled stream is over on the server too', async (t) => {
  const broker = await Broker.start();
  const client = new Client(broker.address);
  t.after(async () => {
    client.close();
    await broker.stop();
  });
  const stream = client.subscribe(await client.createTopic(shared.name()));
  const events = reader(stream);
  await events.next('started');
  assert.equal(await broker.metric('ropewalk_active_subscriptions'), 1);
  await cancelled(stream, events);
  const deadline = Date.now() + 1000;
  while ((await broker.metric('ropewalk_active_subscriptions')) !== 0) {
    assert(Date.now() < deadline);
    await sleep(20);
  }
});

// Ends a call, and checks that its reader is told so.
async function cancelled(stream, events) {
  stream.cancel();
  await assert.rejects(events.next('never'), { code: 1 });
}

test('an offset outside the log is refused', async () => {
  const topic = await shared.topic();
  await shared.client.produce(topic, values('a', 'b'));
  for (const offset of ['-1', '3', '9223372036854775807']) {
    const { ErrorInfo } = await refused(
      all(shared.client.subscribe(topic, { defaultStart: { offset } })),
      'OUT_OF_RANGE',
      'OFFSET_OUT_OF_RANGE',
    );
    assert.deepEqual([ErrorInfo.metadata.earliest, ErrorInfo.metadata.latest], ['0', '2']);
  }
});
