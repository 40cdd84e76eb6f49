"""`cosignerctl verify` on a real store: good keys are ok, and of what somebody did to the file the key it was done to is
named, that one only, and the exit status says so.

The store authenticates its rows, so an edit by sqlite3 alone is caught there. Who has the key-encryption key as well (as a
restore that mixes files has) gets past that: the rows that this test authenticates anew are what the user's process must
catch by opening the shares."""
import contextlib
import hmac
import re
import sqlite3
import struct
import subprocess

import pytest

from cluster import Cluster, CommandFailed, wait_until
from control import tagged_hash
from metrics import Moves

COLUMNS = ("user", "key", "epoch", "state", "session", "record", "sealed_share", "certificate")
PLACE = "user = ? AND key = ?"


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as running:
        for user, key, scheme in (("ann", "k", "ed25519"), ("ann", "spare", "ed25519"),
                                  ("ann", "coin", "ecdsa-secp256k1"), ("bob", "k", "ed25519")):
            running.keygen(user, key, scheme=scheme)
        for user, key in (("ann", "k"), ("ann", "spare"), ("ann", "coin"), ("bob", "k")):
            wait_until(lambda u=user, k=key: state_of(running, u, k) == "active", 20, f"{user}'s {key} to be active")
        yield running


def state_of(cluster, user, key):
    return next((entry["state"] for entry in cluster.ctl("keys", "--user", user)["keys"] if entry["key"] == key), None)


def store(cluster):
    return contextlib.closing(sqlite3.connect(cluster.home / "node1" / "state" / "cosigner.db", timeout=20))


def row(cluster, user, key):
    with store(cluster) as database:
        found = database.execute(f"SELECT {', '.join(COLUMNS)}, mac FROM keys WHERE {PLACE}", (user, key)).fetchone()
        return dict(zip((*COLUMNS, "mac"), found))


def derived(cluster, tag, *parts):
    """A key that node 1 derives from its key-encryption key, for its cluster and itself."""
    secret = bytes.fromhex((cluster.home / "node1" / "encryption.key").read_text().strip())
    text = (cluster.home / "node1" / "cosigner.toml").read_text()
    name, node = (re.search(rf'^{field} = "(.*)"', text, re.M).group(1).encode() for field in ("cluster", "node"))
    pseudorandom = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(pseudorandom, tagged_hash(tag, name, node, *parts) + b"\1", "sha256")


def gcm_product(one, other):
    """In the field of AES-GCM (NIST SP 800-38D, algorithm 1)."""
    product = 0
    for bit in reversed(range(128)):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (0xe1 << 120 if other & 1 else 0)
    return product


