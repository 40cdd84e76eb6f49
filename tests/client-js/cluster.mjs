// A client of a cluster over NATS: publishes signed requests with a reply inbox and decides what to
// believe. The first answer whose contents verify settles a request; an error counts only once
// n − t + 1 nodes have signed errors, since then no t are left that could succeed.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { connect, createInbox, credsAuthenticator } from 'nats';
import {
  Initiator, acknowledgementHolds, answerDigest, ecdsaVerifies, equal, gatewayKey, opensslVerifies, pack, sessionId,
  statementHolds, unpack, verifies,
} from './protocol.mjs';

/** Refusals of a node that has not tried: the same bytes may be taken a moment later. */
const NOT_NOW = new Set(['rate_limited', 'overloaded', 'shutting_down']);

export class Refused extends Error {
  constructor(error, milliseconds) {
    super(`${error.name}: ${error.message}`);
    this.error = error;
    this.milliseconds = milliseconds;
  }
}

/** What to report of several nodes' errors: the most frequent; it may have executed if any of them says so. */
export function summary(errors) {
  const count = (name) => errors.filter((error) => error.name === name).length;
  const common = errors.reduce((best, error) => (count(error.name) > count(best.name) ? error : best));
  return { ...common, may_have_executed: errors.some((error) => error.may_have_executed) };
}

/** Below this are the only inboxes that these credentials may hear: it ends with their own public key. */
export function inboxOf(credentials) {
  const [, jwt] = /-----BEGIN NATS USER JWT-----\s+(\S+)/.exec(credentials.toString('utf8'));
  return `_INBOX.${JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url')).sub}`;
}

export class Cluster {
  /** Connects to the development cluster whose files are in `directory`. */
  static async open(directory) {
    const facts = JSON.parse(await readFile(path.join(directory, 'cluster.json'), 'utf8'));
    const credentials = await readFile(path.join(directory, 'client.creds'));
    const seed = (await readFile(path.join(directory, 'initiator.key'), 'utf8')).trim();
    const self = new Cluster();
    self.name = facts.cluster;
    self.threshold = facts.threshold;
    self.nodes = new Map(facts.nodes.map(({ node, identity }) => [node, Buffer.from(identity, 'hex')]));
    self.initiator = new Initiator(Buffer.from(seed, 'hex'));
    const inboxPrefix = inboxOf(credentials);
    self.connection = await connect({ servers: facts.url, authenticator: credsAuthenticator(credentials), inboxPrefix });
    self.inbox = createInbox(inboxPrefix);
    self.waiting = new Map();
    self.counter = 0;
    // One subscription for all requests; the last token says which one an answer belongs to.
    self.connection.subscribe(`${self.inbox}.*`, {
      callback: (failure, message) => {
        if (!failure) self.hear(message.subject, message.data);
      },
    });
    await self.connection.flush();
    return self;
  }

  /** An answer has come; whose and how good is judged by who waits for it. */
  hear(subject, data) {
    this.waiting.get(subject)?.(data);
  }

  async close() {
    await this.connection.drain();
  }

  /**
   * Publishes `payload` and applies the rules.
   * @param payload   what goes on the wire
   * @param expected  {session, user, errorsNeeded, check(answer) → value or throws}
   * Resolves to {value, node, milliseconds}; rejects with Refused, or with a plain Error at the deadline.
   */
  ask(payload, expected, { deadline = 20_000, again = 500 } = {}) {
    const reply = `${this.inbox}.${this.counter += 1}`;
    const subject = `cosigner.${this.name}.request`;
    const errors = new Map();
    const rejected = [];
    const begin = performance.now();
    return new Promise((resolve, reject) => {
      // The same request again is the same session, so publishing it again is harmless; it covers the
      // moment in which this inbox is not yet known to every server.
      const repeat = setInterval(() => {
        // A node that would not begin is asked anew: what it said belongs to a moment that is over. Two nodes that restart
        // one after another would otherwise add up, though never two were away at once.
        for (const [node, { name }] of errors) if (NOT_NOW.has(name)) errors.delete(node);
        this.connection.publish(subject, payload, { reply });
      }, again);
      const timer = setTimeout(() => {
        finish(() => reject(new Error(`no decisive answer within ${deadline} ms; errors: ${
          JSON.stringify([...errors])}; rejected: ${rejected.slice(-3).join('; ')}`)));
      }, deadline);
      const finish = (settle) => {
        clearInterval(repeat);
        clearTimeout(timer);
        this.waiting.delete(reply);
        settle();
      };
      this.waiting.set(reply, (data) => {
        try {
          const { node, answer, certain } = this.authenticate(data, expected);
          const milliseconds = performance.now() - begin;
          if (answer.ok) {
            if (!certain) throw new Error('a gateway can refuse but not succeed');
            const value = expected.check(answer);
            finish(() => resolve({ value, node, milliseconds }));
            return;
          }
          errors.set(node, answer.error);
          if (errors.size >= expected.errorsNeeded) {
            finish(() => reject(new Refused(summary([...errors.values()]), milliseconds)));
          }
        } catch (problem) {
          rejected.push(problem.message);  // whoever sent it, it proves nothing
        }
      });
      this.connection.publish(subject, payload, { reply });
    });
  }

