"""Keygen and signing through three nodes and the broker, verified by stock verifiers, in both topologies."""
import os

import pytest

from cluster import Cluster, CommandFailed, openssl_verifies, sanitizer_reports, verifies


@pytest.fixture(scope="module", params=["single", "leaf"])
def cluster(request):
    with Cluster(topology=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def alice(cluster):
    return cluster.keygen("alice")["public_key"]


@pytest.mark.parametrize("message", [b"", b"\0" * 32, b"\0\0\0leading zeros", b"x" * 65536, os.urandom(1 << 20)],
                         ids=["empty", "zero bytes", "leading zeros", "64 KiB", "1 MiB"])
def test_messages_are_signed_byte_for_byte(cluster, alice, message):
    answer = cluster.sign("alice", message)
    assert verifies(alice, message, answer["signature"])
    if message:  # `openssl pkeyutl` cannot read an empty file (OpenSSL 3.0); the library's verdict is in unit/crypto
        assert openssl_verifies(alice, message, answer["signature"])


def test_every_node_can_be_asked_and_tells_the_same_key(cluster, alice):
    for node in (1, 2, 3):
        cluster.sign_and_verify("alice", alice, b"asked at node %d" % node, node=node)
        keys = cluster.ctl("keys", "--user", "alice", node=node)["keys"]
        assert [(key["key"], key["public_key"], key["threshold"]) for key in keys] == [("k", alice, 2)]


def test_a_second_keygen_of_the_same_name_is_refused(cluster, alice):
    with pytest.raises(CommandFailed) as failure:
        cluster.keygen("alice")
    assert failure.value.error == "already_exists"
    cluster.sign_and_verify("alice", alice, b"the first key still signs")


def test_only_the_named_participants_hold_the_key(cluster):
    made = cluster.ctl("keygen", "--user", "carol", "--key", "k", "--scheme", "ed25519", "--threshold", "2", "--participants",
                       "node3,node1")
    assert made["participants"] == ["node1", "node3"]
    for node in (1, 3):
        cluster.sign_and_verify("carol", made["public_key"], b"asked at node %d" % node, node=node)
        assert cluster.ctl("keys", "--user", "carol", node=node)["keys"][0]["participants"] == ["node1", "node3"]
    assert cluster.ctl("keys", "--user", "carol", node=2)["keys"] == []


def test_unknown_users_and_keys_are_typed_errors(cluster, alice):
    for user, key, error in (("nobody", "k", {"unknown_user", "unknown_key"}), ("alice", "other", {"unknown_key"})):
        with pytest.raises(CommandFailed) as failure:
            cluster.sign(user, b"m", key=key)
        assert failure.value.error in error
        assert failure.value.body["may_have_executed"] is False


def test_status_and_users_show_the_running_node(cluster, alice):
    status = cluster.status()
    assert status["ready"] is True
    assert len(status["peers"]) == 3
    entry = cluster.user("alice")
    assert entry["state"] in ("ready", "busy")
    assert os.path.exists(f"/proc/{entry['pid']}")
    assert 0 < cluster.ctl("user", "alice")["ready_after_us"] < 60e6


def test_an_evicted_user_comes_back_as_another_process(cluster, alice):
    before = cluster.worker("alice")
    cluster.evict("alice")
    cluster.sign_and_verify("alice", alice, b"after eviction")
    assert cluster.worker("alice") != before


def test_bench_prints_the_documented_object(cluster):
    result = cluster.ctl("bench", "sign", "--scheme", "ed25519", "--users", "2", "--concurrency", "4", "--count", "40")
    assert {"p50_ms", "p90_ms", "p99_ms", "per_second", "signatures", "errors"} <= set(result)
    assert result["signatures"] == 40
    assert result["errors"] in (0, {}, [])


def test_bench_first_signature_tells_what_the_nodes_measured(cluster):
    result = cluster.ctl("bench", "first-signature", "--count", "3", "--evict-socket",
                         ",".join(str(cluster.socket(node)) for node in (1, 2, 3)))
    assert result["signatures"] == 3 and result["errors"] == 0
    starts = result["order_to_ready"]
    assert starts["processes"] == 9
    assert 0 < starts["p50_ms"] <= starts["p90_ms"] <= starts["p99_ms"] <= starts["max_ms"]


def test_a_signature_that_cannot_be_written_is_not_lost(cluster, alice):
    """/dev/full opens like any file, and takes nothing: what a full disk does, after the cluster has signed."""
    with pytest.raises(CommandFailed) as failure:
        cluster.ctl("sign", "--user", "alice", "--key", "k", "-", "--out", "/dev/full", stdin=b"no room")
    assert failure.value.code == 73 and failure.value.body["may_have_executed"] is True
    assert verifies(alice, b"no room", failure.value.body["message"].split("The signature: ")[1])


@pytest.mark.parametrize("topology", ["single", "leaf"])
def test_larger_committees(topology):
    with Cluster(nodes=5, threshold=3, topology=topology) as cluster:
        public_key = cluster.keygen("bob")["public_key"]
        for node in (1, 3, 5):
            cluster.sign_and_verify("bob", public_key, b"three of five, asked at %d" % node, node=node)


def test_a_sanitizers_report_in_a_log_would_be_found(tmp_path):
    """What Cluster looks for when it ends: these tests run under sanitizers as well."""
    (tmp_path / "node1").mkdir()
    log = tmp_path / "node1" / "cosignerd.log"
    log.write_text("node1: terminate called after throwing St13runtime_error: ordered by a test\n")
    assert sanitizer_reports(tmp_path) == []
    for line in ("==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x1", "==7==ERROR: LeakSanitizer: detected memory leaks",
                 "worker/main.cc:7:3: runtime error: signed integer overflow", "WARNING: ThreadSanitizer: data race (pid=7)"):
        log.write_text(f"before\n{line}\nafter\n")
        assert sanitizer_reports(tmp_path) == [f"cosignerd.log: {line}"]
