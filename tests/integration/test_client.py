"""A client that is not ours in any line: JavaScript over NATS, from npm packages (tests/client-js)."""
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
        run = subprocess.run(["node", client, cluster.home], capture_output=True, text=True, timeout=120)
        print(run.stdout)
        assert run.returncode == 0, run.stdout + run.stderr


def test_ecdsa_is_judged_by_the_wallets_own_libraries(client):
    """BIP-32 by @scure/bip32, an Ethereum transaction by ethers, a Bitcoin P2WPKH input by bitcoinjs-lib."""
    with Cluster() as cluster:
        run = subprocess.run(["node", client.with_name("ecdsa.mjs"), cluster.home], capture_output=True, text=True,
                             timeout=300)
        print(run.stdout)
        assert run.returncode == 0, run.stdout + run.stderr
