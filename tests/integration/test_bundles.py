"""Which cards and bundles a machine believes, what it asks before it does, and that it changes nothing when it refuses."""
import os
import pty
import shutil
import subprocess

from cluster import BIN
from machines import machines, meet, tree


def answered_on_a_terminal(machine, bundle, answer):
    """Exit status of an import whose question gets `answer`, typed; what it showed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        run = subprocess.run([BIN / "cosignerctl", "peers", "import", "--dir", machine.home, bundle], stdin=theirs,
                             capture_output=True, timeout=90, text=True)
        return run.returncode, run.stdout
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_first_bundle_is_believed_only_when_its_authority_was_compared():
    """A stranger's bundle of genuine cards: whoever compares nodes alone finds all of them right, and would obey his initiator."""
    with machines(False) as (trio, hub), machines(False) as (others, other_hub):
        first, second, third = trio
        genuine = first.init("--first", "--hub", hub)
        second.init("--join")
        third.init("--join")
        cards = [machine.home / "node.card" for machine in trio]
        first.imports(*cards[1:], "--yes")
        usurper = others[0]
        forged = usurper.ctl("init", "--first", "--hub", other_hub, "--dir", usurper.home, "--cluster", "trio", "--node", "node9")
        assert forged["authority"] != genuine["authority"] and forged["initiator"] != genuine["initiator"]
        usurper.imports(*cards, "--yes")
        stranger, bundle = usurper.home / "cluster.bundle", first.home / "cluster.bundle"

        def refused(machine, file):
            before = tree(machine.home)
            answer = machine.imports(file, status=2)
            assert answer["error"] == "bad_request" and tree(machine.home) == before
            return answer["message"]
        message = refused(second, stranger)
        for named in (f"authority {forged['authority']}", f"initiator operator {forged['initiator']}", "node node1 "):
            assert named in message, message
        # Every card is known already, the stranger's own too: what is left is the authority and its initiator.
        second.imports(*cards, usurper.home / "node.card", "--yes")
        message = refused(second, stranger)
        assert f"authority {forged['authority']}" in message and f"initiator operator {forged['initiator']}" in message
        assert "node node" not in message, message
        before = tree(second.home)
        status, shown = answered_on_a_terminal(second, stranger, b"no\n")
        assert status == 2 and forged["authority"] in shown and forged["initiator"] in shown and tree(second.home) == before

        # The genuine one, confirmed; from then on the authority and its initiator are known.
        third_own = "[[initiator]]\nname = \"desk\"\npublic_key = \"" + "ab" * 32 + "\"\noperations = [\"sign\"]\nusers = [\"*\"]\n"
        (third.home / "initiators.toml").write_text(third_own)
        status, shown = answered_on_a_terminal(third, bundle, b"yes\n")
        assert status == 0 and genuine["authority"] in shown
        plan = third.imports(bundle)
        assert plan["authority"] == {"fingerprint": genuine["authority"], "status": "known"}
        assert [(one["name"], one["status"]) for one in plan["initiators"]] == [("operator", "not taken")]
        assert (third.home / "initiators.toml").read_text() == third_own
        fresh = others[1]  # a second "second": nothing known before
        assert fresh.ctl("init", "--join", "--dir", fresh.home, "--cluster", "trio", "--node", "node4")["fingerprint"]
        first.imports(fresh.home / "node.card", "--yes")
        plan = fresh.imports(bundle, "--yes")
        assert plan["authority"] == {"fingerprint": genuine["authority"], "status": "new"}
        (operator,) = plan["initiators"]
        assert operator["fingerprint"] == genuine["initiator"] and operator["status"] == "new"
        assert operator["public_key"] in (fresh.home / "initiators.toml").read_text()
        assert [one["status"] for one in fresh.imports(bundle)["initiators"]] == ["known"]
        assert fresh.ctl("peers", "export", "--dir", fresh.home)["authority"] == genuine["authority"]
        card = fresh.home / "card.copy"
        assert fresh.ctl("peers", "export", "--dir", fresh.home, "--out", card)["card"] == card.read_text()
        for out, why in (("/dev/full", "No space left on device"), (fresh.home / "none" / "card", "No such file or directory")):
            failure = fresh.ctl("peers", "export", "--dir", fresh.home, "--out", out, status=73)
            assert failure["error"] == "storage_failed" and why in failure["message"], failure
        # Whoever empties the list of initiators is asked before the bundle fills it again.
        (fresh.home / "initiators.toml").write_text("# nobody\n")
        assert f"initiator operator {genuine['initiator']}" in refused(fresh, bundle)


