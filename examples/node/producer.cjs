// Appends lines to a partition, each once, whatever happens in between: with nothing but stubs. A batch
// that was sent and not answered is sent again under the same number. The broker appends it once, and
// answers as the first time. What it needs is installed as for hello.cjs.
//
//     node producer.cjs ADDRESS TOPIC PARTITION < LINES

const path = require('node:path');
const { createInterface } = require('node:readline');
const { setTimeout: pause } = require('node:timers/promises');
const { promisify } = require('node:util');
const grpc = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');

const [address, topic, partition] = process.argv.slice(2);

const definition = loadSync(['ropewalk/v1/producer.proto'], {
  includeDirs: [path.join(__dirname, '../../proto')],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { v1 } = grpc.loadPackageDefinition(definition).ropewalk;
const producer = new v1.ProducerService(address, grpc.credentials.createInsecure());
const initProducer = promisify(producer.initProducer.bind(producer));
const produce = (request) =>
  new Promise((resolve, reject) => {
    const deadline = new Date(Date.now() + 5_000);
    producer.produce(request, { deadline }, (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });

// After these, a batch is there or is not. Any other error says that it is not.
const UNSURE = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED];

async function main() {
  // With a name, a program that is started again has the same id, and fences its former self.
  const { producerId, epoch } = await initProducer({});
  let number = 0; // how many records were sent to the partition: batches are numbered by their first

  // Sends a batch until it is answered.
  async function append(texts) {
    const sequence = { producerId, epoch, firstSequence: number };
    const records = texts.map((text) => ({ text }));
    for (;;) {
      try {
        const { appends } = await produce({ topic, partition, records: { records }, sequence });
        number += texts.length;
        return appends[0];
      } catch (error) {
        if (!UNSURE.includes(error.code)) throw error;
        await pause(100);
      }
    }
  }

  for await (const line of createInterface({ input: process.stdin })) {
    const { baseOffset, duplicate } = await append([line]);
    console.log(`${partition}:${baseOffset}${duplicate ? ', which it was before' : ''}`);
  }
  producer.close();
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
