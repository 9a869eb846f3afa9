"""Runs schemathesis against a cluster of three nodes: requests made from the API's own description, right and wrong
ones, and every answer compared with it. `:handover`, `:drain`, `:undrain` and `:purge` get a pass of their own.

    python3 .ci/schemathesis.py [--binary target/release/relais] [--seconds 60] [--schemathesis PATH]

Exits with 0 and says SKIPPED where schemathesis is not installed; with 1 when a check failed.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

CI = pathlib.Path(__file__).resolve().parent
ROOT = CI.parent
HTTP, QUIC = 27700, 27800
URL = f"http://127.0.0.1:{HTTP}"

# By themselves: they take work or the role from nodes while other requests wait for it.
APART = ["handOver", "drainNode", "undrainNode", "purgeQueue"]
# Never: the reason is printed.
LEFT_OUT = {
    "drillNode": "it kills and freezes nodes, and is refused while the setting `drill` is off; tests/tests/drill.rs has it",
    "metrics": "the text format of Prometheus is checked by promtool",
    "page": "the page has tests of its own, in a browser",
}
CHANGED = [
    "exec runs `true` alone, http and webhooks go to a closed port",
    "waits are cut to 100 ms, arrays to 5 jobs, follow to what is there",
    "recover only plans; takeover by a fence, drill, voters, lease and retention are not changed",
]


def ask(method, path, body=None, token=None):
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers, method=method), timeout=10) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def runs(token):
    try:
        cluster = ask("GET", "/v1/cluster", token=token)
        return cluster["status"] == "running" and cluster["nodes"]["online"] == 3
    except (OSError, ValueError):
        return False


def wait_for(what, true, seconds):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.1)


def seed(token):
    """One of each thing, so that not every name leads to 404."""
    job = {"kind": "exec", "payload": {"command": ["true"]}, "labels": {"team": "data"}}
    ask("POST", "/v1/jobs?wait=10s", job, token)
    ask("POST", "/v1/jobs", {"kind": "noop", "payload": {}, "delay": "1h"}, token)
    ask("POST", "/v1/jobs", {"kind": "noop", "payload": {}, "array": {"count": 3}}, token)
    ask("POST", "/v1/jobs", {"kind": "external", "payload": {}}, token)
    ask("PUT", "/v1/queues/default", {"weight": 2}, token)
    ask("PUT", "/v1/schedules/nightly", {"cron": "0 30 2 * * *", "job": {"kind": "noop", "payload": {}}}, token)


def run_pass(name, tool, arguments, seconds, environment, token):
    print(f"== schemathesis, {name}: {seconds} s at most", flush=True)
    command = [tool, "--config-file", str(CI / "contract/schemathesis.toml"), "run", URL + "/v1/openapi.json", "--url", URL,
               "--header", f"Authorization: Bearer {token}", "--max-time", str(seconds),
               "--continue-on-failure", "--seed", "1", "--no-color"]
    return subprocess.run(command + arguments, env=environment, cwd=environment["RELAIS_CI_FOLDER"]).returncode


def check(tool, seconds, folder):
    # `relais dev` asks without a token until all are up; from the first token on each request needs one.
    wait_for("the cluster", lambda: "The cluster is running" in (pathlib.Path(folder) / "log").read_text(), 90)
    made = ask("POST", "/v1/tokens", {"role": "admin", "name": "schemathesis"})
    token = made["token"]
    seed(token)
    environment = dict(os.environ, RELAIS_TOKEN_ID=made["id"], RELAIS_CI_FOLDER=folder, PYTHONPATH=str(CI / "contract"),
                       SCHEMATHESIS_HOOKS="relais_hooks", PYTHONDONTWRITEBYTECODE="1")
    for operation, why in LEFT_OUT.items():
        print(f"left out: {operation}: {why}")
    for what in CHANGED:
        print(f"changed: {what}")
    apart = [part for one in APART for part in ("--include-operation-id", one)]
    rest = [part for one in [*APART, *LEFT_OUT] for part in ("--exclude-operation-id", one)]
    failed = [run_pass("all operations but those apart", tool, rest, seconds, environment, token)]
    failed.append(run_pass(", ".join(APART), tool, [*apart, "--phases", "examples,coverage,fuzzing"],
                           max(seconds // 4, 10), environment, token))
    for node in ask("GET", "/v1/nodes?consistency=local", token=token)["nodes"]:
        ask("POST", f"/v1/nodes/{node['name']}:undrain", token=token)
    wait_for("the cluster after all of it", lambda: runs(token), 30)
    return failed


def main():
    # Whoever ends this one early ends the cluster, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it was told to stop"))
    options = argparse.ArgumentParser()
    options.add_argument("--binary", default=str(ROOT / "target/release/relais"))
    options.add_argument("--seconds", type=int, default=80)
    options.add_argument("--schemathesis", default=shutil.which("schemathesis") or "")
    options = options.parse_args()
    if not options.schemathesis or not pathlib.Path(options.schemathesis).exists():
        print("SKIPPED: schemathesis is not installed: `pip install schemathesis`, then run this again")
        return
    if not pathlib.Path(options.binary).exists():
        sys.exit(f"there is no {options.binary}; run `cargo build --release`, or give --binary")
    with tempfile.TemporaryDirectory() as folder:
        log = open(os.path.join(folder, "log"), "w+")
        dev = subprocess.Popen([options.binary, "dev", "--http", f"127.0.0.1:{HTTP}", "--listen", f"127.0.0.1:{QUIC}"],
                               cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            failed = check(options.schemathesis, options.seconds, folder)
        finally:
            dev.send_signal(signal.SIGINT)
            try:
                dev.wait(30)
            except subprocess.TimeoutExpired:
                dev.kill()
    if any(failed):
        sys.exit("schemathesis found something: see above")
    print("schemathesis: 0 failures")


main()
