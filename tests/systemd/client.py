"""Clients of a throng for the scripts beside this file: plain sockets, no package.

    client.py connect N             N connections, all upgraded and then closed; 0 if all were served
    client.py until FILE            one connection after another until FILE is there; prints "begun" after the
                                    first and at the end how many were served; 0 if all were
    client.py fill N FILE           N connections that are held until FILE is there; prints "full"
    client.py publish TEXT          publishes into the room "notes", with the key "test-key-of-16-bytes"
    client.py history               prints what the room holds, a line for each
"""

import json
import os
import socket
import sys
import time
import urllib.request

CLIENTS = ("127.0.0.1", int(os.environ.get("THRONG_PORT", "8000")))
API = "http://127.0.0.1:8001/api/"
KEY = "test-key-of-16-bytes"
PATIENCE_S = 20
UPGRADE = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: throng\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def served():
    """A connection that was upgraded; an OSError if it was not."""
    connection = socket.create_connection(CLIENTS, PATIENCE_S)
    connection.sendall(UPGRADE)
    answer = connection.recv(4096)
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise OSError(f"not served: {answer[:60]!r}")
    return connection


def call(method, body):
    request = urllib.request.Request(API + method, json.dumps(body).encode(), {"X-API-Key": KEY})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def until(path):
    count = 0
    while not os.path.exists(path):
        served().close()
        count += 1
        if count == 1:
            print("begun", flush=True)
    print(count)


def fill(count, path):
    held = [served() for _ in range(count)]
    print("full", flush=True)
    while not os.path.exists(path):
        time.sleep(0.05)
    return held


def main(what, *arguments):
    if what == "connect":
        for connection in [served() for _ in range(int(arguments[0]))]:
            connection.close()
    elif what == "until":
        until(arguments[0])
    elif what == "fill":
        fill(int(arguments[0]), arguments[1])
    elif what == "publish":
        answer = call("publish", {"channel": "notes", "data": arguments[0]})
        assert "result" in answer, answer
    elif what == "history":
        answer = call("history", {"channel": "notes", "limit": -1})
        for publication in answer["result"]["publications"]:
            print(publication["data"])
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
