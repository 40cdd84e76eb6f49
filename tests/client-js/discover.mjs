// Service discovery by the services client of npm's nats, as `nats micro ls` does it: every node of the cluster is seen,
// with its metadata and its statistics. usage: discover.mjs DIRECTORY-OF-THE-CLUSTER NODES
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { connect, credsAuthenticator } from 'nats';
import { inboxOf } from './cluster.mjs';

const [directory, count] = process.argv.slice(2);
const facts = JSON.parse(await readFile(path.join(directory, 'cluster.json'), 'utf8'));
const credentials = await readFile(path.join(directory, 'client.creds'));
const connection = await connect({
  servers: facts.url, authenticator: credsAuthenticator(credentials), inboxPrefix: inboxOf(credentials),
});
const client = connection.services.client({ strategy: 'count', maxMessages: Number(count), maxWait: 5000 });

async function all(answers) {
  const found = [];
  for await (const answer of await answers) found.push(answer);
  return found.sort((a, b) => (a.metadata.node < b.metadata.node ? -1 : 1));
}
const services = {
  ping: await all(client.ping('cosigner')),
  info: await all(client.info('cosigner')),
  stats: await all(client.stats('cosigner')),
};
const one = services.ping[0];
services.by_id = await all(connection.services.client({ strategy: 'count', maxMessages: 1, maxWait: 5000 })
  .ping(one.name, one.id));
console.log(JSON.stringify(services));
await connection.close();
