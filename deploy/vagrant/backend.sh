#!/bin/sh
# Makes this machine a backend: an HTTP server on port 8080 that answers with
# the machine's name, and the way back to clients through the balancer.
set -eu

command -v python3 >/dev/null || apt-get install -y -qq python3 >/dev/null

install -m 644 /weir/deploy/vagrant/backend.py /usr/local/lib/weir-backend.py
cat >/etc/systemd/system/weir-backend.service <<EOF
[Unit]
Description=HTTP server behind weir
Wants=network-online.target
After=network-online.target

[Service]
ExecStartPre=+/sbin/ip route replace 10.90.1.0/24 via 10.90.2.10
ExecStart=/usr/bin/python3 /usr/local/lib/weir-backend.py 8080
DynamicUser=yes
Restart=always

[Install]
WantedBy=multi-user.target
EOF
systemctl daemon-reload
systemctl enable weir-backend
systemctl restart weir-backend
