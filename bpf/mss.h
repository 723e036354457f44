/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lowers the maximum segment size that a SYN states (RFC 9293, 3.7.1), so that
 * who gets it sends no larger segments. */
#pragma once

#include <stddef.h>

#define MSS_AUTO 1 /* service.mss: what fits the way to the backend */
#define MSS_KIND 2
#define MSS_LENGTH 4
#define MSS_LEAST 88 /* no way is so narrow: net.ipv4.tcp_min_snd_mss is 48 */
#define TCP_OPTIONS_MAX 40

#define MSS_FOUND 256 /* instead of an option's size */

/* The size of the option at a place in the frame, or MSS_FOUND; 0: it is the last,
 * or not whole. stop: where options end. A step is a function so that the verifier
 * sees one, and not forty after each other. */
__noinline int mss_step(struct xdp_md *ctx, __u32 place, __u32 stop)
{
	__u8 *option = (void *)(long)ctx->data + (place & FRAME_MAX);
	__u32 size;

	if (place + MSS_LENGTH > stop || (void *)(option + MSS_LENGTH) > (void *)(long)ctx->data_end)
		return 0;
	if (option[0] == 1)
		return 1;
	size = option[1];
	if (option[0] == MSS_KIND && size == MSS_LENGTH)
		return MSS_FOUND;
	return !option[0] || size < 2 || place + size > stop ? 0 : size;
}

/* Lowers the size that the option at a place states, and with it the checksum
 * there. 1 if it was larger. */
__noinline int mss_lower(struct xdp_md *ctx, __u32 place, __u32 check_place, __u32 most)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *option = data + (place & FRAME_MAX);
	__u16 *check = data + (check_place & FRAME_MAX);
	__u32 delta;

	if ((void *)(option + MSS_LENGTH) > end || (void *)(check + 1) > end ||
	    (__u32)(option[2] << 8 | option[3]) <= most)
		return 0;
	delta = (__u16)~bpf_htons(option[2] << 8 | option[3]) + bpf_htons(most);
	delta = (delta & 0xffff) + (delta >> 16);
	delta = (delta & 0xffff) + (delta >> 16);
	/* A value across two words: RFC 1071, 2 (B). */
	if ((place ^ check_place) & 1)
		delta = __builtin_bswap16(delta);
	*check = csum_add(*check, delta);
	option[2] = most >> 8;
	option[3] = most;
	return 1;
}

/* What SYNs of a backend's service may state, 0: anything. */
static __always_inline __u32 mss_most(__u32 id, __u8 version)
{
	struct backend *b = bpf_map_lookup_elem(&backends, &id);
	__u32 index = b ? b->service : 0, headers;
	struct service *s = bpf_map_lookup_elem(&services, &index);

	if (!b || !s)
		return 0;
	if (s->mss != MSS_AUTO)
		return s->mss;
	headers = sizeof(struct tcphdr) +
		  (version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	if (is_tunnel(b))
		headers += encap_overhead(b);
	return b->mtu > headers ? b->mtu - headers : 0;
}

/* Of a SYN to a backend or from it, whose TCP header is at a place. */
__noinline int mss_clamp(struct xdp_md *ctx, __u32 id, __u32 version, __u32 place)
{
	struct tcphdr *tcp = (void *)(long)ctx->data + (place & FRAME_MAX);
	__u32 most = mss_most(id, version), at, stop;
	int size;

	if (most < MSS_LEAST || (void *)(tcp + 1) > (void *)(long)ctx->data_end)
		return 0;
	at = place + sizeof(*tcp);
	stop = place + tcp->doff * 4;
	for (int i = 0; i < TCP_OPTIONS_MAX; i++) {
		size = mss_step(ctx, at, stop);
		if (size == MSS_FOUND)
			return mss_lower(ctx, at, place + offsetof(struct tcphdr, check), most);
		if (size <= 0)
			return 0;
		at += size;
	}
	return 0;
}

static __always_inline void mss_limit(const struct packet *p, __u32 id)
{
	if (p->tcp_flags & TCP_SYN)
		mss_clamp(p->ctx, id, p->version, p->l4 - (void *)(long)p->ctx->data);
}
