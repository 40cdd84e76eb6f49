// node ecdsa.mjs DIR: an ECDSA key on the development cluster in DIR, judged by the wallets' own libraries: BIP-32 by
// @scure/bip32, an Ethereum transaction by ethers, a Bitcoin P2WPKH input by bitcoinjs-lib. Ends with 1 if a check failed.
import { createHash, randomBytes, randomInt } from 'node:crypto';
import * as bitcoinCurve from '@bitcoinerlab/secp256k1';
import { secp256k1 } from '@noble/curves/secp256k1';
import { HDKey } from '@scure/bip32';
import bitcoin from 'bitcoinjs-lib';
import { Signature, SigningKey, Transaction, computeAddress, hexlify } from 'ethers';
import { Cluster, Refused } from './cluster.mjs';
import { buildRequest, equal, pack, sessionId } from './protocol.mjs';
import { check, demand, finish, ms } from './report.mjs';

/** How many random paths are compared; the edges come on top. */
const PATHS = Number(process.env.COSIGNER_TEST_FULL ? 1000 : 40);

const directory = process.argv[2];
if (!directory) {
  console.error('usage: node ecdsa.mjs DIR   (DIR: as given to cosigner-devcluster up)');
  process.exit(2);
}

const scheme = 'ecdsa-secp256k1';
const cluster = await Cluster.open(directory);
const user = `ecdsa-${randomBytes(6).toString('hex')}`;
const key = 'main';
const participants = [...cluster.nodes.keys()].sort();
const newSign = (digest, more = {}) => buildRequest(cluster.initiator, cluster.name, {
  op: 'sign', user, key, scheme, message: digest, ...more,
});
const newKeygen = (more = {}) => buildRequest(cluster.initiator, cluster.name, {
  op: 'keygen', user, key, scheme, threshold: cluster.threshold, participants, ...more,
});

let root;
await check('keygen', async () => {
  const { value, milliseconds } = await cluster.keygenRecord(user, key, newKeygen(), scheme);
  // An extended public key of depth 0, from nothing but the key's record.
  root = new HDKey({ publicKey: value.public_key, chainCode: value.chain_code });
  return `${root.publicExtendedKey}, ${ms(milliseconds)}`;
});
if (!root) finish();

/** The 65 bytes of a signature through the cluster; it verifies under the key that @scure/bip32 derives. */
async function signAt(path, digest) {
  const child = path === 'm' ? root : root.derive(path);
  const fields = path === 'm' ? {} : { path };
  const { value } = await cluster.signEcdsa(user, key, child.publicKey, digest, newSign(digest, fields));
  return { child, signature: value };
}

await check(`BIP-32 public derivation as @scure/bip32 has it, ${PATHS} random paths and the edges`, async () => {
  const step = () => [randomInt(20), randomInt(2 ** 31)][randomInt(2)];
  const paths = ['m', 'm/0', 'm/2147483647', 'm/44/60/0/0/5', `m${'/2147483647'.repeat(12)}`];
  while (paths.length < PATHS + 5) {
    paths.push(`m/${Array.from({ length: 1 + randomInt(6) }, step).join('/')}`);
  }
  // Eight at once; each answer's public key and signature are held against the derived key (signEcdsa).
  const work = paths.entries();
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (const [, path] of work) await signAt(path, randomBytes(32));
  }));
  return `${paths.length} child keys, each by a signature that verifies under it`;
});

await check('an Ethereum transaction, by ethers', async () => {
  const kinds = {
    'EIP-1559': { type: 2, maxFeePerGas: 30_000_000_000n, maxPriorityFeePerGas: 1_000_000_000n },
    'EIP-155': { type: 0, gasPrice: 20_000_000_000n },
  };
  const senders = [];
  for (const [name, fields] of Object.entries(kinds)) {
    const transaction = Transaction.from({
      chainId: 1n, nonce: 7, gasLimit: 21_000n, to: '0x000000000000000000000000000000000000dEaD', value: 10n ** 17n,
      ...fields,
    });
    const digest = Buffer.from(transaction.unsignedHash.slice(2), 'hex');
    const { child, signature } = await signAt('m/44/60/0/0/5', digest);
    transaction.signature = Signature.from({
      r: hexlify(signature.subarray(0, 32)), s: hexlify(signature.subarray(32, 64)), yParity: signature[64],
    });
    const read = Transaction.from(transaction.serialized);  // as a node of the chain would
    const sender = computeAddress(hexlify(child.publicKey));
    demand(read.from === sender, `${name}: the recovered sender is ${read.from}, not ${sender}`);
    demand(SigningKey.recoverPublicKey(digest, read.signature) === SigningKey.computePublicKey(child.publicKey, false),
      `${name}: another key is recovered`);
    const { from } = Transaction.from({ ...read.toJSON(), nonce: 8, signature: read.signature });
    demand(from !== sender, `${name}: the signature holds for another nonce as well`);
    senders.push(sender);
  }
  return `sender ${senders[0]} recovered from ${Object.keys(kinds).join(' and ')}`;
});

