// Appends three records and reads the topic back, with nothing but stubs that are made from proto/
// when the program starts.
//
// In this folder:
//
//     npm install @grpc/grpc-js @grpc/proto-loader
//     node hello.cjs

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');

const address = process.argv[2] ?? 'localhost:9092';
const topic = 'node-example';

const definition = loadSync(['ropewalk/v1/producer.proto', 'ropewalk/v1/consumer.proto'], {
  includeDirs: [path.join(__dirname, '../../proto')],
  // Offsets are 64 bits wide, and a number of JavaScript holds 53.
  longs: String,
  enums: String,
  defaults: true,
  // `event.event` then says which field of the oneof is set.
  oneofs: true,
});
const { v1 } = grpc.loadPackageDefinition(definition).ropewalk;
const credentials = grpc.credentials.createInsecure();
const producer = new v1.ProducerService(address, credentials);
const consumer = new v1.ConsumerService(address, credentials);

function produce(request) {
  return new Promise((resolve, reject) => {
    producer.produce(request, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

async function main() {
  // The topic is created by its first record. Without a partition the broker places each record:
  // those of one key go to one partition, and keep their order there.
  const records = ['apple', 'pear', 'plum'].map((name) => ({ keyText: 'fruit', text: name }));
  const { appends } = await produce({ topic, records: { records } });
  for (const { partition, baseOffset } of appends) {
    console.log(`partition ${partition}, from offset ${baseOffset}`);
  }

  // From the earliest record, and to the end when the stream began. Without `stop` it would go on.
  const events = consumer.subscribe({
    topics: [{ name: topic }],
    defaultStart: { earliest: {} },
    stop: { caughtUp: {} },
    // Values that are UTF-8 come as text; without it, all come as bytes.
    text: true,
  });
  for await (const { event, batch } of events) {
    // The first event says where reading starts; records come in batches.
    if (event !== 'batch') continue;
    batch.records.records.forEach(({ keyText, text }, i) => {
      console.log(`${batch.partition}:${BigInt(batch.baseOffset) + BigInt(i)} ${keyText}=${text}`);
    });
  }
  producer.close();
  consumer.close();
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
