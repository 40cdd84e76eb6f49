"""Somebody else of this machine at a node's control socket, who has no rights there. Takes root."""
import os
import socket

NOBODY = 65534


def open_to_all(cluster, node):
    """Everybody may knock, as under systemd (cosigner.service)."""
    path = cluster.socket(node)
    for folder in (cluster.dir, cluster.home, path.parent):
        os.chmod(folder, 0o711)
    os.chmod(path, 0o666)


def knock_as_stranger(cluster, node):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        client.connect(str(cluster.socket(node)))  # the kernel notes who it is
    finally:
        os.seteuid(0)
        os.setegid(0)
    client.settimeout(30)  # not before: a connect(2) that may not wait fails while the node is accepting others
    return client
