"""A newcomer's first minute, in a network of its own: no configuration file, an account, a look at the node, its end.

Run by test_built_in as an ordinary user, with the usual ports free; any failure is an exit code other than 0.
"""

import json
import socket
import subprocess
import sys
import time

MEGAPHONE = [sys.executable, "-m", "megaphone"]
HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='%s' version='1.0'>"
DEADLINE_SECONDS = 60


def run(*words: str, code: int = 0, typed: str = "") -> str:
    """Run a command to its end and return what it printed."""
    done = subprocess.run([*MEGAPHONE, *words], input=typed, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, (words, done)
    return done.stdout + done.stderr


def opened(domain: bytes) -> bytes:
    """Open a stream as a client would, and return what comes within the features, or till the end."""
    with socket.create_connection(("127.0.0.1", 5222), 20) as client:
        client.sendall(HEADER % domain)
        said = b""
        while b"</stream:features>" not in said and (data := client.recv(4096)):
            said += data
        return said


def main() -> None:
    """Play it."""
    assert "built-in configuration: ok, listens on 127.0.0.1:5222 (none), serves localhost" in run("check")
    assert "Megaphone is not running" in run("status", code=3)
    assert run("user", "add", "romeo", "--password-file", "-", typed="wherefore\n") == "added romeo@localhost\n"
    serving = subprocess.Popen([*MEGAPHONE, "serve"], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            status = subprocess.run([*MEGAPHONE, "status", "--json"], capture_output=True, check=False)
            if status.returncode == 0:
                break
            assert serving.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        found = json.loads(status.stdout)
        assert [domain["name"] for domain in found["domains"]] == ["localhost"]
        features = opened(b"localhost")
        for mechanism in (b"SCRAM-SHA-256", b"SCRAM-SHA-1", b"ANONYMOUS"):
            assert b"<mechanism>%s</mechanism>" % mechanism in features, features
        assert b"<mechanism>PLAIN</mechanism>" not in features
        assert b"host-unknown" in opened(b"other.example")
        assert run("user", "add", "juliet", "--random").startswith("added juliet@localhost, password: ")
        assert [account["jid"] for account in json.loads(run("user", "list", "--json"))] == [
            "juliet@localhost",
            "romeo@localhost",
        ]
        assert run("user", "remove", "juliet") == "removed juliet@localhost\n"
        assert "there is no file to read again; write one and restart" in run("reload", code=2)
    finally:
        serving.terminate()
        _, shown = serving.communicate(timeout=60)
    assert serving.returncode == 0
    assert "built-in configuration" in shown
    assert "localhost, served here" in shown


if __name__ == "__main__":
    main()
