// node steady.mjs DIR [CONCURRENCY [SCHEME…]]: makes a key of each scheme (ed25519, unless told otherwise), then signs one
// message after another on the cluster in DIR until its standard input ends, as a client does that knows nothing of what
// happens to the nodes meanwhile. CONCURRENCY requests are under way at a time, at least one for each scheme. Prints "ready"
// once each key has signed, and at the end one JSON line: how many requests, how many failed and why, and how long they
// took, for each scheme.
import { randomBytes } from 'node:crypto';
import { Cluster } from './cluster.mjs';
import { buildRequest, ecdsaVerifies, opensslVerifies } from './protocol.mjs';

const [directory, concurrency = '4', ...schemes] = process.argv.slice(2);
if (!directory) {
  console.error('usage: node steady.mjs DIR [CONCURRENCY [SCHEME…]]');
  process.exit(2);
}
if (schemes.length === 0) schemes.push('ed25519');
const cluster = await Cluster.open(directory);
const user = `steady-${randomBytes(6).toString('hex')}`;

/** One key, and what became of its requests. */
class Signer {
  constructor(scheme) {
    Object.assign(this, { scheme, key: scheme, times: [], failures: [] });
  }

  async begin() {
    const { value } = await cluster.keygenRecord(user, this.key, buildRequest(cluster.initiator, cluster.name, {
      op: 'keygen', user, key: this.key, scheme: this.scheme, threshold: cluster.threshold,
      participants: [...cluster.nodes.keys()].sort(),
    }), this.scheme);
    this.publicKey = Buffer.from(value.public_key);
    await this.signOne();
  }

  async signOne() {
    const message = randomBytes(32);  // to ECDSA, a digest
    const { key, scheme, publicKey } = this;
    const begin = performance.now();
    try {
      const request = buildRequest(cluster.initiator, cluster.name, { op: 'sign', user, key, scheme, message });
      const [ask, holds] = scheme === 'ed25519' ? ['sign', opensslVerifies] : ['signEcdsa', ecdsaVerifies];
      const { value } = await cluster[ask](user, key, publicKey, message, request);
      if (!holds(publicKey, message, value)) throw new Error('the signature does not verify');
    } catch (problem) {
      this.failures.push(problem.message);
    }
    this.times.push(performance.now() - begin);
  }

  report() {
    const times = this.times.sort((a, b) => a - b);
    const at = (part) => Number(times[Math.min(times.length - 1, Math.floor(times.length * part))].toFixed(1));
    return {
      requests: times.length, failed: this.failures.length, failures: this.failures.slice(0, 5),
      p50_ms: at(0.5), p99_ms: at(0.99), slowest_ms: at(1),
    };
  }
}

const signers = schemes.map((scheme) => new Signer(scheme));
for (const signer of signers) await signer.begin();
console.log('ready');

let ended = false;
process.stdin.on('end', () => { ended = true; }).resume();
await Promise.all(Array.from({ length: Math.max(Number(concurrency), signers.length) }, async (_, i) => {
  while (!ended) await signers[i % signers.length].signOne();
}));
console.log(JSON.stringify(Object.fromEntries(signers.map((signer) => [signer.scheme, signer.report()]))));
await cluster.close();
process.exit(signers.every(({ failures }) => failures.length === 0) ? 0 : 1);
