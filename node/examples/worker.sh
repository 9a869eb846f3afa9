#!/usr/bin/env bash
# An external worker of Relais: worker.sh http://HOST:7700[,http://HOST2:7700…] QUEUE COMMAND…
# COMMAND gets each lease on standard input, as JSON; what it prints is the job's result, JSON as well.
IFS=, read -ra nodes <<<"$1"; queue=$2; shift 2
call() {  # PATH BODY: any node will do; fails when the lease is over: then nothing of the work counts
  local node answer
  while :; do
    for node in "${nodes[@]}"; do
      answer=$(curl -s -m 60 -w '\n%{http_code}' -H 'Content-Type: application/json' -d "$2" "$node/v1/leases$1")
      case ${answer##*$'\n'} in
        2*) echo "${answer%$'\n'*}"; return 0 ;;
        4*) echo "${answer%$'\n'*}" >&2; return 1 ;;
      esac
    done
    sleep 0.2
  done
}
while :; do
  lease=$(call "" "{\"worker\": \"$HOSTNAME\", \"queues\": [\"$queue\"], \"wait\": \"30s\"}") || exit 1
  [[ $lease =~ \"lease_id\":\"([^\"]+)\" ]] || continue
  id=${BASH_REMATCH[1]}
  while sleep 5; do call "/$id:heartbeat" '{}' >/dev/null || break; done &
  if result=$("$@" <<<"${lease:1:-1}")
  then call "/$id:complete" "{\"result\": ${result:-null}}"
  else call "/$id:fail" "{\"error\": {\"type\": \"exit\", \"message\": \"exit code $?\"}}"
  fi
  kill $!
done