await check('a Bitcoin P2WPKH input, by bitcoinjs-lib', async () => {
  const path = 'm/84/0/0/0/1';
  const publicKey = Buffer.from(root.derive(path).publicKey);
  const payment = bitcoin.payments.p2wpkh({ pubkey: publicKey });
  const psbt = new bitcoin.Psbt();
  psbt.addInput({
    hash: randomBytes(32), index: 1, witnessUtxo: { script: payment.output, value: 100_000 },
  });
  psbt.addOutput({ address: 'bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4', value: 90_000 });
  let asked;
  await psbt.signInputAsync(0, {
    publicKey,
    sign: async (digest) => {
      asked = digest;
      return (await signAt(path, digest)).signature.subarray(0, 64);
    },
  });
  const valid = psbt.validateSignaturesOfInput(0, (pubkey, digest, signature) =>
    equal(pubkey, publicKey) && equal(digest, asked) && bitcoinCurve.verify(digest, pubkey, signature, true));
  demand(valid, 'bitcoinjs-lib refuses the signature');
  const spend = psbt.finalizeAllInputs().extractTransaction();
  const [der, witnessKey] = spend.ins[0].witness;
  // The digest once more, from the finished transaction, as a node of the chain computes it (BIP-143).
  const script = bitcoin.payments.p2pkh({ hash: payment.hash }).output;
  const digest = spend.hashForWitnessV0(0, script, 100_000, bitcoin.Transaction.SIGHASH_ALL);
  const { signature, hashType } = bitcoin.script.signature.decode(der);
  demand(equal(digest, asked) && hashType === bitcoin.Transaction.SIGHASH_ALL && equal(witnessKey, publicKey)
    && bitcoinCurve.verify(digest, witnessKey, signature, true), 'the finished witness does not hold');
  return `${payment.address} spends in ${spend.getId()}`;
});

async function refusal(ask) {
  try {
    await ask();
  } catch (problem) {
    if (problem instanceof Refused) return problem.error;
    throw problem;
  }
  throw new Error('it was accepted');
}
/** Publishes an envelope that no node may accept and returns the error the nodes agree on. */
const refusedBy = (request, envelope = cluster.initiator.envelope(request)) => refusal(() => cluster.ask(pack(envelope), {
  session: sessionId(envelope.request), user, errorsNeeded: cluster.errorsNeeded(), check: () => 'success',
}));

for (const [name, wanted, make] of [
  ['a hardened step', 'bad_request', () => newSign(randomBytes(32), { path: "m/44'/60" })],
  ['a step of 2^31', 'bad_request', () => newSign(randomBytes(32), { path: 'm/2147483648' })],
  ['a digest of 31 bytes', 'bad_request', () => newSign(randomBytes(31))],
  ['a path for Ed25519', 'bad_request', () => newSign(randomBytes(32), { path: 'm/0', scheme: 'ed25519' })],
  ['the wrong scheme', 'bad_request', () => newSign(randomBytes(32), { scheme: 'ed25519' })],
  ['bip340-secp256k1', 'bad_request', () => newKeygen({ key: 'taproot', scheme: 'bip340-secp256k1' })],
]) {
  await check(`refused: ${name}`, async () => {
    const error = await refusedBy(make());
    demand(error.name === wanted, `expected ${wanted}, got ${error.name}: ${error.message}`);
    demand(error.may_have_executed === false, 'it claims that it may have executed');
    return error.message;
  });
}

await check('refused: a path altered after signing', async () => {
  const envelope = cluster.initiator.envelope(newSign(randomBytes(32), { path: 'm/44/60/0/0/5' }));
  const request = Buffer.from(envelope.request);
  request[request.indexOf('m/44/60/0/0/5') + 12] = '6'.charCodeAt(0);
  const error = await refusedBy(request, { ...envelope, request });
  demand(error.name === 'unauthorized', `expected unauthorized, got ${error.name}: ${error.message}`);
  return error.message;
});

await check('an altered digest does not verify', async () => {
  const digest = createHash('sha256').update('pay 10').digest();
  const { child, signature } = await signAt('m/7', digest);
  const other = createHash('sha256').update('pay 99').digest();
  demand(secp256k1.verify(signature.subarray(0, 64), digest, child.publicKey), 'noble refuses the signature');
  demand(!secp256k1.verify(signature.subarray(0, 64), other, child.publicKey), 'it holds for another digest');
  return 'and the signature itself does, by noble-curves';
});

await cluster.close();
finish();
