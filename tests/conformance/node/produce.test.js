// ProducerService: one batch a call, and many over a stream.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { all, batchesOf, bytes, call, detailsOf, reader, refused, values } from './client.js';
import { setup } from './setup.js';

const shared = setup();

// Keys and their murmur2, from the tests of Kafka's Java client.
const KAFKA_HASHES = {
  21: -973932308,
  foobar: -790332482,
  'a-little-bit-long-string': -985981536,
  'a-little-bit-longer-string': -1486304829,
  lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8: -58897971,
  abc: 479470107,
};

test('a batch goes to the partition that is given', async () => {
  const topic = await shared.topic(3);
  await shared.client.produce(topic, values('a', 'b'), { partition: 1 });
  const [append] = await shared.client.produce(topic, values('c'), { partition: 1 });
  assert.deepEqual([append.partition, append.baseOffset, append.recordCount], [1, '2', 1]);
  assert.equal(append.achieved, 'DURABILITY_QUORUM');
  assert.deepEqual(append.recordIndexes, []);
});

test('keys are placed as Kafka places them', async () => {
  const topic = await shared.topic(100);
  for (const [key, murmur2] of Object.entries(KAFKA_HASHES)) {
    const appends = await shared.client.produce(topic, [{ key: bytes(key) }]);
    assert.deepEqual(
      appends.map(({ partition }) => partition),
      [(murmur2 & 0x7fffffff) % 100],
    );
  }
});

test('a batch is split by key', async () => {
  const topic = await shared.topic(3);
  const keys = Object.keys(KAFKA_HASHES);
  const appends = await shared.client.produce(
    topic,
    keys.map((key) => ({ keyText: key })),
  );
  const placed = {};
  for (const { partition, baseOffset, recordIndexes } of appends) {
    recordIndexes.forEach((index, i) => {
      placed[keys[index]] = [partition, Number(baseOffset) + i];
    });
  }
  const read = await shared.client.read(topic);
  const got = read.map(({ key, partition, offset }) => [key.toString(), [partition, offset]]);
  assert.deepEqual(Object.fromEntries(got), placed);
});

test('absent and empty are different', async () => {
  const topic = await shared.topic();
  const empty = Buffer.alloc(0);
  await shared.client.produce(topic, [
    {},
    { value: empty },
    { key: empty },
    { key: bytes('k') }, // A tombstone.
    { key: bytes('k'), value: empty },
  ]);
  const got = await shared.client.read(topic);
  assert.deepEqual(
    got.map(({ key, value }) => [key?.toString(), value?.toString()]),
    [
      [undefined, undefined],
      [undefined, ''],
      ['', undefined],
      ['k', undefined],
      ['k', ''],
    ],
  );
});

test('headers keep their order and may repeat', async () => {
  const topic = await shared.topic();
  const headers = [
    { key: 'b', value: Buffer.from([0, 255]) },
    { key: 'a', value: bytes('1') },
    { key: 'b', text: 'ü' },
    { key: 'b' },
  ];
  await shared.client.produce(topic, [{ headers }]);
  const [got] = await shared.client.read(topic);
  assert.deepEqual(
    got.headers.map(({ key, value }) => [key, value?.toString('hex')]),
    [
      ['b', '00ff'],
      ['a', '31'],
      ['b', 'c3bc'],
      ['b', undefined],
    ],
  );
});

test('the largest record passes with the defaults of the library', async () => {
  const limit = 3_670_016;
  const topic = await shared.topic(1, { maxRecordBytes: limit });
  // In its encoded form a record with a value alone has a tag and four bytes of length before it.
  const value = Buffer.alloc(limit - 5, 1);
  await shared.client.produce(topic, [{ value }]);
  const [got] = await shared.client.read(topic);
  assert(got.value.equals(value));

  const larger = shared.client.produce(topic, [{ value: Buffer.alloc(limit - 4) }]);
  const { ErrorInfo } = await refused(larger, 'INVALID_ARGUMENT', 'RECORD_TOO_LARGE');
  assert.equal(ErrorInfo.metadata.limit, String(limit));
  assert.equal(ErrorInfo.metadata.actual, String(limit + 1));
});

