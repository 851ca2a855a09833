// What a file of tests shares: one broker, one client, and names that nothing else uses.

import { after, before } from 'node:test';
import { Broker } from './broker.js';
import { Client } from './client.js';

export function setup() {
  const shared = {};
  let number = 0;
  before(async () => {
    shared.broker = await Broker.start();
    shared.client = new Client(shared.broker.address);
  });
  after(async () => {
    shared.client?.close();
    await shared.broker?.stop();
  });
  shared.name = () => `name-${(number += 1)}`;
  shared.topic = (partitions = 1, settings = {}) =>
    shared.client.createTopic(shared.name(), partitions, settings);
  return shared;
}
