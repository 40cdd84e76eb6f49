// What this client's rules are for: answers of nodes that lie, or that alone say no. The lies are made of genuine answers and signed
// with the nodes' own identities, which a development cluster's directory holds.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { Refused, summary } from './cluster.mjs';
import { buildRequest, opensslVerifies, pack, restate, unpack } from './protocol.mjs';
import { check, demand } from './report.mjs';

/** `data` as its node would have sent it with another result, which `change` makes; a refusal as it is. */
function lie(data, seeds, change) {
  const envelope = unpack(data);
  const answer = unpack(envelope.answer);
  if (!answer.ok) return data;
  change(answer.result);
  const bytes = pack(answer);
  return pack({ ...envelope, answer: bytes, statement: restate(envelope.statement, bytes, seeds.get(envelope.node)) });
}

const flip = (bytes) => Buffer.from(bytes).map((byte, i) => (i === 0 ? byte ^ 1 : byte));

export async function liars(cluster, directory, { user, key, publicKey, newSign, keygenFields }) {
  const seeds = new Map(await Promise.all([...cluster.nodes.keys()].map(async (node) => [
    node, Buffer.from((await readFile(path.join(directory, node, 'identity.key'), 'utf8')).trim(), 'hex')])));
  const hear = Object.getPrototypeOf(cluster).hear.bind(cluster);
  const settled = (subject) => !cluster.waiting.has(subject);

  /** Runs `ask` while `between(subject, data)` decides what of the nodes' answers is heard. */
  async function through(between, ask) {
    cluster.hear = between;
    try {
      return await ask();
    } finally {
      delete cluster.hear;
    }
  }

  await check('one error alone settles nothing', async () => {
    const heard = new Map();
    let early = false;
    const problem = await through((subject, data) => {
      if (settled(subject)) return;  // the last request's third answer
      const { node } = unpack(data);
      // The first node says it again and again before a second is heard.
      for (let i = 0; heard.size === 0 && i < 3; i += 1) {
        hear(subject, data);
        early ||= settled(subject);
      }
      heard.set(node, true);
      if (heard.size > 1) hear(subject, data);
    }, () => cluster.sign(user, 'no-such-key', publicKey, Buffer.from('m'), newSign(Buffer.from('m'), { key: 'no-such-key' }))
      .then(() => { throw new Error('it was signed'); }, (error) => error));
    demand(!early, 'the first node was believed');
    demand(problem instanceof Refused && problem.error.name === 'unknown_key', `ended with ${problem.message}`);
    return `${problem.error.name} once ${cluster.errorsNeeded()} of ${cluster.nodes.size} nodes said so`;
  });

  await check('the most frequent error is reported, and what may have executed', async () => {
    const error = (name, executed) => ({ name, message: name, may_have_executed: executed });
    const told = summary([error('peer_timeout', true), error('unknown_key', false), error('unknown_key', false)]);
    demand(told.name === 'unknown_key' && told.may_have_executed, JSON.stringify(told));
    demand(!summary([error('unknown_key', false)]).may_have_executed, 'nothing executed');
    return told.name;
  });

  await check('an altered signature is passed over', async () => {
    const message = randomBytes(32);
    let liar;
    let believed = false;
    const { value, node } = await through((subject, data) => {
      if (settled(subject)) return;  // an answer to the last request, or one that comes twice
      const from = unpack(data).node;
      liar ??= from;
      if (from === liar) {
        hear(subject, lie(data, seeds, (result) => { result.signature = flip(result.signature); }));
        believed ||= settled(subject);
        return;
      }
      hear(subject, data);
    }, () => cluster.sign(user, key, publicKey, message, newSign(message)));
    demand(!believed && node !== liar, `${liar} was believed`);
    demand(opensslVerifies(publicKey, message, value), 'OpenSSL refuses the signature');
    return `${liar} lied, ${node} was believed`;
  });

  await check('a key without every acknowledgement is not taken', async () => {
    const lies = {
      'one missing': (result) => result.acknowledgements.pop(),
      'one altered': (result) => { result.acknowledgements[0].signature = flip(result.acknowledgements[0].signature); },
      'one twice': (result) => { result.acknowledgements[1] = result.acknowledgements[0]; },
      'one too many': (result) => result.acknowledgements.push(result.acknowledgements[0]),
    };
    const believed = [];
    const request = buildRequest(cluster.initiator, cluster.name, keygenFields('of-liars'));
    const { value } = await through((subject, data) => {
      if (settled(subject)) return;
      for (const [name, change] of Object.entries(lies)) {
        hear(subject, lie(data, seeds, change));
        if (settled(subject)) {
          believed.push(name);
          return;
        }
      }
      hear(subject, data);
    }, () => cluster.keygen(user, 'of-liars', request));
    demand(believed.length === 0, `taken with ${believed}`);
    return `refused with ${Object.keys(lies).join(', ')}; taken as it was: ${value.toString('hex').slice(0, 16)}`;
  });
}
