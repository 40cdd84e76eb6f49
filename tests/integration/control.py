"""The control socket and the client API in Python, for tests that want many requests a second: msgpack as far as the
formats need it, frames (ipc/README.md), signed requests (the client API there). cosignerctl is what other tests use."""
import hashlib
import os
import socket
import struct
import time

import nacl.signing


def pack(value):
    """msgpack of None, bool, int, str, bytes, list, dict."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if value < 0:
            return struct.pack(">Bq", 0xd3, value)
        return bytes([value]) if value < 128 else struct.pack(">BQ", 0xcf, value)
    if isinstance(value, str):
        data = value.encode()
        return struct.pack(">BI", 0xdb, len(data)) + data
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xc6, len(value)) + value
    if isinstance(value, (list, tuple)):
        return struct.pack(">BI", 0xdd, len(value)) + b"".join(pack(item) for item in value)
    return struct.pack(">BI", 0xdf, len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())


def unpack(data):
    value, end = _unpack(data, 0)
    assert end == len(data), "bytes are left over"
    return value


_SIZES = {0xc4: ">B", 0xc5: ">H", 0xc6: ">I", 0xd9: ">B", 0xda: ">H", 0xdb: ">I", 0xdc: ">H", 0xdd: ">I", 0xde: ">H",
          0xdf: ">I"}
_NUMBERS = {0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q", 0xd0: ">b", 0xd1: ">h", 0xd2: ">i", 0xd3: ">q"}


def _unpack(data, at):
    head = data[at]
    at += 1
    if head < 0x80:
        return head, at
    if head >= 0xe0:
        return head - 256, at
    if head in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[head], at
    if head in _NUMBERS:
        size = struct.calcsize(_NUMBERS[head])
        return struct.unpack_from(_NUMBERS[head], data, at)[0], at + size
    if head in _SIZES:
        size, kind = struct.unpack_from(_SIZES[head], data, at)[0], head
        at += struct.calcsize(_SIZES[head])
    else:
        size, kind = (head & 0x1f, 0xd9) if head & 0xe0 == 0xa0 else (head & 0x0f, 0xdc if head & 0xf0 == 0x90 else 0xde)
    if kind <= 0xc6:
        return data[at:at + size], at + size
    if kind <= 0xdb:
        return data[at:at + size].decode(), at + size
    if kind <= 0xdd:
        items = []
        for _ in range(size):
            item, at = _unpack(data, at)
            items.append(item)
        return items, at
    entries = {}
    for _ in range(size):
        key, at = _unpack(data, at)
        entries[key], at = _unpack(data, at)
    return entries, at


def tagged_hash(tag, *parts):
    tag = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(tag + tag + b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()


def sign_envelope(seed_hex, cluster, user, key, message=b"", lifetime_s=600):
    """The envelope of a signature request, signed by the initiator whose key file holds these digits."""
    signer = nacl.signing.SigningKey(bytes.fromhex(seed_hex))
    public = bytes(signer.verify_key)
    now = int(time.time() * 1000)
    request = pack({"version": 1, "cluster": cluster, "initiator": public, "op": "sign", "user": user, "key": key,
                    "scheme": "ed25519", "id": os.urandom(16), "issued_at": now, "expires_at": now + lifetime_s * 1000,
                    "message": message})
    session = tagged_hash("cosigner/1/request", request)
    return pack({"request": request, "signatures": [public + signer.sign(session).signature]})


CALL, REPLY, CANCEL = 90, 91, 92


def frame(kind, fields, generation=0):
    body = b"\x94\x01" + struct.pack(">BHBQ", 0xcd, kind, 0xcf, generation) + pack(fields)
    return struct.pack(">I", len(body)) + body


class Control:
    """One connection; several calls may be under way."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.buffer = b""
        self.last = 0

    def close(self):
        self.socket.close()

    def send(self, command, arguments=None):
        self.last += 1
        self.socket.sendall(frame(CALL, [self.last, command, pack(arguments or {})]))
        return self.last

    def cancel(self, call):
        self.socket.sendall(frame(CANCEL, [call]))

    def receive(self):
        """The next reply of any call: (call, final, error name, body)."""
        while True:
            if len(self.buffer) >= 4:
                size = struct.unpack_from(">I", self.buffer)[0]
                if len(self.buffer) >= 4 + size:
                    whole, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
                    fields = unpack(whole[14:])
                    body = fields[-1]
                    return fields[0], fields[1], fields[2], unpack(body) if body else {}
            chunk = self.socket.recv(1 << 16)
            assert chunk, "the node closed the control connection"
            self.buffer += chunk

    def call(self, command, arguments=None):
        """(error name or "", body of the final reply)"""
        number = self.send(command, arguments)
        while True:
            call, final, error, body = self.receive()
            if call == number and (final or error):
                return error, body


def answer_error(envelope):
    """The error's name in an answer envelope, "" for a success; the node that sent it."""
    outer = unpack(envelope)
    answer = unpack(outer["answer"])
    return ("" if answer["ok"] else answer["error"]["name"]), outer["node"]
