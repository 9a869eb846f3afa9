#!/usr/bin/env python3
"""An external worker of Relais: worker.py http://HOST:7700[,http://HOST2:7700…] QUEUE"""
import json, socket, sys, threading, time, urllib.error, urllib.request
NODES, QUEUE = sys.argv[1].split(","), sys.argv[2]
def call(path, body):  # any node will do; None when the lease is over: then nothing of the work counts
    while True:
        for node in NODES:
            head = {"Content-Type": "application/json"}  # with tokens: "Authorization": "Bearer …"
            try:
                request = urllib.request.Request(node + "/v1/leases" + path, json.dumps(body).encode(), head)
                return json.load(urllib.request.urlopen(request, timeout=60))
            except urllib.error.HTTPError as error:
                if error.code == 409: return None
                if error.code < 500: raise
            except OSError: time.sleep(0.2)
def keep(path, over, stop):  # renews the lease until the work is over
    while not over.wait(5):
        beat = call(path + ":heartbeat", {})
        if beat is None or beat["cancel_requested"]: return stop.set()
def work(payload, stop):  # yours: returns the result, or raises; ends early once `stop` is set
    return {"sum": sum(payload["numbers"])}
while True:
    for lease in call("", {"worker": socket.gethostname(), "queues": [QUEUE], "wait": "30s"}):
        path, over, stop = "/" + lease["lease_id"], threading.Event(), threading.Event()
        threading.Thread(target=keep, args=(path, over, stop), daemon=True).start()
        try: end, body = ":complete", {"result": work(lease["job"]["payload"], stop)}
        except Exception as e: end, body = ":fail", {"error": {"type": type(e).__name__, "message": str(e)}}
        over.set()
        call(path + (":release" if stop.is_set() else end), {} if stop.is_set() else body)