test('an append can be conditional', async () => {
  const topic = await shared.topic();
  const condition = { partition: 0, expectedOffset: 0 };
  await shared.client.produce(topic, values('a'), condition);
  const late = shared.client.produce(topic, values('b'), condition);
  const { ErrorInfo } = await refused(late, 'ABORTED', 'EXPECTED_OFFSET_MISMATCH');
  assert.equal(ErrorInfo.metadata.current, '1');
});

test('a compressed batch is served as it is to those who accept it', async () => {
  const { client } = shared;
  const topic = await shared.topic();
  // A RecordSet with one record, whose value is "a", in its encoded form.
  const encoded = Buffer.from([0x0a, 0x03, 0x1a, 0x01, 0x61]);
  const compressed = gzipSync(encoded);
  await call(client.producer, 'produce', {
    topic,
    partition: 0,
    compressed,
    compression: 'COMPRESSION_GZIP',
    recordCount: 1,
  });
  const request = { stop: { caughtUp: {} }, acceptedCompressions: ['COMPRESSION_GZIP'] };
  const [batch] = batchesOf(await all(client.subscribe(topic, request)));
  assert.equal(batch.compression, 'COMPRESSION_GZIP');
  assert(gunzipSync(batch.compressed).equals(encoded));

  const [record] = await client.read(topic); // Who accepts nothing gets it decompressed.
  assert.equal(record.value.toString(), 'a');
});

test('a bad batch does not end a stream', async () => {
  const topic = await shared.topic();
  const stream = shared.client.producer.produceStream();
  const append = (correlation, records, partition = 0) =>
    stream.write({ correlation, request: { topic, partition, records: { records } } });
  append(10, values('a', 'b'));
  append(11, []); // An empty batch is refused.
  append(12, values('c'));
  append(13, values('d'), 7); // There is no partition 7.
  append(14, values('e'));
  stream.end(); // The server answers what is left, and ends the call with OK.

  const answers = Object.fromEntries((await all(stream)).map((a) => [a.correlation, a]));
  assert.deepEqual(Object.keys(answers), ['10', '11', '12', '13', '14']);
  const offset = (correlation) => answers[correlation].response?.appends[0].baseOffset;
  assert.deepEqual([offset(10), offset(12), offset(14)], ['0', '2', '3']);
  const reason = (correlation) => detailsOf(answers[correlation].status).ErrorInfo.reason;
  assert.deepEqual([reason(11), reason(13)], ['INVALID_FIELD', 'PARTITION_NOT_FOUND']);
});

test('answers come in order per partition', async () => {
  const topic = await shared.topic(3);
  const stream = shared.client.producer.produceStream();
  const count = 300;
  for (let i = 0; i < count; i += 1) {
    const request = { topic, partition: i % 3, records: { records: values(`${i}`) } };
    stream.write({ correlation: i, request });
  }
  stream.end();
  const answers = await all(stream);
  assert.equal(answers.length, count);
  for (const partition of [0, 1, 2]) {
    const mine = answers.filter(({ response }) => response.appends[0].partition === partition);
    assert.deepEqual(
      mine.map(({ correlation, response }) => [
        Number(correlation),
        Number(response.appends[0].baseOffset),
      ]),
      mine.map((_, i) => [3 * i + partition, i]),
    );
  }
});

test('an answer comes while the stream stays open', async () => {
  const topic = await shared.topic();
  const stream = shared.client.producer.produceStream();
  const answers = reader(stream);
  for (const offset of ['0', '1', '2']) {
    stream.write({ request: { topic, partition: 0, records: { records: values('a') } } });
    assert.equal((await answers.next()).response.appends[0].baseOffset, offset);
  }
  stream.end();
});
