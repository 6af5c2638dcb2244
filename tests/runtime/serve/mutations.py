"""Damaged requests: what a broken client, a careless proxy or a hostile hand could send to a server."""

import copy
import gzip
import io
import json
import random
import string
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tests.runtime.serve.wire import Wire, chunk, request

HEADER_LENGTH = "inference-header-content-length"
LAST = request("GET", "/v2/health/live", headers={"connection": "close"})
"""Sent after every damaged request, so that each connection ends at once where the damage left it usable."""

NASTY: list[Any] = [
    None, True, False, -1, 0, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, "", "x" * 5000, "\0",
    "NaN", "../../etc/passwd", "𝔘", [], {}, [[]], [None], {"": []}, [[[[[[[[[[1]]]]]]]]]], "UINT8", "FP32", "BYTES",
]  # fmt: skip
TOKENS = [
    b"NaN", b"-Infinity", b"1e999", b"-1e999", b"[" * 20000, b'{"a":' * 20000, b'"\\ud800"', b'"\\u0000"', b'"\xff"',
    b"9" * 5000, b"0x10", b"01", b"1.", b"'a'", b"{}{}", b"\xef\xbb\xbf1", b"[1,]", b"1" * 4300,
]  # fmt: skip


class Good(NamedTuple):
    """A request that a server answers with 200, in its parts."""

    path: str
    head: dict[str, Any]
    tensor: bytes

    def wire(self, *, head: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
        text = json.dumps(self.head).encode() if head is None else head
        return request("POST", self.path, text + self.tensor, {HEADER_LENGTH: str(len(text)), **(headers or {})})


def good_request(model: str, name: str, shape: tuple[int, ...]) -> Good:
    """One sample of seeded noise as binary data for an input of UINT8; `shape` with its batch of one."""
    tensor = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8).tobytes()
    entry = {"name": name, "shape": list(shape), "datatype": "UINT8", "parameters": {"binary_data_size": len(tensor)}}
    return Good(f"/v2/models/{model}/infer", {"id": "1", "inputs": [entry]}, tensor)


def damaged(data: bytes, rng: random.Random, most: int = 4) -> bytes:
    """Bytes changed, removed, doubled or cut off."""
    found = bytearray(data)
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(found) + 1)
        how = rng.choice(("change", "remove", "insert", "cut", "double"))
        if how == "change" and at < len(found):
            found[at] = rng.randrange(256)
        elif how == "remove":
            del found[at : at + rng.randint(1, 20)]
        elif how == "insert":
            found[at:at] = rng.randbytes(rng.randint(1, 20))
        elif how == "cut" and rng.random() < 0.2:
            del found[at:]
        elif how == "double":
            found[at:at] = found[at : at + 50]
    return bytes(found)


def json_value(good: Good, rng: random.Random) -> bytes:
    """Some value, or key, of the JSON is another one; sometimes a token that is no JSON at all."""
    head = copy.deepcopy(good.head)
    head |= {"parameters": {"binary_data_output": True}, "outputs": [{"name": "logits", "parameters": {}}]}
    head["outputs"][0]["parameters"]["classification"] = 1
    place: Any = head
    while True:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    if rng.random() < 0.3:
        place[key] = "HERE"
        return good.wire(head=json.dumps(head).encode().replace(b'"HERE"', rng.choice(TOKENS)))
    if isinstance(place, dict) and rng.random() < 0.2:
        place[rng.choice(["", "name", "binary_data_size", "data", "x"])] = place.pop(key)
    else:
        place[key] = rng.choice(NASTY)
    return good.wire(head=json.dumps(head).encode())


def json_bytes(good: Good, rng: random.Random) -> bytes:
    return good.wire(head=damaged(json.dumps(good.head).encode(), rng))


def json_repeats(good: Good, rng: random.Random) -> bytes:
    """The same input, output or key again and again."""
    head = copy.deepcopy(good.head)
    times = rng.choice((2, 100, 5000))
    what = rng.choice(("inputs", "outputs", "keys", "sizes"))
    if what == "keys":
        return good.wire(head=json.dumps(head).encode().replace(b'"id": "1",', b'"id": "1",' * times))
    if what == "sizes":
        head["inputs"] = [{**head["inputs"][0], "parameters": {"binary_data_size": 0}}] * times
    else:
        head[what] = [{"name": "logits"} if what == "outputs" else head["inputs"][0]] * times
    return good.wire(head=json.dumps(head).encode())


