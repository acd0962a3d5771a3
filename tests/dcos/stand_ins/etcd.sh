#!/bin/sh
# Starts etcd as a DC/OS master does: who the members are and whether the cluster is new is read at every start.
set -e

state=/var/lib/dcos/etcd
ip=$(/opt/mesosphere/bin/detect_ip)

exec /opt/mesosphere/active/etcd/bin/etcd \
    --name "etcd-$ip" \
    --data-dir "$state/default.etcd" \
    --auto-tls --peer-auto-tls \
    --listen-peer-urls "https://$ip:2380" \
    --initial-advertise-peer-urls "https://$ip:2380" \
    --listen-client-urls "$CLIENT_SCHEME://$ip:2379,$CLIENT_SCHEME://localhost:2379" \
    --advertise-client-urls "$CLIENT_SCHEME://$ip:2379,$CLIENT_SCHEME://localhost:2379" \
    --initial-cluster "$(cat "$state/initial-nodes")" \
    --initial-cluster-state "$(cat "$state/initial-state")" \
    --initial-cluster-token etcd-dcos \
    $RELEASE_FLAGS
