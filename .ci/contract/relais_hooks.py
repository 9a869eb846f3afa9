"""What is changed of generated requests before they are sent, so that a test of the API hurts nobody.

Only valid dangerous values are replaced, each by a valid one of the same kind: what is wrong stays wrong, and has to be
refused. `exec` runs one command alone, requests and messages go to a port that nobody listens at, and the cluster is
not told to run a fence, to be drilled or to go on without its voters. Values that mean something only to this cluster
(times of a cron text, zones, sizes) get a strategy of their own.
"""
import os
import re

import schemathesis
from hypothesis import strategies as st

COMMAND = ["true"]
NOWHERE = "http://127.0.0.1:9/"
OWN_TOKEN = os.environ.get("RELAIS_TOKEN_ID", "")
DURATION = re.compile(r"\s*([0-9]+(d|h|ms|m|s))+\s*")

schemathesis.openapi.format("relais-duration", st.builds("{}{}".format, st.integers(1, 90), st.sampled_from(["ms", "s", "m", "h"])))
schemathesis.openapi.format("relais-size", st.builds("{}{}".format, st.integers(1, 64), st.sampled_from(["", "KiB", "MiB"])))
schemathesis.openapi.format("relais-cron", st.sampled_from(["0 30 2 * * *", "*/5 * * * *", "0 0 1 1 *"]))
schemathesis.openapi.format("relais-time-zone", st.sampled_from(["UTC", "Europe/Paris", "Asia/Tokyo"]))
schemathesis.openapi.format("date-time", st.integers(2026, 2090).map("{}-01-02T03:04:05Z".format))
schemathesis.openapi.format("uri", st.just(NOWHERE))


def is_text(value):
    return isinstance(value, str)


def tame_spec(spec):
    payload = spec.get("payload")
    if isinstance(payload, dict):
        command = payload.get("command")
        if spec.get("kind") == "exec" and isinstance(command, list) and command and all(map(is_text, command)):
            payload["command"] = COMMAND
        if spec.get("kind") == "http" and is_text(payload.get("url")):
            payload["url"] = NOWHERE
    notify = spec.get("notify")
    if isinstance(notify, dict) and isinstance(notify.get("webhook"), dict) and is_text(notify["webhook"].get("url")):
        notify["webhook"]["url"] = NOWHERE
    array = spec.get("array")
    if isinstance(array, dict) and isinstance(array.get("count"), int) and not isinstance(array["count"], bool):
        if 5 < array["count"] <= 1_000_000:
            array["count"] = 5


def tame(body):
    """Walks all of a body: specs stand in schedules, batches and in `on_complete` too."""
    if isinstance(body, list):
        for item in body:
            tame(item)
    elif isinstance(body, dict):
        if "kind" in body or "payload" in body:
            tame_spec(body)
        for value in body.values():
            tame(value)


def tame_wait(holder):
    wait = holder.get("wait") if isinstance(holder, dict) else None
    if is_text(wait) and DURATION.fullmatch(wait):
        holder["wait"] = "100ms"


def tame_settings(body):
    takeover = body.get("takeover")
    if is_text(takeover) and takeover.startswith("fence:"):
        body["takeover"] = "available"
    if body.get("drill") in (True, "true", "on", "yes"):
        body["drill"] = False
    # Two nodes of three would lose their voice, and jobs of a test their row before it has looked at them.
    for key, usual in (("voters", 3), ("lease", "3s"), ("retention", "7d"), ("retention_count", 1_000_000)):
        if key in body and not isinstance(body[key], (list, dict)) and body[key] is not None:
            body[key] = usual


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path
    tame_wait(case.query)
    body = case.body
    if isinstance(body, (dict, list)):
        tame(body)
    if isinstance(body, dict):
        if path == "/v1/leases":
            tame_wait(body)
        if path == "/v1/cluster/settings":
            tame_settings(body)
        if path == "/v1/cluster:recover":
            body["dry_run"] = True
    query = case.query or {}
    if path == "/v1/events" and str(query.get("follow", "true")) in ("true", "1", ""):
        case.query["follow"] = "false"
    if path.endswith("/logs") and str(query.get("follow")) in ("true", "1", ""):
        case.query["follow"] = "false"
    if path == "/v1/tokens/{id}" and OWN_TOKEN and str(case.path_parameters.get("id")) == OWN_TOKEN:
        case.path_parameters["id"] = "0" * 16
