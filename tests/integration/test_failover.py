"""One of three nodes killed, stopped or cut off while clients sign: nothing fails; the slowest is reported."""
import hashlib
import itertools
import os
import signal
import threading
import time

import pytest

from cluster import BOTH, LEAF_UNLESS_FULL, Cluster, SigningClients, children
from crowd import restart
from proxy import Proxy
from test_ecdsa import SCHEME, openssl_verifies

CLIENTS = 8
FULL = "COSIGNER_TEST_FULL" in os.environ
# Node 1 is in no way special to its peers, but it is the one whose files and socket a development cluster's user is given.
KILLED = list(itertools.product(BOTH, (1, 2, 3))) if FULL else [("single", 1), ("single", 2), ("leaf", 1), ("leaf", 3)]


@pytest.fixture(params=BOTH)
def cluster(request):
    with Cluster(topology=request.param) as running:
        yield running


def prepared(cluster):
    users = [f"user{k}" for k in range(4)]
    return users, {user: cluster.keygen(user)["public_key"] for user in users}


def tree(pid):
    """A supervisor and everything below it."""
    found = [pid]
    for child in children(pid):
        found += tree(child)
    return found


def survivors(victim):
    """Whom the clients ask: never the victim's control socket."""
    return [node for node in (1, 2, 3) if node != victim]


def report(name, cluster, clients):
    print(f"\n{name}, {cluster.topology}: {clients.done} signatures, slowest {clients.slowest * 1000:.0f} ms")


@pytest.mark.parametrize("cluster, victim", KILLED, indirect=["cluster"])
def test_a_node_is_killed(cluster, victim):
    users, keys = prepared(cluster)
    with SigningClients(cluster, users, keys, CLIENTS, survivors(victim)) as clients:
        clients.wait_for(40)
        os.kill(cluster.supervisor(victim), signal.SIGKILL)
        clients.wait_for(120)
    report(f"node {victim} killed", cluster, clients)
    assert clients.failures == []
    cluster.restart_node(victim)
    cluster.wait_ready(victim)
    cluster.sign_and_verify(users[0], keys[users[0]], b"asked at the node that came back", node=victim)


class EcdsaClients(SigningClients):
    def signs(self, user, message, node):
        digest = hashlib.sha256(message).digest()
        answer = self.cluster.ctl("sign", "--user", user, "--key", "k", "--digest-hex", digest.hex(), node=node)
        return openssl_verifies(self.public_keys[user], digest, bytes.fromhex(answer["der"]))


@pytest.mark.parametrize("victim", [1, 3] if FULL else [3])
@pytest.mark.parametrize("topology", LEAF_UNLESS_FULL)
def test_a_node_is_killed_while_ecdsa_signs(topology, victim):
    """As above; in a single topology test_ecdsa does the like with workers, and every set of nodes."""
    with Cluster(topology=topology) as cluster:
        users = ["user1", "user2"]
        keys = {user: cluster.keygen(user, scheme=SCHEME)["public_key"] for user in users}
        with EcdsaClients(cluster, users, keys, CLIENTS, survivors(victim)) as clients:
            clients.wait_for(30)
            os.kill(cluster.supervisor(victim), signal.SIGKILL)
            clients.wait_for(60)
            cluster.restart_node(victim)
            cluster.wait_ready(victim)
            clients.wait_for(20)
        report(f"node {victim} killed, ECDSA", cluster, clients)
        assert clients.failures == []
        with EcdsaClients(cluster, users, keys, 1, nodes=[victim]) as clients:
            clients.wait_for(2)
        assert clients.failures == []


@pytest.mark.parametrize("victim", [1, 2])
def test_a_node_is_stopped(cluster, victim):
    users, keys = prepared(cluster)
    with SigningClients(cluster, users, keys, CLIENTS, survivors(victim)) as clients:
        clients.wait_for(40)
        pids = tree(cluster.supervisor(victim))
        for pid in pids:
            cluster.stop_process(pid)
        clients.wait_for(120)
        for pid in pids:
            cluster.continue_process(pid)
        clients.wait_for(40)
    report(f"node {victim} stopped", cluster, clients)
    assert clients.failures == []
    cluster.wait_ready(victim)


