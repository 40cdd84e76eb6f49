"""A client that is not ours in any line: JavaScript over NATS, from npm packages (tests/client-js)."""
import json
import os
import pathlib
import subprocess

import pytest

from cluster import Cluster

CLIENT = pathlib.Path(__file__).parents[1] / "client-js"


@pytest.fixture(scope="session")
def client():
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=CLIENT, check=True, timeout=300)
    return CLIENT / "client.mjs"


@pytest.mark.parametrize("topology", ["single", "leaf"])
def test_the_javascript_client_makes_a_key_signs_and_meets_every_error(client, topology):
    with Cluster(topology=topology) as cluster:
        # How long an error takes is printed always. It is judged (50 ms) where nothing else wants the processors: --full.
        limit = {} if os.environ.get("COSIGNER_TEST_FULL") else {"COSIGNER_ERROR_LIMIT_MS": "20000"}
        run = subprocess.run(["node", client, cluster.home], env=dict(os.environ, **limit), capture_output=True, text=True,
                             timeout=120)
        print(run.stdout)
        assert run.returncode == 0, run.stdout + run.stderr


def test_ecdsa_is_judged_by_the_wallets_own_libraries(client):
    """BIP-32 by @scure/bip32, an Ethereum transaction by ethers, a Bitcoin P2WPKH input by bitcoinjs-lib."""
    with Cluster() as cluster:
        run = subprocess.run(["node", client.with_name("ecdsa.mjs"), cluster.home], capture_output=True, text=True,
                             timeout=300)
        print(run.stdout)
        assert run.returncode == 0, run.stdout + run.stderr


def test_service_discovery_sees_every_node(client):
    with Cluster(topology="leaf") as cluster:
        cluster.keygen("alice")
        run = subprocess.run(["node", CLIENT / "discover.mjs", cluster.home, "3"], capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stdout + run.stderr
        services = json.loads(run.stdout)
        for kind in ("ping", "info", "stats"):
            assert [one["metadata"] for one in services[kind]] == [
                {"cluster": "dev", "node": f"node{k}"} for k in (1, 2, 3)], services
            assert all(one["type"] == f"io.nats.micro.v1.{kind}_response" for one in services[kind])
        assert [one["id"] for one in services["by_id"]] == [services["ping"][0]["id"]]
        assert services["info"][0]["endpoints"][0]["subject"] == "cosigner.dev.request"
        assert sum(one["endpoints"][0]["num_requests"] for one in services["stats"]) >= 1, "at least the answer that keygen saw"
