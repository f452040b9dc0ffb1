#!/usr/bin/env bash
# Cuts the network between two hosts while a model trains on both. The ranks must end with a message that says
# why, and scripts/mpi/train.sh must resume when the network is back, with the bits of an undisturbed run.
#
#   sudo scripts/faults/network_cut.sh [BINARY]
#
# The hosts are two network namespaces with their own host names and addresses, connected by a pair of virtual
# interfaces. Open MPI starts its ranks through `ip netns exec`, as it would through ssh. Needs root,
# iproute2, and a program built with `--features mpi`.
set -euo pipefail
export BINARY
BINARY=$(realpath "${1:-$(dirname "$0")/../../target/release/fineline}")
[ -x "$BINARY" ] || { echo "no program at $BINARY" >&2; exit 2; }
cd "$(dirname "$0")/../.."
timeout_s=8
work=$(mktemp -d)
hosts=(fineline-a fineline-b)

cleanup() {
    for host in "${hosts[@]}"; do
        ip netns pids "$host" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    done
    for host in "${hosts[@]}"; do ip netns delete "$host" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

for host in "${hosts[@]}"; do
    ip netns add "$host"
    ip -n "$host" link set lo up
done
ip link add wire netns "${hosts[0]}" type veth peer name wire netns "${hosts[1]}"
for at in 0 1; do
    ip -n "${hosts[$at]}" address add "10.77.0.$((at + 1))/24" dev wire
    ip -n "${hosts[$at]}" link set wire up
done

# The replacement of ssh for Open MPI: `agent ADDRESS COMMAND`.
cat >"$work/agent" <<'AGENT'
#!/bin/sh
[ "$1" = 10.77.0.2 ] || { echo "agent: unknown host $1" >&2; exit 1; }
shift
ip -n fineline-b link show wire up | grep -q wire || { echo "agent: no route to 10.77.0.2" >&2; exit 1; }
exec ip netns exec fineline-b unshare --uts sh -c "hostname fineline-b; $*"
AGENT
chmod +x "$work/agent"
# A slow start, as on a cluster: for a while there is no heartbeat.
printf '#!/bin/sh\n[ "$1" = train ] && sleep 2\nexec %s "$@"\n' "$BINARY" >"$work/slow"
chmod +x "$work/slow"
BINARY=$work/slow
printf '10.77.0.1 slots=1\n10.77.0.2 slots=1\n' >"$work/hosts.txt"
export HOSTFILE=$work/hosts.txt SILENCE=10
export OMPI_MCA_plm_rsh_agent=$work/agent OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,self
export OMPI_MCA_btl_tcp_if_include=wire OMPI_MCA_oob_tcp_if_include=wire
export OMPI_MCA_hwloc_base_binding_policy=none

train() { # the run directory
    local settings=(--set "run.dir=$1" --set run.threads=1
        --set train.micro_batch_size=4 --set train.steps=120
        --set probes=[] --set checkpoint.every_steps=10
        --set distributed.deterministic=true --set "distributed.timeout_s=$timeout_s")
    ip netns exec fineline-a unshare --uts sh -c 'hostname fineline-a; exec "$@"' sh \
        scripts/mpi/train.sh 2 configs/quickstart.toml "${settings[@]}"
}

wait_until() { # a command, and a description of what it checks
    local end=$((SECONDS + 120))
    until eval "$1"; do
        if ! kill -0 "$job" 2>/dev/null || [ $SECONDS -ge $end ]; then
            echo "timeout while waiting for $2" >&2
            cat "$work/cut.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

echo "== undisturbed"
train "$work/calm" 2>"$work/calm.log" >/dev/null || { cat "$work/calm.log"; exit 1; }

echo "== the network is cut at the second checkpoint"
train "$work/cut" 2>"$work/cut.log" >/dev/null &
job=$!
wait_until '[ -e "$work/cut/checkpoints/step-00000020" ]' "the second checkpoint"
ip -n fineline-b link set wire down
cut=$SECONDS
message='all ranks are alive and wait for each other'
wait_until "grep -aq '$message' '$work/cut.log'" "a message that the network is cut"
error=$(grep -a -m 1 'error:' "$work/cut.log")
echo "after $((SECONDS - cut)) s (distributed.timeout_s is $timeout_s): $error"
wait_until "grep -aq 'restarting from' '$work/cut.log'" "another start"
echo "after $((SECONDS - cut)) s: $(grep -a -m 1 'restarting from' "$work/cut.log")"

echo "== the network is back"
ip -n fineline-b link set wire up
wait "$job" || { cat "$work/cut.log"; exit 1; }
last=checkpoints/step-00000120
for file in model.safetensors optimizer.safetensors; do
    cmp "$work/calm/$last/$file" "$work/cut/$last/$file"
done
echo "identical to the undisturbed run: model.safetensors and optimizer.safetensors of step 120"
