/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Headers of fragments. */
#pragma once

struct fragment {
	__u32 id;
	__u32 offset; /* bytes */
};

/* RFC 8200, 4.5. Extension headers behind the fragment header are not followed:
 * later fragments do not show them. */
static __always_inline enum parsed parse_fragment6(struct packet *p, void *end, __u32 *at,
						   struct fragment *f)
{
	struct fragment_header6 *header;
	__u8 next = p->ip6->nexthdr;

	*at = sizeof(*p->ip6);
#pragma unroll
	for (int i = 0; i <= EXTENSIONS_MAX; i++) {
		header = p->l3 + *at;
		if ((void *)(header + 1) > end || *at + sizeof(*header) > p->l3_length)
			return PARSED_MALFORMED;
		if (next == IPPROTO_FRAGMENT && fragments6(header)) {
			*at += sizeof(*header);
			f->id = header->id;
			f->offset = bpf_ntohs(header->offset) & ~7;
			p->proto = header->next;
			return PARSED;
		}
		if (next != IPPROTO_FRAGMENT && !is_extension(next))
			return PARSED_OTHER;
		*at += next == IPPROTO_FRAGMENT ? 8 : 8 * (header->length + 1);
		next = header->next;
	}
	return PARSED_EXTENSIONS;
}

static __always_inline enum parsed parse_fragment4(struct packet *p, __u32 *at, struct fragment *f)
{
	*at = p->ip4->ihl * 4;
	f->id = p->ip4->id;
	f->offset = (bpf_ntohs(p->ip4->frag_off) & IP_OFFSET_MASK) * 8;
	p->proto = p->ip4->protocol;
	return PARSED;
}

#define PACKET_MAX 0xffff

/* Of a frame that parse() found to be a fragment. The first has all of its
 * TCP or UDP header (RFC 7112; RFC 3128), but not all that UDP's length states. */
static __always_inline enum parsed parse_part(struct xdp_md *ctx, struct packet *p,
					      struct fragment *f)
{
	void *end = (void *)(long)ctx->data_end;
	enum parsed what;
	__u32 at = 0;

	what = p->version == 4 ? parse_fragment4(p, &at, f) : parse_fragment6(p, end, &at, f);
	if (what != PARSED)
		return what;
	if (is_extension(p->proto) || p->proto == IPPROTO_FRAGMENT) {
		p->proto = 0;
		return PARSED_EXTENSIONS;
	}
	if (!balanced(p->proto))
		return PARSED_OTHER;
	if (at > p->l3_length || f->offset + p->l3_length - at > PACKET_MAX)
		return PARSED_MALFORMED;
	p->l4 = p->l3 + at;
	p->icmp = false;
	p->udp = false;
	p->tcp_flags = 0;
	if (f->offset)
		return PARSED;
	if (p->proto == IPPROTO_TCP)
		return parse_tcp(p, end, p->l3_length - at);
	return parse_udp_part(p, end, p->l3_length - at);
}

static __always_inline enum parsed parse_fragment(struct xdp_md *ctx, struct packet *p,
						  struct fragment *f)
{
	enum parsed what = parse(ctx, p);

	if (what == PARSED_FRAGMENT)
		return parse_part(ctx, p, f);
	return what == PARSED ? PARSED_OTHER : what;
}