def test_a_bundle_without_a_known_node_is_confirmed_and_its_name_stays_taken():
    with machines(False) as (trio, hub), machines(False) as (others, _):
        first, second, third = trio
        meet(trio, hub)
        entered = (second.home / "peers.toml").read_text()

        def refused(machine, file, *words, status, error):
            before = tree(machine.home)
            answer = machine.imports(file, *words, status=status)
            assert answer["error"] == error and tree(machine.home) == before
            return answer["message"]
        # The authority forgets node3: its own machine says so before it makes a bundle, and so do the others.
        gone = third.home / "node.card"
        (first.home / "authority/members/node3.card").unlink()
        assert "node node3 is gone" in refused(first, second.home / "node.card", status=2, error="bad_request")
        plan = first.imports(second.home / "node.card", "--yes")
        assert [(node["node"], node["status"]) for node in plan["nodes"]] == [("node2", "known"), ("node3", "gone")]
        without = (first.home / "cluster.bundle").read_text()
        assert "node node3 is gone" in refused(second, first.home / "cluster.bundle", status=2, error="bad_request")
        assert (second.home / "peers.toml").read_text() == entered
        plan = second.imports(first.home / "cluster.bundle", "--yes")
        assert {node["node"]: node["status"] for node in plan["nodes"]} == {"node1": "known", "node2": "this node", "node3": "gone"}
        listed, former = (second.home / "peers.toml").read_text().split("[[former]]")
        assert "node3" not in listed and "node3" in former
        assert second.ctl("config", "check", second.home / "cosigner.toml")["ok"], "[[former]] is no mistake"
        # Nothing left to confirm: the same again is quiet, and does not forget.
        assert [node["node"] for node in second.imports(first.home / "cluster.bundle")["nodes"]] == ["node1", "node2"]
        assert "[[former]]" in (second.home / "peers.toml").read_text()

        # Then node3 comes back with another identity, by card and by bundle.
        impostor = others[0]
        impostor.ctl("init", "--join", "--dir", impostor.home, "--cluster", "trio", "--node", "node3")
        for machine in (first, second):
            assert "another identity" in refused(machine, impostor.home / "node.card", "--yes", status=78, error="conflict")
        (first.home / "peers.toml").write_text((first.home / "peers.toml").read_text().split("\n# No peers")[0])
        first.imports(impostor.home / "node.card", "--yes")
        with_impostor = (first.home / "cluster.bundle").read_text()
        assert "another identity" in refused(second, first.home / "cluster.bundle", "--yes", status=78, error="conflict")
        # The same authority, put back to before: two bundles of one number.
        facts = first.home / "authority/authority.toml"
        facts.write_text(facts.read_text().replace("serial = 4", "serial = 2"))
        (first.home / "authority/members/node3.card").unlink()
        (first.home / "peers.toml").write_text(entered)
        first.imports(gone, "--yes")
        assert (first.home / "cluster.bundle").read_text() not in (without, with_impostor)
        message = refused(second, first.home / "cluster.bundle", "--yes", status=78, error="conflict")
        assert "the number of the one in use, 3" in message
        # And the genuine node3 is admitted again, as a node that is new here.
        first.imports(gone, "--yes")
        plan = second.imports(first.home / "cluster.bundle", "--yes")
        assert {node["node"]: node["status"] for node in plan["nodes"]}["node3"] == "new"
        assert "[[former]]" not in (second.home / "peers.toml").read_text()


