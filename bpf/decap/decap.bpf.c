//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* On a backend host: takes packets for a VIP out of the tunnels that weir sent
 * them in and hands them to the stack. TTL and hop limit stay as the balancer
 * got them. Every other frame passes untouched. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "types.h"
#include "maps.h"
#include "tunnel.h"
#include "outer.h"
#include "inner.h"

/* Moves the Ethernet header up to the inner packet. */
static __always_inline int strip(struct tunnel *t)
{
	struct ethhdr eth = *t->eth, *moved;

	eth.h_proto = t->version == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	if (bpf_xdp_adjust_head(t->ctx, t->overhead))
		return refusal(DROP_INTERNAL);
	moved = (void *)(long)t->ctx->data;
	if ((void *)(moved + 1) > (void *)(long)t->ctx->data_end)
		return refusal(DROP_INTERNAL);
	*moved = eth;
	return DECAPPED;
}

SEC("xdp.frags")
int decap(struct xdp_md *ctx)
{
	struct tunnel t;
	int refused = open_outer(ctx, &t);
	__u32 reason;

	if (!refused)
		refused = open_inner(&t);
	if (!refused)
		refused = strip(&t);
	if (!refused) {
		count_reason(t.proto == IPPROTO_UDP ? DECAP_GUE : DECAP_IPIP);
		return XDP_PASS;
	}
	reason = ~refused;
	count_reason(reason);
	return reason == DROP_ECN || reason == DROP_INTERNAL ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
