#!/usr/bin/env bash
# A real Slurm of one node on loopback, with files, keys and ports of its own: for the tests, and to try things out.
#
#   tests/cluster/slurm.sh start FOLDER   starts munged, slurmctld and slurmd; then: export SLURM_CONF=FOLDER/slurm.conf
#   tests/cluster/slurm.sh stop FOLDER    ends the jobs and these three processes
#
# Needs root and, on Debian or Ubuntu: apt-get install slurm-wlm munge
set -euo pipefail
action=${1:?start or stop} folder=${2:?a folder}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start() {
    [ "$(id -u)" = 0 ] || { echo "slurmd must be started by root"; exit 1; }
    mkdir -p "$folder"/{state,spool,log}
    folder=$(cd "$folder" && pwd)
    chmod 755 "$folder"
    mkdir -p -m 755 "$folder/munge"
    dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
    chmod 400 "$folder/munge/key"
    munged --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" --pid-file="$folder/munge/pid" \
        --log-file="$folder/log/munged" --seed-file="$folder/munge/seed" --num-threads=2
    local node
    node=$(hostname -s)
    cat >"$folder/slurm.conf" <<CONF
ClusterName=kinocyte-test
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=10
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=2
MpiDefault=none
ReturnToService=2
MinJobAge=600
KillWait=5
JobRequeue=1
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=4 RealMemory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF="$folder/slurm.conf"
    slurmctld -c
    slurmd -c
    for _ in $(seq 50); do
        sinfo --noheader --format=%T 2>/dev/null | grep -q idle && { echo "export SLURM_CONF=$SLURM_CONF"; return; }
        sleep 0.2
    done
    echo "the node did not become idle:"
    tail -n 5 "$folder"/log/*
    stop
    exit 1
}

stop() {
    export SLURM_CONF="$folder/slurm.conf"
    timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
    for file in slurmd.pid slurmctld.pid munge/pid; do
        [ -s "$folder/$file" ] && kill "$(cat "$folder/$file")" 2>/dev/null || true
    done
}

"$action"
