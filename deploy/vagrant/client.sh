#!/bin/sh
# Makes this machine a client: the VIP is reached through the balancer.
set -eu

command -v python3 >/dev/null || apt-get install -y -qq python3 >/dev/null

cat >/etc/systemd/system/weir-route.service <<EOF
[Unit]
Description=Route to the VIP of weir
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip route replace 198.51.100.10/32 via 10.90.1.10

[Install]
WantedBy=multi-user.target
EOF
systemctl daemon-reload
systemctl enable weir-route
systemctl restart weir-route
