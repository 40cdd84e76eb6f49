// The wire formats of a cosigner cluster as a client sees them: tagged hashes, requests, statements,
// certificates. Written from their description, not from the cluster's code.
import { createHash, createPublicKey, randomBytes, verify as verifyByOpenssl } from 'node:crypto';
import { decode, encode } from '@msgpack/msgpack';
import { ed25519 } from '@noble/curves/ed25519';
import { secp256k1 } from '@noble/curves/secp256k1';

const sha256 = (...parts) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const utf8 = (text) => Buffer.from(text, 'utf8');
const u32 = (value) => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
};
const u64 = (value) => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
};
const u8 = (value) => Buffer.from([value]);

/** H(tag; parts…): SHA-256 over SHA256(tag) twice, then each part with its length (u32, big endian). */
export function taggedHash(tag, ...parts) {
  const prefix = sha256(utf8(tag));
  return sha256(prefix, prefix, ...parts.flatMap((part) => [u32(part.length), part]));
}

export const sessionId = (request) => taggedHash('cosigner/1/request', request);
export const answerDigest = (answer) => taggedHash('cosigner/1/answer', answer);
const acknowledgementDigest = (record) => taggedHash('cosigner/1/key-acknowledgement', record);

export const equal = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;

const keyObjects = new Map();
function keyObject(publicKey) {
  const hex = Buffer.from(publicKey).toString('hex');
  if (!keyObjects.has(hex)) {
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey]); // RFC 8410
    keyObjects.set(hex, createPublicKey({ key: der, format: 'der', type: 'spki' }));
  }
  return keyObjects.get(hex);
}

/** RFC 8032 verification by Node's OpenSSL; fast, for everything nodes sign. False for anything malformed. */
export function opensslVerifies(publicKey, message, signature) {
  try {
    return verifyByOpenssl(null, message, keyObject(publicKey), signature);
  } catch {
    return false;
  }
}

/** RFC 8032 verification by noble-curves (not ZIP-215's lenient one): a second opinion on signatures. */
export function verifies(publicKey, message, signature) {
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
}

/** Low s, and the recovery id (the 65th byte) gives back the key: by noble-curves. */
export function ecdsaVerifies(publicKey, digest, signature) {
  try {
    const parsed = secp256k1.Signature.fromCompact(signature.subarray(0, 64)).addRecoveryBit(signature[64]);
    return secp256k1.verify(parsed, digest, publicKey, { lowS: true })
      && equal(parsed.recoverPublicKey(digest).toRawBytes(true), publicKey);
  } catch {
    return false;
  }
}

export class Initiator {
  constructor(seed) {
    this.seed = seed;
    this.publicKey = Buffer.from(ed25519.getPublicKey(seed));
  }
  /** {request, signatures}: each signature is public key ‖ Ed25519 over the session id. */
  envelope(request) {
    const signature = ed25519.sign(sessionId(request), this.seed);
    return { request, signatures: [Buffer.concat([this.publicKey, signature])] };
  }
}

/** A request's fields, all of them signed; `fields` adds to and overrides the common ones. */
export function buildRequest(initiator, cluster, fields) {
  const now = Date.now();
  return Buffer.from(encode({
    version: 1,
    cluster,
    initiator: initiator.publicKey,
    op: 'sign',
    user: '',
    key: '',
    scheme: 'ed25519',
    id: randomBytes(16),
    issued_at: now,
    expires_at: now + 60_000,
    ...fields,
  }));
}

export const pack = (value) => Buffer.from(encode(value));
export const unpack = (bytes) => decode(bytes);

function statementDigest(s) {
  return taggedHash('cosigner/1/statement', utf8(s.kind), utf8(s.cluster), utf8(s.node), utf8(s.user),
    u64(s.generation), utf8(s.key), u64(s.epoch), s.session, s.digest);
}

/** The statement as the node with this identity seed would have signed it: for tests of what a lying node achieves. */
export function restate(statement, answer, seed) {
  const restated = { ...statement, digest: answerDigest(answer) };
  return { ...restated, signature: Buffer.from(ed25519.sign(statementDigest(restated), seed)) };
}

/** Does this node's identity stand behind `answer` for this session? */
export function statementHolds(statement, { cluster, node, user, session, answer, identity }) {
  return statement.kind === 'answer' && statement.cluster === cluster && statement.node === node
    && statement.user === user && equal(statement.session, session)
    && equal(statement.digest, answerDigest(answer))
    && opensslVerifies(identity, statementDigest(statement), statement.signature);
}

/** One participant's promise for a key record. */
export function acknowledgementHolds(record, recordBytes, acknowledgement, identity) {
  return opensslVerifies(identity, statementDigest({
    kind: 'key-acknowledgement',
    cluster: record.cluster,
    node: acknowledgement.node,
    user: record.user,
    generation: acknowledgement.generation,
    key: record.key,
    epoch: record.epoch,
    session: record.session,
    digest: acknowledgementDigest(recordBytes),
  }), acknowledgement.signature);
}

/** Reads a gateway's certificate and returns its signing key, or null if it is not one of `node`. */
export function gatewayKey(bytes, { cluster, node, identity }) {
  let at = 0;
  const take = (size) => {
    if (at + size > bytes.length) throw new Error('certificate cut off');
    at += size;
    return Buffer.from(bytes.subarray(at - size, at));
  };
  const text = () => take(take(4).readUInt32BE()).toString('utf8');
  try {
    const version = take(1)[0];
    const holder = { cluster: text(), node: text(), role: take(1)[0], user: text() };
    const generation = take(8).readBigUInt64BE();
    const x25519 = take(32);
    const signingKey = take(32);
    const notBefore = take(8).readBigUInt64BE();
    const notAfter = take(8).readBigUInt64BE();
    const signature = take(64);
    const digest = taggedHash('cosigner/1/certificate', utf8(holder.cluster), utf8(holder.node), u8(holder.role),
      utf8(holder.user), u64(generation), x25519, signingKey, u64(notBefore), u64(notAfter));
    const now = BigInt(Math.floor(Date.now() / 1000));
    const fits = version === 1 && at === bytes.length && holder.role === 2 && holder.user === ''
      && holder.cluster === cluster && holder.node === node
      && now + 300n >= notBefore && now <= notAfter + 300n;
    return fits && opensslVerifies(identity, digest, signature) ? signingKey : null;
  } catch {
    return null;
  }
}