def test_one_worker_is_stopped(cluster):
    """The gateway of that node goes on saying that it is present: only timers tell."""
    users, keys = prepared(cluster)
    user = users[0]
    with SigningClients(cluster, [user], keys, CLIENTS) as clients:
        clients.wait_for(40)
        worker = cluster.worker(user, node=2)
        cluster.stop_process(worker)
        clients.wait_for(80)
        cluster.continue_process(worker)
        clients.wait_for(40)
    report("worker stopped", cluster, clients)
    assert clients.failures == []


@pytest.mark.parametrize("victim", [1, 2])
def test_a_node_is_cut_off_from_the_broker(victim):
    """In a leaf topology each node has a nats-server of its own: stopping it cuts the node off."""
    with Cluster(topology="leaf") as cluster:
        users, keys = prepared(cluster)
        broker = cluster.broker(victim)
        with SigningClients(cluster, users, keys, CLIENTS, survivors(victim)) as clients:
            clients.wait_for(40)
            cluster.stop_process(broker)
            clients.wait_for(120)
            cluster.continue_process(broker)
            clients.wait_for(40)
        report(f"node {victim} cut off", cluster, clients)
        assert clients.failures == []
        cluster.wait_ready(victim, seconds=40)
        cluster.sign_and_verify(users[0], keys[users[0]], b"asked at the node that was cut off", node=victim)


@pytest.mark.parametrize("victim", [1, 2] if FULL else [1])
def test_a_node_is_cut_off_from_the_broker_that_all_share(victim):
    """One nats-server for all: one node reaches it through a proxy, which stops. Its connections stay open, and silent."""
    with Cluster() as cluster:
        url = cluster.status(victim)["broker"]["url"]
        with Proxy(int(url.rsplit(":", 1)[1])) as cable:
            config = cluster.home / f"node{victim}" / "cosigner.toml"
            config.write_text(config.read_text().replace(url, f"nats://127.0.0.1:{cable.port}"))
            restart(cluster, victim)
            users, keys = prepared(cluster)
            cluster.sign_and_verify(users[0], keys[users[0]], b"through the proxy", node=victim)
            with SigningClients(cluster, users, keys, CLIENTS, survivors(victim)) as clients:
                clients.wait_for(40)
                cluster.stop_process(cable.pid)
                clients.wait_for(120)
                cluster.continue_process(cable.pid)
                clients.wait_for(40)
            report(f"node {victim} cut off by its cable", cluster, clients)
            assert clients.failures == []
            cluster.wait_ready(victim, seconds=40)
            cluster.sign_and_verify(users[0], keys[users[0]], b"asked at the node that was cut off", node=victim)
            cluster.devcluster("stop", "--dir", cluster.home, "--node", victim)


@pytest.mark.parametrize("topology", ["single", "leaf"])
def test_a_peer_whose_worker_appears_five_seconds_late_takes_part(topology):
    """Three of three: node 3's zygote is stopped, so its worker cannot be forked for five seconds."""
    with Cluster(threshold=3, topology=topology) as cluster:
        public_key = cluster.keygen("late")["public_key"]
        for node in (1, 2, 3):
            cluster.evict("late", node)
        zygote = cluster.status(3)["zygote"]["pid"]
        cluster.stop_process(zygote)
        begin = time.monotonic()
        result = {}
        thread = threading.Thread(target=lambda: result.update(cluster.sign("late", b"patience")))
        thread.start()
        time.sleep(5)  # the delay under test, not a wait for a condition
        cluster.continue_process(zygote)
        thread.join(60)
        assert result.get("public_key") == public_key
        assert time.monotonic() - begin > 5
