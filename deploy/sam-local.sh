#!/usr/bin/env bash
# `sam local invoke` of every function with its event, in containers of an engine of its own, which ends with it.
# As root, after `just build` or `just build --quick`: .ci/with-local.sh deploy/sam-local.sh
set -euo pipefail
cd "$(dirname "$0")/.."
: "${DATABASE_URL:?run me by .ci/with-local.sh}"
tools=${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}
export PATH="$tools/venv/bin:$PATH"
work=$(mktemp -d)
bridge=citizen$((RANDOM % 1000))
host=172.29.77.1
pids=()

end() {
    # Ten seconds to end by themselves: an engine that hangs must not hang us.
    kill "${pids[@]}" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "${pids[@]}" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
    ip link delete "$bridge" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT

# An engine that touches no other: own folders, socket and network, no packet filter.
ip link add "$bridge" type bridge
ip address add "$host/24" dev "$bridge"
ip link set "$bridge" up
dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" --host "unix://$work/socket" \
    --bridge "$bridge" --iptables=false --ip-masq=false > "$work/dockerd.log" 2>&1 &
pids+=($!)
export DOCKER_HOST=unix://$work/socket
for _ in $(seq 300); do
    docker info > /dev/null 2>&1 && break
    kill -0 "${pids[0]}" 2>/dev/null || { cat "$work/dockerd.log"; exit 1; }
    sleep 0.1
done

# The local system listens on loopback only: what containers ask their host for is passed on.
mail=${MAIL_URL##*:}
ports=("${DATABASE_URL##*:}" "${QUEUES_URL##*:}" "${mail%%/*}")
python3 deploy/forward.py "$host" "${ports[@]}" &
pids+=($!)
for port in "${ports[@]}"; do
    for _ in $(seq 100); do
        (exec 3<> "/dev/tcp/$host/$port") 2>/dev/null && break
        sleep 0.1
    done
done
export DATABASE_URL=http://$host:${DATABASE_URL##*:} QUEUES_URL=http://$host:${QUEUES_URL##*:} MAIL_URL=http://$host:$mail

# No image can be pulled here. What SAM wants of AWS's base image for a compiled function: a shell, glibc, and SAM's
# own runtime interface emulator. SAM passes on only variables that the template has, so the rest are the image's.
root=$work/root
mkdir -p "$root"/{bin,lib64,tmp,etc,var/task,var/rapid}
cp /bin/busybox "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp -L /lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/lib{c,m,dl,pthread,rt}.so.* \
    /lib/x86_64-linux-gnu/libgcc_s.so.1 "$root/lib64/"
cp "$tools"/venv/lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64 "$root/var/rapid/aws-lambda-rie"
chmod +x "$root/var/rapid/aws-lambda-rie"
chmod 1777 "$root/tmp"
tar -C "$root" -c . | docker import \
    --change 'WORKDIR /var/task' --change 'ENV LD_LIBRARY_PATH=/lib64' \
    --change "ENV AWS_ENDPOINT_URL_DYNAMODB=$DATABASE_URL AWS_ENDPOINT_URL_SQS=$QUEUES_URL AWS_ENDPOINT_URL_SESV2=$MAIL_URL" \
    - public.ecr.aws/lambda/provided:al2023-x86_64 > /dev/null
docker tag public.ecr.aws/lambda/provided:al2023-x86_64 public.ecr.aws/lambda/provided:al2023-rapid-x86_64

WORK=$work deploy/sam_local.py "$@"
