"""What the nodes' logs say of the presignatures they have used: at level debug a line each, told by the worker before
anything made from the presignature leaves it. The id is the same at all signers, whatever message R is shifted for."""
import collections
import json

# Settings of a cluster whose logs can be asked.
LOGGED = {"log.level": '"debug"', "log.format": '"json"'}

Use = collections.namedtuple("Use", "node user generation presignature session message")


def uses(cluster, user=None):
    found = []
    for node in range(1, cluster.nodes + 1):
        for line in cluster.log(node).splitlines():
            if "presignature_id" not in line or not line.startswith("{"):
                continue
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # its end is not written yet
                continue
            if user in (None, entry["user_id"]):
                found.append(Use(node, entry["user_id"], entry["generation"], entry["presignature_id"], entry["session_id"],
                                 entry["message"]))
    return found


def used_twice(found):
    """What there must not be: a presignature twice at one node, or for two requests or two attempts anywhere."""
    wrong, first_use = [], {}
    for use in found:
        earlier = first_use.setdefault(use.presignature, {})
        for node, other in earlier.items():
            if node == use.node or (other.session, other.message) != (use.session, use.message):
                wrong.append((other, use))
        earlier.setdefault(use.node, use)
    return wrong


def check_single_use(cluster, user, at_least=1):
    """Returns how many were used: the check is worth something only where there are some."""
    found = uses(cluster, user)
    assert used_twice(found) == []
    count = len({use.presignature for use in found})
    assert count >= at_least, f"only {count} presignatures of {user} were used"
    return count