def numbers(good: Good, rng: random.Random) -> bytes:
    """The tensor as JSON, with something among its numbers that is none, or in a shape that is none."""
    values: list[Any] = list(good.tensor[: rng.choice((0, 1, 100, len(good.tensor)))])
    for _ in range(rng.randint(0, 3)):
        values.insert(rng.randrange(len(values) + 1), rng.choice([*NASTY, "x" * 100_000, 256, 1.0]))
    data: Any = rng.choice((values, [values], [values, values], [values, values[1:]], [[[values]]], {"0": values}))
    entry = {**good.head["inputs"][0], "parameters": {}, "data": data}
    return request("POST", good.path, json.dumps({"inputs": [entry]}).encode())


def sizes(good: Good, rng: random.Random) -> bytes:
    """Lengths that lie: of the JSON, of the tensor, of the body."""
    text = json.dumps(good.head).encode()
    lengths = ["-1", "0", "+5", "1e3", "²", "9" * 9, "9" * 5000, "0x10", "", " ", "1.0", str(len(text) - 1), "1, 2"]
    header = rng.choice([*lengths, str(len(text) + 1), str(len(text) + len(good.tensor)), str(len(text))])
    tensor = good.tensor[: rng.randrange(len(good.tensor))] + rng.randbytes(rng.choice((0, 0, 1, 5000)))
    headers = {} if rng.random() < 0.1 else {HEADER_LENGTH: header}
    if rng.random() < 0.3:
        headers["content-length"] = rng.choice(["-1", "0", "5", "9" * 30, "x", "1 ", str(len(text) + len(tensor) + 9)])
    return request("POST", good.path, text + tensor, headers)


