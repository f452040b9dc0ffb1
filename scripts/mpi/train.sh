#!/usr/bin/env bash
# Trains on several ranks under Open MPI, and starts again from the newest checkpoint when the job breaks.
#
#   scripts/mpi/train.sh RANKS CONFIG [ARGUMENTS OF fineline train]
#
# HOSTFILE=hosts.txt   ranks on several hosts, as for `mpirun --hostfile`; all must see the run's folder and the data
# BINARY=...           the program, built with `--features mpi` (default: target/release/fineline)
# ATTEMPTS=10          starts in all; one that comes further than the last doesn't count
# SILENCE=60           seconds without a sign of life of any rank, after which mpirun is ended too: where the network to a host is cut,
#                      it would wait for a quarter of an hour
#
# Ctrl-C or SIGTERM to this script ends all ranks after a checkpoint of the same step: `mpirun` alone would kill them a second later.
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
dir=$("$binary" config show "$config" "$@" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["config"]["run"]["dir"])')

newest() { cat "$dir/checkpoints/latest" 2>/dev/null || true; }

# The newest sign of life of any rank: each writes into `.ranks` twice a second.
sign() { stat -c %Y "$dir"/.ranks/rank-*.json 2>/dev/null | sort -n | tail -n 1 || true; }

# Whether signs could be written, if there were any: on a full disk, silence says nothing.
is_writable() { (echo 1 >"$dir/.ranks/probe") 2>/dev/null && rm -f "$dir/.ranks/probe"; }

# Ends mpirun once all ranks that it has started have fallen silent. `left` is the last sign of a job before it.
end_when_silent() {
    local job=$1 left=$2 last='' quiet=0 newest
    while sleep 1 && kill -0 "$job" 2>/dev/null; do
        newest=$(sign)
        if [ -z "$newest" ] || [ "$newest" = "$left" ]; then continue; fi
        if [ "$newest" != "$last" ] || ! is_writable; then
            last=$newest
            quiet=0
            continue
        fi
        quiet=$((quiet + 1))
        [ "$quiet" -ge "${SILENCE:-60}" ] || continue
        echo "train.sh: no rank has given a sign of life for $quiet s, ends mpirun" >&2
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
    left_sign=$(sign)
    "${launch[@]}" "$binary" train "$config" "$@" &
    job=$!
    end_when_silent "$job" "$left_sign" &
    # mpirun hands SIGUSR2 on to every rank; to fineline it means the same as SIGTERM.
    trap 'stopping=1; kill -USR2 $job 2>/dev/null || true' TERM INT
    code=0
    wait "$job" || code=$?
    # A signal ends `wait` before the job has ended.
    while kill -0 "$job" 2>/dev/null; do code=0; wait "$job" || code=$?; done
    wait || true
    # Done, asked wrongly, or asked to stop: no reason to try again.
    if [ "$code" = 0 ] || [ "$code" = 2 ] || [ -n "$stopping" ]; then exit "$code"; fi
    [ "$(newest)" != "$before" ] || left=$((left - 1))
    echo "train.sh: ended with code $code, starts again from $(newest | grep . || echo the beginning)" >&2
    sleep 5
done
echo "train.sh: no start came further than the last: see the messages above" >&2
exit 1