def with_another_share(cluster, user, sealed):
    """It opens, and the scalar in it is one more or less: version, nonce, then the ciphertext of version, index and scalar
    (crypto/identity/share_seal.h, crypto/protocol/key_share.h), then the tag, which is linear in the ciphertext."""
    key = derived(cluster, "cosigner/1/user-sealing-key", user.encode())
    run = subprocess.run(["openssl", "enc", "-aes-256-ecb", "-nopad", "-K", key.hex()], input=bytes(16), capture_output=True,
                         check=True)
    text, tag = bytearray(sealed[13:-16]), int.from_bytes(sealed[-16:], "big")
    at = 3
    text[at] ^= 1
    change = 1 << 8 * (15 - at)
    for _ in range((len(text) + 15) // 16 + 1):  # the blocks from this one on, and that of the lengths
        change = gcm_product(change, int.from_bytes(run.stdout, "big"))
    return sealed[:13] + bytes(text) + (tag ^ change).to_bytes(16, "big")


def mac(cluster, fields):
    """What the supervisor writes beside such a row (supervisor/store/store.cc)."""
    key = derived(cluster, "cosigner/1/store-mac-key")
    parts = [struct.pack(">Q", value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value
             for value in (fields[column] for column in COLUMNS)]
    return hmac.digest(key, tagged_hash("cosigner/1/store-row", b"keys", *parts), "sha256")


@contextlib.contextmanager
def altered(cluster, user, key, authentic=False, **columns):
    """The row with other columns for a while."""
    def write(fields):
        names = [name for name in fields if name not in ("user", "key")]
        with store(cluster) as database, database:
            changed = database.execute(f"UPDATE keys SET {', '.join(f'{name} = ?' for name in names)} WHERE {PLACE}",
                                       (*(fields[name] for name in names), user, key))
            assert changed.rowcount == 1
    before = row(cluster, user, key)
    after = {**before, **columns}
    assert after != before
    if authentic:
        after["mac"] = mac(cluster, after)
    write(after)
    try:
        yield
    finally:
        write(before)


def faults(cluster, *arguments):
    """{(user, key): fault} of all faulty keys; the exit status agrees with it."""
    try:
        said, code = cluster.ctl("verify", *arguments), 0
    except CommandFailed as failure:
        said, code = failure.body, failure.code
    assert said and "keys" in said, said
    found = {(one["user"], one["key"]): one["fault"] for one in said["keys"] if not one["ok"]}
    assert said["unchecked"] == [] and said["faulty"] == len(found), said
    assert code == (1 if found else 0), said
    assert all(one["what"] for one in said["keys"] if not one["ok"]), said
    return found


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def test_good_keys_are_ok_on_every_node_whether_their_process_runs_or_not(cluster):
    for node in (1, 2, 3):
        wait_until(lambda at=node: all(one["state"] == "active" for one in cluster.ctl("verify", node=at)["keys"]), 20,
                   f"node{node} to hold all certificates")
        said = cluster.ctl("verify", node=node)
        assert [(one["user"], one["key"], one["epoch"], one["ok"]) for one in said["keys"]] == [
            ("ann", "coin", 1, True), ("ann", "k", 1, True), ("ann", "spare", 1, True), ("bob", "k", 1, True)], said
    cluster.evict("ann")
    assert [one["key"] for one in cluster.ctl("verify", "--user", "ann", "--key", "coin")["keys"]] == ["coin"]
    assert cluster.worker("ann")  # it was started for it
    for arguments, error in ((("--user", "ann", "--key", "none"), "unknown_key"), (("--user", "nobody"), "unknown_key"),
                             (("--user", "no body"), "bad_request")):
        with pytest.raises(CommandFailed) as refused:
            cluster.ctl("verify", *arguments)
        assert refused.value.error == error, refused.value
    with pytest.raises(CommandFailed) as refused:
        cluster.ctl("verify", "--key", "k")
    assert refused.value.code == 2, refused.value


def test_an_edited_row_is_named_and_no_other(cluster):
    spare = row(cluster, "ann", "spare")
    with altered(cluster, "ann", "k", sealed_share=spare["sealed_share"]):
        assert faults(cluster) == {("ann", "k"): "row"}
        assert faults(cluster, "--user", "ann", "--key", "k") == {("ann", "k"): "row"}
        assert faults(cluster, "--user", "ann", "--key", "spare") == {}
        assert faults(cluster, "--user", "bob") == {}
    for column in ("session", "record", "sealed_share", "certificate", "mac"):
        whole = row(cluster, "ann", "coin")[column]
        with altered(cluster, "ann", "coin", **{column: flipped(whole, len(whole) // 2)}):
            assert faults(cluster) == {("ann", "coin"): "row"}, column
    assert faults(cluster) == {}
    # Whoever needs the row is refused, and the node's metrics count it.
    with altered(cluster, "ann", "coin", mac=flipped(row(cluster, "ann", "coin")["mac"], 0)):
        moves = Moves(cluster)
        with pytest.raises(CommandFailed) as refused:
            cluster.ctl("renew", "--user", "ann", "--key", "coin", "--peer", "node2")
        assert refused.value.error == "storage_failed", refused.value
        assert moves.of("cosigner_store_errors_total") == 1


def test_what_carries_the_nodes_authentication_is_opened_and_compared(cluster):
    good = row(cluster, "ann", "k")
    assert mac(cluster, good) == good["mac"]  # the test knows how
    spare, coin = row(cluster, "ann", "spare"), row(cluster, "ann", "coin")
    cases = [("k", {"sealed_share": spare["sealed_share"]}, "seal"),
             ("k", {"sealed_share": flipped(good["sealed_share"], 20)}, "seal"),
             ("coin", {"sealed_share": flipped(coin["sealed_share"], len(coin["sealed_share"]) - 1)}, "seal"),
             ("k", {"certificate": spare["certificate"]}, "certificate"),
             ("k", {"record": spare["record"]}, "record"),
             ("k", {"session": spare["session"]}, "record")]
    for key, columns, fault in cases:
        with altered(cluster, "ann", key, authentic=True, **columns):
            assert faults(cluster) == {("ann", key): fault}, columns.keys()
    assert faults(cluster) == {}


def test_a_wrong_share_is_named_and_the_other_nodes_find_it_out(cluster):
    """It opens, and all around it is right. The first signature share made with it is counted against this node by whoever
    assembles, and the others sign without it."""
    public = cluster.sign("bob", b"whole")["public_key"]
    moves = {node: Moves(cluster, node) for node in (1, 2, 3)}

    def told(of):
        return {node: moves[node].of(f'cosigner_peer_misbehaviour_total{{node="{of}"}}') for node in moves if f"node{node}" != of}
    with altered(cluster, "bob", "k", authentic=True,
                 sealed_share=with_another_share(cluster, "bob", row(cluster, "bob", "k")["sealed_share"])):
        cluster.ctl("restart", "--user", "bob")
        assert faults(cluster) == {("bob", "k"): "share"}

        def found_out():
            cluster.sign_and_verify("bob", public, b"by the others", node=2)
            return sum(told("node1").values()) > 0
        wait_until(found_out, 40, "a signature share of node1's to be refused")
    assert not any((*told("node2").values(), *told("node3").values()))
    cluster.ctl("restart", "--user", "bob")
    assert faults(cluster) == {}
    cluster.sign_and_verify("bob", public, b"whole again")


def test_a_participant_that_is_no_peer_any_more_is_said(cluster):
    path = cluster.home / "node1" / "peers.toml"
    before = path.read_text()
    path.write_text("".join(part for part in re.split(r"(?=\[\[peer\]\])", before) if '"node3"' not in part))
    try:
        cluster.ctl("reload")
        assert faults(cluster) == {(user, key): "peers" for user, key in
                                   (("ann", "k"), ("ann", "spare"), ("ann", "coin"), ("bob", "k"))}
    finally:
        path.write_text(before)
        cluster.ctl("reload")
    assert faults(cluster) == {}