def encoded(good: Good, rng: random.Random) -> bytes:
    """Compressed bodies: bombs, damaged, cut off, twice, and what is none."""
    text = json.dumps(good.head).encode()
    body = rng.choice((text + good.tensor, bytes(rng.choice((10**5, 3 * 10**7))), b""))
    body = rng.choice((gzip.compress, zlib.compress))(body, 1)
    if rng.random() < 0.5:
        body = rng.choice((body[: len(body) // 2], body + body, gzip.compress(body), damaged(body, rng)))
    name = rng.choice(("gzip", "deflate", "GZIP", "br", "gzip, gzip", "identity", "x" * 300, "²"))
    return request("POST", good.path, body, {"content-encoding": name, HEADER_LENGTH: str(len(text))})


def chunked(good: Good, rng: random.Random) -> bytes:
    """Chunks whose sizes lie, with trailers and extensions, or together with a length."""
    text = json.dumps(good.head).encode()
    body = text + good.tensor
    pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    end = rng.choice([b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0\r\nx: " + b"y" * 10**5 + b"\r\n\r\n", b"", b"-1\r\n\r\n"])
    stream = b"".join(map(chunk, pieces)) + end
    if rng.random() < 0.5:
        bad = [
            b"ffffffffffffffffff\r\n",
            b"g\r\n",
            b"\r\n",
            b"5;" + b"e" * 10**5 + b"\r\nabcde\r\n",
            b"5\r\nabcdefg\r\n",
        ]
        stream = stream[:1008] + rng.choice(bad) + stream[1008:]
    headers = {"transfer-encoding": rng.choice(("chunked", "Chunked", "gzip, chunked", "chunked, x", "identity"))}
    if rng.random() < 0.2:
        headers["content-length"] = str(len(body))
    return request("POST", good.path, stream, {**headers, HEADER_LENGTH: str(len(text))})


def pipelined(good: Good, rng: random.Random) -> bytes:
    """Several requests in one piece, one of which is damaged."""
    kinds = [json_value, sizes, chunked, lines, good_one]
    return b"".join(rng.choice(kinds)(good, rng) for _ in range(rng.randint(2, 12)))


def good_one(good: Good, rng: random.Random) -> bytes:
    return good.wire()


def headers(good: Good, rng: random.Random) -> bytes:
    """Too many, too long, or not of the characters that headers have."""
    text = json.dumps(good.head).encode()
    strange = [
        {f"x-{i}": "y" * 20 for i in range(rng.choice((50, 5000)))},
        {"x": "y" * rng.choice((60_000, 70_000, 10**6))},
        {"x\0": "y"}, {"x": "\0"}, {"x y": "z"}, {"": "z"}, {"x": "\r\n folded"}, {"x": "\xff\xfe"}, {"host": "a"},
        {"content-type": "\xff"}, {"accept": "*" * 1000}, {"connection": "upgrade", "upgrade": "h2c"},
        {"expect": "100-continue"}, {"expect": "x"}, {"authorization": "Bearer x"}, {"content-length ": "5"},
        {"connection": "keep-alive, close, x"}, {"cookie": "a=b;" * 500}, {"range": "bytes=0-1"},
    ]  # fmt: skip
    return request("POST", good.path, text + good.tensor, {HEADER_LENGTH: str(len(text)), **rng.choice(strange)})


def lines(good: Good, rng: random.Random) -> bytes:
    """Methods, targets and versions that nobody asked for."""
    methods = ["GET", "POST", "PUT", "OPTIONS", "TRACE", "BREW", "get", "", "P\0ST", "CONNECT"]
    paths = [
        good.path, "*", "", "/..", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%00", "/%zz", "/%ff%fe", "//",
        "/v2/models/%2f/infer", "/v2/models//infer", "http://x/v2", "x:80", "/v2?" + "a=b&" * 2000, "/\xff", "/a b",
        "/predict?top=-1", "/predict?top=²&model=%00", "/predict?variant=" + "x" * 5000, "/v2/models/" + "x" * 70_000,
        good.path + "/../infer", good.path.replace("/infer", "/versions/../infer"), "/metrics?x=%", "/openapi.json#",
    ]  # fmt: skip
    version = rng.choice(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "", "HTTP/1.1 x", "ICY"])
    line = f"{rng.choice(methods)} {rng.choice(paths)} {version}\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    other = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00" + rng.randbytes(200), rng.randbytes(500),
             b"\r\n" * 5000, b"\0" * 100]  # fmt: skip
    return line.encode("latin-1") if rng.random() < 0.8 else rng.choice(other)


def images(good: Good, rng: random.Random) -> bytes:
    """Damaged pictures, raw and as forms, whose boundaries and headers are damaged too."""
    target = io.BytesIO()
    picture = Image.fromarray(np.frombuffer(rng.randbytes(30 * 20 * 3), np.uint8).reshape(20, 30, 3))
    kind = rng.choice(("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"))
    picture.save(target, kind)
    content = damaged(target.getvalue(), rng)
    if rng.random() < 0.5:
        return request("POST", "/predict", content, {"content-type": f"image/{kind.lower()}"})
    boundary = rng.choice(("x", "-" * 70, "b d", "", "²", "".join(rng.choices(string.printable[:94], k=20))))
    line = b"--" + boundary.encode()
    form = b"\r\n".join(
        [line, b'content-disposition: form-data; name="a"; filename="b"', b"", content, line + b"--", b""]
    )
    form = damaged(form, rng) if rng.random() < 0.7 else form
    charset = rng.choice(("", "; charset=idna", "; charset=rot13", "; charset=\xff", "; charset=undefined"))
    return request("POST", "/predict", form, {"content-type": f"multipart/form-data; boundary={boundary}{charset}"})


KINDS: tuple[Callable[[Good, random.Random], bytes], ...] = (
    json_value, json_bytes, json_repeats, numbers, sizes, encoded, chunked, pipelined, headers, lines, images,
)  # fmt: skip


def answers(port: int, data: bytes) -> list[int]:
    """The statuses a server answers with until it closes the connection; raises AssertionError for what is no HTTP."""
    with Wire(port) as wire:
        wire.send(data + LAST)
        found = []
        while (answer := wire.answer()) is not None:
            found.append(answer.status)
        return found
