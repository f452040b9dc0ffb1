#!/usr/bin/env bash
# Trains on several ranks under Open MPI, and restarts from the newest checkpoint when the job fails.
#
#   scripts/mpi/train.sh RANKS CONFIG [ARGUMENTS OF fineline train]
#
# HOSTFILE=hosts.txt   ranks on several hosts, as for `mpirun --hostfile`; all must see the run directory and
# the data BINARY=...           the program, built with `--features mpi` (default: target/release/fineline)
# ATTEMPTS=10          maximum number of starts; one that gets further than the last doesn't count SILENCE=60
# seconds without a heartbeat of any rank, after which mpirun is ended too: if the network to a
#                      host is cut, it would wait for a quarter of an hour
#
# Ctrl-C or SIGTERM to this script ends all ranks after a checkpoint of the same step. `mpirun` alone would
# kill them a second later.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 2
fi
ranks=$1
config=$2
shift 2
binary=${BINARY:-target/release/fineline}
launch=(mpirun -np "$ranks")
[ -z "${HOSTFILE:-}" ] || launch+=(--hostfile "$HOSTFILE")
[ "$(id -u)" != 0 ] || launch+=(--allow-run-as-root)
dir=$("$binary" config show "$config" "$@" --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["config"]["run"]["dir"])')

newest() { cat "$dir/checkpoints/latest" 2>/dev/null || true; }

# Prints the time of the newest heartbeat of any rank: each writes to `.ranks` twice a second.
heartbeat() { stat -c %Y "$dir"/.ranks/rank-*.json 2>/dev/null | sort -n | tail -n 1 || true; }

# Whether heartbeats can be written: on a full disk, silence means nothing.
is_writable() { (echo 1 >"$dir/.ranks/probe") 2>/dev/null && rm -f "$dir/.ranks/probe"; }

# Ends mpirun once all ranks that it started have stopped writing heartbeats. `left` is the last heartbeat of
# an earlier job.
end_when_silent() {
    local job=$1 left=$2 last='' quiet=0 newest
    while sleep 1 && kill -0 "$job" 2>/dev/null; do
        newest=$(heartbeat)
        if [ -z "$newest" ] || [ "$newest" = "$left" ]; then continue; fi
        if [ "$newest" != "$last" ] || ! is_writable; then
            last=$newest
            quiet=0
            continue
        fi
        quiet=$((quiet + 1))
        [ "$quiet" -ge "${SILENCE:-60}" ] || continue
        echo "train.sh: no heartbeat of any rank for $quiet s, ending mpirun" >&2
        for signal in INT INT KILL; do
            kill -"$signal" "$job" 2>/dev/null || return 0
            sleep 5
        done
    done
}

stopping=
left=${ATTEMPTS:-10}
while [ "$left" -gt 0 ]; do
    before=$(newest)
    old_heartbeat=$(heartbeat)
    "${launch[@]}" "$binary" train "$config" "$@" &
    job=$!
    end_when_silent "$job" "$old_heartbeat" &
    # mpirun forwards SIGUSR2 to every rank. fineline treats it like SIGTERM.
    trap 'stopping=1; kill -USR2 $job 2>/dev/null || true' TERM INT
    code=0
    wait "$job" || code=$?
    # A signal ends `wait` before the job has ended.
    while kill -0 "$job" 2>/dev/null; do code=0; wait "$job" || code=$?; done
    wait || true
    # Finished, wrong arguments, or a requested stop: no restart.
    if [ "$code" = 0 ] || [ "$code" = 2 ] || [ -n "$stopping" ]; then exit "$code"; fi
    [ "$(newest)" != "$before" ] || left=$((left - 1))
    echo "train.sh: ended with code $code, restarting from $(newest | grep . || echo step 0)" >&2
    sleep 5
done
echo "train.sh: no start got further than the last: see the messages above" >&2
exit 1
