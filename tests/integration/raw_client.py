"""A client that hears every node: it submits a request over one node's control socket and counts the answer envelopes
one by one, where cosignerctl stops at the first that verifies. Frames and messages as ipc/README.md describes them.
"""
import collections
import hashlib
import os
import select
import socket
import struct
import time

import nacl.signing

CALL, REPLY, CANCEL = 90, 91, 92
STILL_HEARD = 500  # settled requests of one client; a connection may have 1,024 calls in the air


def pack(value):
    """msgpack of the few types that requests and calls are made of."""
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value]) if 0 <= value < 128 else b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        raw = value.encode()
        return (bytes([0xa0 | len(raw)]) if len(raw) < 32 else b"\xda" + struct.pack(">H", len(raw))) + raw
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, list):
        return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(pack, value))
    return b"\xde" + struct.pack(">H", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())


def unpack(data):
    value, rest = _unpack(memoryview(data))
    assert not rest, "left-over bytes"
    return value


def _unpack(data):
    head, data = data[0], data[1:]

    def number(form):
        size = struct.calcsize(form)
        return struct.unpack(form, data[:size])[0], data[size:]

    def take(size, rest, kind):
        raw = bytes(rest[:size])
        return (raw.decode() if kind is str else raw), rest[size:]

    def items(count, rest, pairs):
        out = []
        for _ in range(count * (2 if pairs else 1)):
            item, rest = _unpack(rest)
            out.append(item)
        return (dict(zip(out[::2], out[1::2])) if pairs else out), rest

    if head < 0x80:
        return head, data
    if head >= 0xe0:
        return head - 256, data
    if head < 0x90:
        return items(head & 15, data, True)
    if head < 0xa0:
        return items(head & 15, data, False)
    if head < 0xc0:
        return take(head & 31, data, str)
    if head in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[head], data
    if head in (0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3):
        return number({0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q", 0xd0: ">b", 0xd1: ">h", 0xd2: ">i", 0xd3: ">q"}[head])
    if head in (0xc4, 0xc5, 0xc6):
        return take(*number({0xc4: ">B", 0xc5: ">H", 0xc6: ">I"}[head]), bytes)
    if head in (0xd9, 0xda, 0xdb):
        return take(*number({0xd9: ">B", 0xda: ">H", 0xdb: ">I"}[head]), str)
    if head in (0xdc, 0xdd):
        return items(*number({0xdc: ">H", 0xdd: ">I"}[head]), False)
    if head in (0xde, 0xdf):
        return items(*number({0xde: ">H", 0xdf: ">I"}[head]), True)
    raise AssertionError(f"msgpack byte {head:#x}")


def tagged_hash(tag, *parts):
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix + prefix + b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()


class Answers:
    """What the nodes said to one request: {node: [name of the error, or "ok", …]}."""

    def __init__(self, call, sent):
        self.call, self.sent, self.by_node, self.contents, self.failed, self.first_at = call, sent, {}, [], None, None

    def add(self, envelope):
        answer = unpack(envelope["answer"])
        if self.first_at is None:
            self.first_at = time.monotonic()
        self.by_node.setdefault(envelope["node"], []).append("ok" if answer["ok"] else answer["error"]["name"])
        self.contents.append((envelope["node"], answer))

    def error(self, node):
        """What went wrong, by the first answer of this node, which is no success."""
        return next(answer["error"] for name, answer in self.contents if name == node)

    def doubled(self):
        return {node: names for node, names in self.by_node.items() if len(names) > 1}


class RawClient:
    """One connection to one node's control socket, with any number of requests in flight. As the initiator of the cluster, or
    of this seed."""

    def __init__(self, cluster, node=1, seed=None):
        seed = seed or open(cluster.env["COSIGNER_INITIATOR"]).read().strip()
        self.key = nacl.signing.SigningKey(bytes.fromhex(seed))
        self.cluster_name = cluster.status(node)["cluster"]
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(cluster.socket(node)))
        self.socket.setblocking(False)
        self.buffer, self.next_call, self.running, self.closed = b"", 1, {}, False
        self.settled = collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        """No node has answered a settled request again, by all that has come up to now."""
        with self.socket:
            if kind is not None:
                return
            while not self.closed and select.select([self.socket], [], [], 0)[0]:
                self.pump(0)
            for answers in self.settled:
                assert not answers.doubled(), answers.by_node

    def envelope(self, user, message, **options):
        return self._envelope("sign", user, {"message": message}, **options)

    def _envelope(self, operation, user, fields, key="k", scheme="ed25519", seconds=60):
        now = time.time_ns() // 1_000_000
        request = pack({"version": 1, "cluster": self.cluster_name, "initiator": bytes(self.key.verify_key), "op": operation,
                        "user": user, "key": key, "scheme": scheme, "id": os.urandom(16), "issued_at": now,
                        "expires_at": now + seconds * 1000, **fields})
        session = tagged_hash("cosigner/1/request", request)
        signature = bytes(self.key.verify_key) + self.key.sign(session).signature
        return pack({"request": request, "signatures": [signature]})

    def _send(self, kind, body):
        frame = b"\x94\x01\xcd" + struct.pack(">H", kind) + b"\xcf" + struct.pack(">Q", 0) + body
        self.socket.setblocking(True)
        self.socket.sendall(struct.pack(">I", len(frame)) + frame)
        self.socket.setblocking(False)

    def submit(self, envelope):
        call, self.next_call = self.next_call, self.next_call + 1
        answers = Answers(call, time.monotonic())
        self.running[call] = answers
        self._send(CALL, pack([call, "submit", pack({"envelope": envelope})]))
        return answers

    def sign(self, user, message, **options):
        return self.submit(self.envelope(user, message, **options))

    def keygen(self, user, participants, threshold=2, **options):
        return self.submit(self._envelope("keygen", user, {"threshold": threshold, "participants": participants}, **options))

    def settle(self, answers):
        """Every node that is to answer has. A second answer would come late: it is listened to on, until STILL_HEARD more are
        settled or this client ends."""
        self.settled.append(answers)
        assert not answers.doubled(), answers.by_node
        if len(self.settled) > STILL_HEARD:
            oldest = self.settled.popleft()
            assert not oldest.doubled(), oldest.by_node
            self.forget(oldest)

    def forget(self, answers):
        if self.running.pop(answers.call, None) is not None and not self.closed:
            try:
                self._send(CANCEL, pack([answers.call]))
            except OSError:
                self.closed = True

    def pump(self, seconds):
        """Takes what comes within `seconds`, returning as soon as something came."""
        if self.closed or not select.select([self.socket], [], [], seconds)[0]:
            return
        try:
            got = self.socket.recv(1 << 20)
        except (BlockingIOError, ConnectionResetError):
            got = b""
        if not got:
            self.closed = True
            return
        self.buffer += got
        while len(self.buffer) >= 4:
            size = struct.unpack(">I", self.buffer[:4])[0]
            if len(self.buffer) < 4 + size:
                break
            frame, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
            version, kind, _, reply = unpack(frame)
            assert (version, kind) == (1, REPLY)
            number, final, error, message, may_have_executed, body = reply
            answers = self.running.get(number)
            if answers is None:
                continue
            if final:
                answers.failed = {"error": error, "message": message, "may_have_executed": may_have_executed, **unpack(body)}
                del self.running[number]
            else:
                answers.add(unpack(unpack(body)["answer"]))

    def until(self, condition, seconds):
        """Pumps until condition(); False after `seconds` or when the node is gone."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.closed:
                return condition()
            self.pump(0.02)
        return True