  /** Who says this? Throws unless a node of the cluster stands behind it, for this very session. */
  authenticate(data, { session, user }) {
    const envelope = unpack(data);
    const identity = this.nodes.get(envelope.node);
    if (!identity) throw new Error(`unknown node ${envelope.node}`);
    const certain = envelope.statement !== undefined;
    if (certain) {
      const known = { cluster: this.name, node: envelope.node, user, session, answer: envelope.answer, identity };
      if (!statementHolds(envelope.statement, known)) throw new Error(`${envelope.node}: bad statement`);
    } else {
      const key = gatewayKey(envelope.certificate, { cluster: this.name, node: envelope.node, identity });
      if (!key || !opensslVerifies(key, answerDigest(envelope.answer), envelope.signature)) {
        throw new Error(`${envelope.node}: bad gateway signature`);
      }
    }
    const answer = unpack(envelope.answer);
    if (answer.version !== 1 || !equal(answer.session, session)) throw new Error(`${envelope.node}: another session`);
    return { node: envelope.node, answer, certain };
  }

  errorsNeeded(nodes = this.nodes.size, threshold = this.threshold) {
    return nodes - threshold + 1;
  }

  /** Makes an Ed25519 key on all nodes; its public key is the value. */
  async keygen(user, key, request) {
    const { value, ...rest } = await this.keygenRecord(user, key, request, 'ed25519');
    return { value: Buffer.from(value.public_key), ...rest };
  }

  /** Makes a key on all nodes. Its record is taken only on every participant's signed statement. */
  async keygenRecord(user, key, request, scheme) {
    const participants = [...this.nodes.keys()].sort();
    const session = sessionId(request);
    const expected = {
      session,
      user,
      errorsNeeded: this.errorsNeeded(),
      check: ({ op, result }) => {
        if (op !== 'keygen') throw new Error('a result of another operation');
        const record = unpack(result.record);
        const fits = record.cluster === this.name && record.user === user && record.key === key
          && record.scheme === scheme && record.threshold === this.threshold
          && equal(record.session, session) && equal(record.public_key, result.public_key)
          && JSON.stringify(record.participants) === JSON.stringify(participants.map((node, i) => [i + 1, node]));
        if (!fits) throw new Error('the record is not of the key that was asked for');
        const signed = new Set(result.acknowledgements.map((entry) => entry.node));
        for (const node of participants) {
          const entry = result.acknowledgements.find((item) => item.node === node);
          if (!entry || !acknowledgementHolds(record, result.record, entry, this.nodes.get(node))) {
            throw new Error(`no valid acknowledgement of ${node}`);
          }
        }
        if (signed.size !== participants.length || result.acknowledgements.length !== participants.length) {
          throw new Error('not exactly one acknowledgement of each participant');
        }
        return record;
      },
    };
    return this.ask(pack(this.initiator.envelope(request)), expected, { deadline: 60_000 });
  }

  /** Signs with Ed25519; takes the first signature that verifies under the key that keygen returned. */
  async sign(user, key, publicKey, message, request, options) {
    return this.signWith(user, key, request, (result) => verifies(publicKey, message, result.signature), options);
  }

  /** Signs a digest; `publicKey` is the key of the record, or derived from it along the request's path. */
  async signEcdsa(user, key, publicKey, digest, request, options) {
    return this.signWith(user, key, request, (result) => equal(result.public_key, publicKey)
      && result.signature.length === 65 && ecdsaVerifies(publicKey, digest, result.signature), options);
  }

  async signWith(user, key, request, holds, options) {
    const expected = {
      session: sessionId(request),
      user,
      errorsNeeded: this.errorsNeeded(),
      check: ({ op, user: answered, key: name, result }) => {
        if (op !== 'sign' || answered !== user || name !== key) throw new Error('a result of another request');
        if (!holds(result)) throw new Error('the signature does not verify');
        return Buffer.from(result.signature);
      },
    };
    return this.ask(pack(this.initiator.envelope(request)), expected, options);
  }
}
