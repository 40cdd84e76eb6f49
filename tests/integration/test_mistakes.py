"""The configuration mistakes an operator makes first, as the two programs tell them: exit status 78 and exactly one line
with the file, the line and a remedy. Every other mistake: tests/unit/supervisor/config_test.cc."""
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

from cluster import BIN, Cluster


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A node's files as devcluster wrote them; no process runs on them."""
    directory = tmp_path_factory.mktemp("mistakes") / "good"
    with Cluster() as cluster:
        shutil.copytree(cluster.home / "node1", directory, ignore=shutil.ignore_patterns("control.sock", "state", "*.log"))
    return directory


def replace(name, old, new):
    """In the file `name`; the mistake is where `new` begins."""
    def make(directory, _port):
        path = directory / name
        text = path.read_text()
        assert text.count(old) == 1, text
        place = text.index(old)
        path.write_text(text.replace(old, new))
        return name, text.count("\n", 0, place) + 1
    return make


def append(name, text, line):
    """At the end of the file `name`; the mistake is in the line of `text` that has this number."""
    def make(directory, port):
        path = directory / name
        before = path.read_text()
        path.write_text(before + text.format(port=port))
        return name, before.count("\n") + line
    return make


def own_node_missing(directory, _port):
    path = directory / "peers.toml"
    path.write_text(path.read_text().replace('node = "node1"', 'node = "node9"'))
    return "peers.toml", 3  # where the list begins


def key_file_for_all(directory, port):
    (directory / "identity.key").chmod(0o644)
    unchanged = 'identity_key_file = "identity.key"'
    return replace("cosigner.toml", unchanged, unchanged)(directory, port)


MISTAKES = {
    "unknown key": (replace("cosigner.toml", "[broker]\n", "[broker]\ncolour = \"blue\"\n"), "unknown key"),
    "wrong type": (replace("cosigner.toml", 'cluster = "dev"', "cluster = 5"), "wrong type"),
    "duplicate peer": (append("peers.toml", '\n[[peer]]\nnode = "node2"\nidentity = "' + 64 * "5" + '"\n', 3), "listed twice"),
    "own node missing": (own_node_missing, "not among the peers"),
    "threshold over n": (replace("cosigner.toml", 'node = "node1"\n', 'node = "node1"\ndefault_threshold = 4\n'), "has 3 nodes"),
    "unreadable credential": (replace("cosigner.toml", '"encryption.key"', '"/run/credentials/no.service/key"'),
                              "the credential"),
    "wrong permissions": (key_file_for_all, "read or written by others"),
    "port in use": (append("cosigner.toml", '\n[metrics]\nlisten = "127.0.0.1:{port}"\n', 3), "in use"),
}
LINE_AFTER = {"unknown key", "threshold over n"}  # the line that was put in is the one after what it follows


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_a_remedy(good, tmp_path, name):
    directory = tmp_path / "node"
    shutil.copytree(good, directory)
    config = directory / "cosigner.toml"
    programs = {"cosignerd": [BIN / "cosignerd", "--check", "--config", config],
                "cosignerctl": [BIN / "cosignerctl", "config", "check", config]}

    def told():
        runs = {program: subprocess.run(command, capture_output=True, text=True, timeout=60)
                for program, command in programs.items()}
        # cosignerctl names the file once more as its error, for whoever keeps only those.
        assert runs["cosignerd"].returncode == 0 or not runs["cosignerd"].stdout, runs
        lines = {"cosignerd": runs["cosignerd"].stdout + runs["cosignerd"].stderr, "cosignerctl": runs["cosignerctl"].stdout}
        return {program: (run.returncode, lines[program].splitlines()) for program, run in runs.items()}
    assert {status for status, _ in told().values()} == {0}, told()
    make, says = MISTAKES[name]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file, line = make(directory, taken.getsockname()[1])
        said = told()
    for program, (status, lines) in said.items():
        assert (status, len(lines)) == (78, 1), (program, lines)
        found = re.fullmatch(r"(.+?):(\d+): (.+) \((.+)\)", lines[0])
        assert found, lines
        assert pathlib.Path(found[1]) == directory / file and int(found[2]) == line + (name in LINE_AFTER), lines
        assert says in found[3], lines
    assert said["cosignerd"] == said["cosignerctl"]
