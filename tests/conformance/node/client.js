// The stubs, made from proto/ when a test starts, and what every test does with them.
//
// Nothing here is needed to use Ropewalk from Node: it is what one would write around plain stubs.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const definition = loadSync(
  [
    'ropewalk/v1/admin.proto',
    'ropewalk/v1/consumer.proto',
    'ropewalk/v1/producer.proto',
    'google/rpc/error_details.proto',
    'google/rpc/status.proto',
  ],
  {
    includeDirs: [here('../../../proto'), here('protos')],
    // Offsets are 64 bits wide and a number of JavaScript holds 53: they come as strings.
    longs: String,
    enums: String,
    // A field that is not `optional` and was left out has its default; one that is stays absent.
    defaults: true,
    // `event.event` then says which field of the oneof is set.
    oneofs: true,
  },
);
const { v1 } = grpc.loadPackageDefinition(definition).ropewalk;

// What the services have, by method.
export const services = () =>
  Object.values(v1)
    .filter(({ service }) => service)
    .map(({ service }) => service);

const SECONDS_FOR_A_CALL = 30;

export class Client {
  constructor(address, options = {}) {
    const credentials = grpc.credentials.createInsecure();
    this.admin = new v1.AdminService(address, credentials, options);
    this.producer = new v1.ProducerService(address, credentials, options);
    this.consumer = new v1.ConsumerService(address, credentials, options);
  }

  close() {
    for (const stub of [this.admin, this.producer, this.consumer]) stub.close();
  }

  async createTopic(name, partitionCount = 1, settings = {}) {
    await call(this.admin, 'createTopic', { name, partitionCount, settings });
    return name;
  }

  // Appends one batch. Without `partition` the broker places the records.
  async produce(topic, records, fields = {}) {
    const request = { topic, records: { records }, ...fields };
    return (await call(this.producer, 'produce', request)).appends;
  }

  // The events of a topic: a stream, which `for await` reads.
  subscribe(topic, fields = {}, seconds = SECONDS_FOR_A_CALL) {
    const request = { topics: [{ name: topic }], ...fields };
    return this.consumer.subscribe(request, { deadline: inSeconds(seconds) });
  }

  // What a topic holds now, in the order of delivery.
  async read(topic, fields = {}) {
    return recordsOf(await all(this.subscribe(topic, { stop: { caughtUp: {} }, ...fields })));
  }
}

export const inSeconds = (seconds) => new Date(Date.now() + seconds * 1000);

// A unary call as a promise.
export function call(stub, method, request) {
  return new Promise((resolve, reject) => {
    stub[method](request, { deadline: inSeconds(SECONDS_FOR_A_CALL) }, (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
}

// The messages of a stream, until it ends.
export async function all(stream) {
  const messages = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

// The next messages of a stream, one at a time, without ending it. `for await` would end the call when
// it is left.
export function reader(stream) {
  const iterator = stream[Symbol.asyncIterator]();
  return {
    async next(kind) {
      for (;;) {
        const { value, done } = await iterator.next();
        assert(!done, 'the stream ended');
        if (kind === undefined || value.event === kind) return value[kind] ?? value;
      }
    },
  };
}

export const batchesOf = (events) =>
  events.filter(({ event }) => event === 'batch').map(({ batch }) => batch);

export const recordsOf = (events) =>
  batchesOf(events).flatMap(({ partition, baseOffset, records }) =>
    records.records.map((record, i) => ({
      partition,
      offset: Number(baseOffset) + i,
      ...record,
    })),
  );

export const text = (bytes) => bytes.toString('utf8');
export const bytes = (string) => Buffer.from(string);
export const values = (...strings) => strings.map((string) => ({ value: bytes(string) }));

const decode = (type, buffer) => definition[type].deserialize(buffer);

// The details of a google.rpc.Status, by the name of their type.
export function detailsOf(status) {
  const details = status.details.map(({ type_url: url, value }) => {
    const type = url.split('/').at(-1);
    return [type.split('.').at(-1), decode(type, value)];
  });
  return Object.fromEntries(details);
}

// Checks that a call fails with this code, and this reason in its details, which it gives.
export async function refused(promise, code, reason) {
  const error = await promise.then(
    () => assert.fail('the call went well'),
    (error) => error,
  );
  assert.equal(grpc.status[error.code], code, error.message);
  const [trailer] = error.metadata.get('grpc-status-details-bin');
  const status = decode('google.rpc.Status', trailer);
  assert.equal(status.code, error.code);
  const details = detailsOf(status);
  assert.equal(details.ErrorInfo.reason, reason);
  assert.equal(details.ErrorInfo.domain, 'ropewalk.v1');
  return details;
}
