#!/bin/sh
# Makes this machine the balancer: binary, configuration, unit.
set -eu

command -v ethtool >/dev/null || apt-get install -y -qq ethtool >/dev/null

# The name of the interface that has an address.
interface() { ip -o -4 addr show to "$1" | awk '{print $2; exit}'; }
front=$(interface 10.90.1.10)
back=$(interface 10.90.2.10)

echo 'net.ipv4.ip_forward = 1' >/etc/sysctl.d/60-weir.conf
sysctl -q --system

install -D -m 755 /weir/bin/weir /usr/local/bin/weir
install -d /etc/weir
sed "s/FRONT/$front/; s/BACK/$back/" /weir/deploy/vagrant/weir.yaml >/etc/weir/weir.yaml
weir config check /etc/weir/weir.yaml
install -m 644 /weir/deploy/weir.service /etc/systemd/system/weir.service
systemctl daemon-reload
systemctl enable weir
systemctl restart weir

# The daemon serves as soon as it answers.
tries=0
until weir status >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || { systemctl status weir; exit 1; }
	sleep 0.1
done
weir status
weir backend list
weir doctor || echo "weir doctor found something to mend: see above"
