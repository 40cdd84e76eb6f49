// node client.mjs DIR: makes a key and signs on the development cluster in DIR, then sends it what no
// node may accept. Prints one line for each check; ends with 1 if one of them failed.
import { randomBytes } from 'node:crypto';
import { Cluster, Refused } from './cluster.mjs';
import { Initiator, buildRequest, opensslVerifies, pack, sessionId } from './protocol.mjs';
import { liars } from './liars.mjs';
import { check, demand, finish, ms } from './report.mjs';

/**
 * Refusals must come within this, and how often each is measured. The fastest counts: client, nodes and broker share
 * the machine's cores, so what makes the others slower is the load, not the cluster. All are printed.
 */
const LIMIT_MS = Number(process.env.COSIGNER_ERROR_LIMIT_MS ?? 50);
const ROUNDS = 5;

const directory = process.argv[2];
if (!directory) {
  console.error('usage: node client.mjs DIR   (DIR: as given to cosigner-devcluster up)');
  process.exit(2);
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const cluster = await Cluster.open(directory);
const user = `js-${randomBytes(6).toString('hex')}`;
const key = 'main';
let publicKey;

const signFields = (message, more = {}) => ({ op: 'sign', user, key, message, ...more });
const newSign = (message, more) => buildRequest(cluster.initiator, cluster.name, signFields(message, more));
const keygenFields = (name) => ({
  op: 'keygen', user, key: name, threshold: cluster.threshold, participants: [...cluster.nodes.keys()].sort(),
});
const validSign = async () => {
  const message = randomBytes(32);
  const { value, milliseconds } = await cluster.sign(user, key, publicKey, message, newSign(message));
  demand(opensslVerifies(publicKey, message, value), 'OpenSSL refuses a signature');
  return milliseconds;
};

await check('keygen', async () => {
  const request = buildRequest(cluster.initiator, cluster.name, keygenFields(key));
  const { value, node, milliseconds } = await cluster.keygen(user, key, request);
  publicKey = value;
  return `public key ${value.toString('hex')}, acknowledged by all ${cluster.nodes.size} nodes, told by ${node}, ${
    ms(milliseconds)}`;
});
if (!publicKey) {
  await cluster.close();
  finish();
}

for (const [name, message] of [
  ['empty message', Buffer.alloc(0)],
  ['zero bytes', Buffer.alloc(32)],
  ['leading zeros', Buffer.concat([Buffer.alloc(5), Buffer.from('text')])],
  ['64 KiB', randomBytes(64 << 10)],
]) {
  await check(`sign, ${name}`, async () => {
    const { value, node, milliseconds } = await cluster.sign(user, key, publicKey, message, newSign(message));
    demand(opensslVerifies(publicKey, message, value), 'OpenSSL refuses the signature');
    return `verified twice, told by ${node}, ${ms(milliseconds)}`;
  });
}

await check('the same request again', async () => {
  const message = Buffer.from('once');
  const request = newSign(message);
  const first = await cluster.sign(user, key, publicKey, message, request);
  await new Promise((resolve) => setTimeout(resolve, 200)); // signatures are stored in groups, after at most 50 ms
  const second = await cluster.sign(user, key, publicKey, message, request);
  demand(opensslVerifies(publicKey, message, second.value), 'OpenSSL refuses the second answer');
  return `answered again, ${first.value.equals(second.value) ? 'the same' : 'another valid'} signature, ${
    ms(second.milliseconds)}`;
});

await check('32 signatures at once', async () => {
  const times = await Promise.all(Array.from({ length: 32 }, validSign));
  return `all verified, slowest ${ms(Math.max(...times))}`;
});

await check('a second key of that name', async () => {
  const request = buildRequest(cluster.initiator, cluster.name, keygenFields(key));
  const refusal = await refused(() => cluster.keygen(user, key, request));
  demand(refusal.error.name === 'already_exists', `expected already_exists, got ${refusal.message}`);
  return `${refusal.error.name}, ${ms(refusal.milliseconds)}`;
});

async function refused(ask) {
  try {
    await ask();
  } catch (problem) {
    if (problem instanceof Refused) return problem;
    throw problem;
  }
  throw new Error('it was accepted');
}

// What the client may not believe: nodes that lie, with their own genuine signatures.
await liars(cluster, directory, { user, key, publicKey, newSign, keygenFields });

// What no node may accept. Each maker returns {payload, session}: what is sent, and which session the
// refusals will name.
const sealed = (request, initiator = cluster.initiator) => ({
  payload: pack(initiator.envelope(request)), session: sessionId(request),
});
const stranger = new Initiator(randomBytes(32));
const used = { id: randomBytes(16) };
const refusals = [
  ['a byte altered', 'unauthorized', () => {
    const envelope = cluster.initiator.envelope(newSign(Buffer.from('pay alice 10')));
    const request = Buffer.from(envelope.request);
    request[request.indexOf('10', request.indexOf('pay alice'))] = '9'.charCodeAt(0);
    return { payload: pack({ ...envelope, request }), session: sessionId(request) };
  }],
  ['an unknown initiator', 'unauthorized', () => sealed(
    buildRequest(stranger, cluster.name, signFields(randomBytes(32))), stranger)],
  ['a stranger in a known initiator\'s name', 'unauthorized', () => sealed(newSign(randomBytes(32)), stranger)],
  ['expired', 'expired', () => sealed(newSign(randomBytes(32), {
    issued_at: Date.now() - 120_000, expires_at: Date.now() - 60_000,
  }))],
  ['an id used before, other content', 'replayed', () => sealed(newSign(randomBytes(32), used))],
  ['another cluster', 'bad_request', () => sealed(
    buildRequest(cluster.initiator, 'elsewhere', signFields(randomBytes(32))))],
  ['oversized', 'bad_request', () => sealed(newSign(randomBytes((2 << 20) + 1)))],
  ['not msgpack', 'bad_request', () => {
    const payload = Buffer.concat([Buffer.from([0xc1]), randomBytes(200)]);
    return { payload, session: sessionId(payload) };
  }],
  ['an unknown field', 'bad_request', () => sealed(newSign(randomBytes(32), { colour: 'blue' }))],
  ['an unknown user', ['unknown_user', 'unknown_key'], () => sealed(newSign(randomBytes(32), { user: `${user}-not` }))],
  ['an unknown key', ['unknown_key'], () => sealed(newSign(randomBytes(32), { key: 'other' }))],
];

await check('an id is used', async () => {
  const message = randomBytes(32);
  const { milliseconds } = await cluster.sign(user, key, publicKey, message, newSign(message, used));
  return ms(milliseconds);
});

const timed = new Set(['unauthorized', 'expired', 'replayed', 'bad_request']);
for (const [name, wanted, make] of refusals) {
  await check(`refused: ${name}`, async () => {
    const names = [wanted].flat();
    const times = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const { payload, session } = make();
      // A valid request goes along with each refusal: it must not notice.
      const valid = validSign();
      const refusal = await refused(() => cluster.ask(payload, {
        session,
        user: name === 'an unknown user' ? `${user}-not` : user,
        errorsNeeded: cluster.errorsNeeded(),
        check: () => 'success',
      }));
      demand(names.includes(refusal.error.name), `expected ${names.join(' or ')}, got ${refusal.message}`);
      demand(refusal.error.may_have_executed === false, 'it claims that it may have executed');
      times.push(refusal.milliseconds);
      await valid;
    }
    const fastest = Math.min(...times);
    demand(!timed.has(names[0]) || fastest <= LIMIT_MS,
      `${names[0]}, but only after ${ms(fastest)} (limit ${LIMIT_MS} ms)`);
    return `${names[0]}, fastest ${ms(fastest)}, median ${ms(median(times))}, slowest of ${ROUNDS} ${
      ms(Math.max(...times))}`;
  });
}

await cluster.close();
finish();
