/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* VLAN tags (IEEE 802.1Q and 802.1ad). Up to two come off a frame before
 * anything looks at it. A frame that leaves gets those of the interface that it
 * leaves by; one that is passed or answered gets its own back. */
#pragma once

#define TAG_PRIORITY 0xf000 /* of a tag's control: priority and drop eligible */

static __always_inline bool is_tag(__u16 tpid)
{
	return tpid == bpf_htons(ETH_P_8021Q) || tpid == bpf_htons(ETH_P_8021AD);
}

/* Both addresses of an Ethernet header; tags are behind them. */
struct macs {
	__u32 word[2 * ETH_ALEN / 4];
};

/* Takes the tags off. 0: the frame cannot be read any more. */
__noinline int vlan_untag(struct xdp_md *ctx)
{
	struct macs *macs = (void *)(long)ctx->data, kept;
	struct tag *tag = (void *)(macs + 1);
	void *end = (void *)(long)ctx->data_end;
	struct scratch *s = scratch();
	int tags = 1;

	if (!s)
		return 0;
	s->came[0].tpid = 0;
	s->came[1].tpid = 0;
	s->leaves[0].tpid = 0;
	if ((void *)&tag[1].tci > end || !is_tag(tag[0].tpid))
		return 1;
	s->came[0] = tag[0];
	if ((void *)&tag[2].tci <= end && is_tag(tag[1].tpid)) {
		s->came[1] = tag[1];
		tags = 2;
	}
	s->leaves[0] = s->came[0];
	s->leaves[1] = s->came[1];
	kept = *macs;
	if (bpf_xdp_adjust_head(ctx, tags * (int)sizeof(*tag)))
		return 0;
	macs = (void *)(long)ctx->data;
	if ((void *)(macs + 1) > (void *)(long)ctx->data_end)
		return 0;
	*macs = kept;
	return 1;
}

/* Puts tags on a frame that goes on. */
__noinline int vlan_retag(struct xdp_md *ctx, __u32 verdict)
{
	struct macs *macs = (void *)(long)ctx->data, kept;
	struct scratch *s = scratch();
	struct tag outer, inner, *tag;
	int tags;

	if (!s || verdict == XDP_DROP || (void *)(macs + 1) > (void *)(long)ctx->data_end)
		return verdict;
	outer = verdict == XDP_PASS ? s->came[0] : s->leaves[0];
	inner = verdict == XDP_PASS ? s->came[1] : s->leaves[1];
	if (!outer.tpid)
		return verdict;
	tags = inner.tpid ? 2 : 1;
	kept = *macs;
	if (bpf_xdp_adjust_head(ctx, -tags * (int)sizeof(*tag)))
		return lost();
	macs = (void *)(long)ctx->data;
	tag = (void *)(macs + 1);
	if ((void *)(tag + 1) > (void *)(long)ctx->data_end)
		return lost();
	*macs = kept;
	*tag++ = outer;
	if (tags == 1)
		return verdict;
	if ((void *)(tag + 1) > (void *)(long)ctx->data_end)
		return lost();
	*tag = inner;
	return verdict;
}

/* The interface by which a frame really leaves. What tags has no XDP of its
 * own; its tags, with the priority that the frame came with, are put on last. */
static __always_inline __u32 vlan_below(__u32 ifindex)
{
	struct vlan *v = bpf_map_lookup_elem(&vlans, &ifindex);
	struct scratch *s = scratch();

	if (!s)
		return ifindex;
	s->leaves[0].tpid = 0;
	if (!v)
		return ifindex;
	s->leaves[0] = v->tag[0];
	s->leaves[1] = v->tag[1];
	if (s->came[0].tpid)
		s->leaves[0].tci |= s->came[0].tci & bpf_htons(TAG_PRIORITY);
	return v->ifindex;
}
