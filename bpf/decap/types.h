/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Layouts that user space shares. bpf2go emits the Go types from these. */
#pragma once

/* Why a packet got its verdict. The names that people see are made from these
 * by the agent. */
enum reason {
	DECAP_IPIP = 0,       /* out of IP in IP, to the stack */
	DECAP_GUE,            /* out of UDP, to the stack */
	DROP_ECN,             /* congestion seen on the way cannot be told inside (RFC 6040, 4.2) */
	DROP_INTERNAL,        /* cannot happen */
	PASS_NOT_IP,          /* ARP and the like */
	PASS_VLAN,            /* tagged frame */
	PASS_NOT_TUNNEL,      /* another protocol, or another UDP port */
	PASS_NOT_LOCAL,       /* a tunnel to another host's address */
	PASS_FOREIGN,         /* the inner packet is for no VIP */
	PASS_FRAGMENT,        /* a part of an outer packet */
	PASS_MALFORMED,       /* an outer header that lies */
	PASS_INNER_MALFORMED, /* no whole IP packet inside */
	REASONS,
};

/* IPv4 addresses are IPv4-mapped (RFC 4291, 2.5.5.2). */
struct address {
	__u32 word[4];
};

/* Types that no map holds reach the object's type information through these. */
const enum reason *emit_reason __attribute__((unused));