def test_init_and_import_change_nothing_when_they_refuse():
    with machines(False) as (trio, hub):
        first, second, third = trio
        assert first.init("--join", "--hub", hub, status=2)["error"] == "bad_request"
        assert first.init(status=2)["error"] == "bad_request"
        assert first.init("--first", status=2)["error"] == "bad_request", "without --hub"
        assert first.init("--first", "--hub", "no host", status=2)["error"] == "bad_request"
        assert tree(first.home) == {}
        # A recovery copy that cannot be written is no news for after everything has been made.
        taken = first.home.parent / "taken.txt"
        taken.write_text("the first copy")
        assert first.init("--first", "--hub", hub, "--recovery-file", taken, status=73)["error"] == "already_exists"
        assert first.init("--first", "--hub", hub, "--recovery-file", "/nowhere/r.txt", status=73)["error"] == "storage_failed"
        assert taken.read_text() == "the first copy" and tree(first.home) == {}
        said = meet(trio, hub)
        recovery = (first.home / "recovery.txt").read_text().splitlines()[-1]
        assert recovery == (first.home / "credentials/key-encryption-key").read_text().strip()
        before = {machine.name: tree(machine.home) for machine in trio}

        def refuses(machine, error, status, *words):
            assert machine.ctl(*words, status=status)["error"] == error
            assert {one.name: tree(one.home) for one in trio} == before, words
        # A second init, first or joining, on a machine that is set up.
        for kind in (["--first", "--hub", hub], ["--join"]):
            refuses(first, "already_exists", 78, "init", "--dir", first.home, "--cluster", "trio", "--node", "node1", *kind)
        # A card or bundle with one character changed; text that is neither; a card of another cluster.
        card = (second.home / "node.card").read_text()
        spoilt = third.home.parent / "spoilt"
        lines = card.splitlines()
        lines[2] = ("A" if lines[2][0] != "A" else "B") + lines[2][1:]
        spoilt.write_text("\n".join(lines))
        assert first.imports(spoilt, status=66)["error"] in ("unauthorized", "bad_request")
        bundle = (first.home / "cluster.bundle").read_text().splitlines()
        for number in range(1, len(bundle) - 1, 7):
            changed = list(bundle)
            changed[number] = ("A" if changed[number][0] != "A" else "B") + changed[number][1:]
            spoilt.write_text("\n".join(changed))
            assert second.imports(spoilt, "--yes", status=66)["error"] in ("unauthorized", "bad_request"), number
        spoilt.write_text("hello")
        refuses(first, "bad_request", 66, "peers", "import", "--dir", first.home, spoilt)
        with machines(False) as (others, other_hub):
            stranger = others[0]
            stranger.ctl("init", "--join", "--dir", stranger.home, "--cluster", "other", "--node", "node9")
            refuses(first, "conflict", 78, "peers", "import", "--dir", first.home, stranger.home / "node.card")
            # The same name with another identity: somebody else who says he is node2.
            impostor = others[1]
            impostor.ctl("init", "--join", "--dir", impostor.home, "--cluster", "trio", "--node", "node2")
            refuses(first, "conflict", 78, "peers", "import", "--dir", first.home, "--yes", impostor.home / "node.card")
            # Another authority's bundle for this very cluster, with this node's own card in it.
            usurper = others[2]
            usurper.ctl("init", "--first", "--hub", other_hub, "--dir", usurper.home, "--cluster", "trio", "--node", "node7")
            usurper.imports(second.home / "node.card", "--yes")
            refuses(second, "conflict", 78, "peers", "import", "--dir", second.home, "--yes", usurper.home / "cluster.bundle")
            # A node that nobody compared yet.
            fourth = others[0]
            shutil.rmtree(fourth.home)
            fourth.home.mkdir()
            new = fourth.ctl("init", "--join", "--dir", fourth.home, "--cluster", "trio", "--node", "node4")
            refuses(first, "bad_request", 2, "peers", "import", "--dir", first.home, fourth.home / "node.card")
            old_bundle = (first.home / "cluster.bundle").read_text()
            plan = first.imports(fourth.home / "node.card", "--yes")
            assert plan["nodes"] == [{"node": "node4", "fingerprint": new["fingerprint"], "identity": new["identity"],
                                      "status": "new"}]
            # An older bundle than the one in use.
            second.imports(first.home / "cluster.bundle", "--yes")
            spoilt.write_text(old_bundle)
            assert second.imports(spoilt, "--yes", status=78)["error"] == "conflict"
            assert said[0]["node"] == "node1"
        # Secrets are for their owner alone.
        for machine in trio:
            for path in [*machine.home.glob("credentials/*"), *machine.home.glob("authority/*"),
                         *machine.home.glob("broker/*.key"), *machine.home.glob("broker/*.seed"),
                         *machine.home.glob("broker/*.creds")]:
                if path.is_file():
                    assert path.stat().st_mode & 0o077 == 0, path
