// node steady.mjs DIR [CONCURRENCY]: makes a key, then signs one message after another on the cluster in DIR until its
// standard input ends, as a client does that knows nothing of what happens to the nodes meanwhile. Prints "ready" once
// the first signature is there, and at the end one JSON line: how many requests, how many failed and why, and how long
// they took.
import { randomBytes } from 'node:crypto';
import { Cluster } from './cluster.mjs';
import { buildRequest, opensslVerifies } from './protocol.mjs';

const [directory, concurrency = '4'] = process.argv.slice(2);
if (!directory) {
  console.error('usage: node steady.mjs DIR [CONCURRENCY]');
  process.exit(2);
}
const cluster = await Cluster.open(directory);
const user = `steady-${randomBytes(6).toString('hex')}`;
const key = 'main';
const { value: publicKey } = await cluster.keygen(user, key, buildRequest(cluster.initiator, cluster.name, {
  op: 'keygen', user, key, threshold: cluster.threshold, participants: [...cluster.nodes.keys()].sort(),
}));

const times = [];
const failures = [];
async function signOne() {
  const message = randomBytes(32);
  const begin = performance.now();
  try {
    const request = buildRequest(cluster.initiator, cluster.name, { op: 'sign', user, key, message });
    const { value } = await cluster.sign(user, key, publicKey, message, request);
    if (!opensslVerifies(publicKey, message, value)) throw new Error('OpenSSL refuses a signature');
  } catch (problem) {
    failures.push(problem.message);
  }
  times.push(performance.now() - begin);
}
await signOne();
console.log('ready');

let ended = false;
process.stdin.on('end', () => { ended = true; }).resume();
await Promise.all(Array.from({ length: Number(concurrency) }, async () => {
  while (!ended) await signOne();
}));
times.sort((a, b) => a - b);
const at = (part) => Number(times[Math.min(times.length - 1, Math.floor(times.length * part))].toFixed(1));
console.log(JSON.stringify({
  requests: times.length, failed: failures.length, failures: failures.slice(0, 5),
  p50_ms: at(0.5), p99_ms: at(0.99), slowest_ms: at(1),
}));
await cluster.close();
process.exit(failures.length === 0 ? 0 : 1);
