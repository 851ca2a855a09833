// AdminService: topics, their settings, and the cluster.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { all, call, recordsOf, refused, text, values } from './client.js';
import { setup } from './setup.js';

const shared = setup();

test('a topic is created and described', async () => {
  const { client } = shared;
  const name = shared.name();
  const { topic } = await call(client.admin, 'createTopic', {
    name,
    partitionCount: 2,
    settings: { retention: { seconds: 3600 } },
  });
  assert.equal(topic.partitionCount, 2);
  assert.equal(topic.settings.retention.seconds, '3600');
  assert.equal(topic.settings.timestampType, 'TIMESTAMP_TYPE_CREATE');

  const described = await call(client.admin, 'getTopic', { name });
  assert.deepEqual(described.topic, topic);
  assert.deepEqual(
    described.partitions.map((p) => [p.partition, p.logStartOffset, p.highWatermark]),
    [
      [0, '0', '0'],
      [1, '0', '0'],
    ],
  );
});

test('a list is read page by page', async () => {
  const { client } = shared;
  const names = ['page.a', 'page.b', 'page.c'];
  for (const name of names) await client.createTopic(name);
  const pages = [];
  let pageToken = '';
  do {
    const request = { namePrefix: 'page.', pageSize: 2, pageToken };
    const page = await call(client.admin, 'listTopics', request);
    pages.push(page.topics.map((topic) => topic.name));
    pageToken = page.nextPageToken;
  } while (pageToken);
  assert.deepEqual(pages, [names.slice(0, 2), names.slice(2)]);
});

test('an update changes what its mask names', async () => {
  const { client } = shared;
  const name = await shared.topic(1, { retentionBytes: 5000, maxRecordBytes: 1000 });
  const { topic } = await call(client.admin, 'updateTopic', {
    topic: { name, partitionCount: 3, settings: { maxRecordBytes: 2000 } },
    updateMask: { paths: ['partition_count', 'settings.retention_bytes'] },
  });
  assert.equal(topic.partitionCount, 3);
  assert.equal(topic.settings.retentionBytes, '-1'); // Named and left out: the default again.
  assert.equal(topic.settings.maxRecordBytes, 1000); // Not named.
});

test('deleted records leave a gap', async () => {
  const { client } = shared;
  const topic = await shared.topic();
  await client.produce(topic, values('a', 'b', 'c'));
  const { partitions } = await call(client.admin, 'deleteRecords', {
    topic,
    targets: [{ partition: 0, beforeOffset: 2 }],
  });
  assert.deepEqual(partitions, [{ partition: 0, logStartOffset: '2' }]);

  const request = { defaultStart: { offset: 0 }, stop: { caughtUp: {} } };
  const events = await all(client.subscribe(topic, request));
  const gaps = events.filter(({ event }) => event === 'gap').map(({ gap }) => gap);
  assert.deepEqual(gaps, [
    { topic, partition: 0, fromOffset: '0', toOffset: '2', reason: 'REASON_DELETED' },
  ]);
  assert.deepEqual(
    recordsOf(events).map(({ offset, value }) => [offset, text(value)]),
    [[2, 'c']],
  );
});

test('a topic that is deleted is gone', async () => {
  const { client } = shared;
  const name = await shared.topic();
  await call(client.admin, 'deleteTopic', { name });
  const gone = call(client.admin, 'getTopic', { name });
  const { ResourceInfo } = await refused(gone, 'NOT_FOUND', 'TOPIC_NOT_FOUND');
  assert.equal(ResourceInfo.resourceName, name);
});

test('the cluster is described', async () => {
  const { client, broker } = shared;
  const cluster = await call(client.admin, 'getCluster', {});
  assert.deepEqual(
    cluster.brokers.map(({ address }) => address),
    [broker.address],
  );
  assert.equal(cluster.limits.maxPageSize, 1000);
});
