"""Runs the README's first command in an empty folder and asks each node whether the cluster runs."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
HTTP, QUIC = 17700, 17800


def ask(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
        return json.load(answer)


def cluster_of(port):
    try:
        return ask(port, "/v1/cluster")
    except (OSError, ValueError):
        return None


def runs(seen):
    if not all(seen):
        return False
    right = all(c["status"] == "running" and c["nodes"] == {"online": 3, "registered": 3} and c["high_availability"] for c in seen)
    return right and len({(c["dispatcher"], c["epoch"]) for c in seen}) == 1


def main():
    manifest = str(ROOT / "Cargo.toml")
    with tempfile.TemporaryDirectory() as folder:
        command = ["cargo", "run", "--release", "--manifest-path", manifest, "--", "dev",
                   "--http", f"127.0.0.1:{HTTP}", "--listen", f"127.0.0.1:{QUIC}"]
        log = open(os.path.join(folder, "log"), "w+")
        started = time.monotonic()
        dev = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        seen = []
        try:
            while time.monotonic() - started < 60:
                seen = [cluster_of(HTTP + n) for n in range(3)]
                if runs(seen) or dev.poll() is not None:
                    break
                time.sleep(0.1)
            took = time.monotonic() - started
            if not runs(seen):
                log.seek(0)
                print(log.read()[-4000:], seen)
                sys.exit("the cluster did not come up")
            print(f"3 of 3 nodes running after {took:.1f} s, dispatcher {seen[0]['dispatcher']}, epoch {seen[0]['epoch']}")
        finally:
            dev.send_signal(signal.SIGINT)
            try:
                dev.wait(30)
            except subprocess.TimeoutExpired:
                dev.kill()
                sys.exit("dev did not stop within 30 s of Ctrl-C")


main()
