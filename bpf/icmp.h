/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP for VIPs: echo is answered; errors about what backends sent go to the
 * backend that sent it, found by the packet that they quote. */
#pragma once

#define ICMP_HEADER 8 /* of both versions, with the field that errors use */
#define QUOTED_L4 8   /* of a packet in an error: ports and a sequence number */
#define ICMP4_ECHO_REPLY 0
#define ICMP4_UNREACHABLE 3
#define ICMP4_FRAG_NEEDED 4 /* code of unreachable */
#define ICMP4_ECHO 8
#define ICMP4_TIME_EXCEEDED 11
#define ICMP4_PARAMETER 12
#define ICMP6_UNREACHABLE 1
#define ICMP6_TOO_BIG 2
#define ICMP6_PARAMETER 4
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129

struct icmp_header {
	__u8 type;
	__u8 code;
	__u16 check;
	__u32 rest;
};

static __always_inline bool icmp_is_echo(const struct packet *p)
{
	const struct icmp_header *icmp = p->l4;

	return icmp->type == (p->version == 4 ? ICMP4_ECHO : ICMP6_ECHO);
}

static __always_inline bool icmp_is_error(const struct packet *p)
{
	const struct icmp_header *icmp = p->l4;

	if (p->version == 6)
		return icmp->type >= ICMP6_UNREACHABLE && icmp->type <= ICMP6_PARAMETER;
	return icmp->type == ICMP4_UNREACHABLE || icmp->type == ICMP4_TIME_EXCEEDED ||
	       icmp->type == ICMP4_PARAMETER;
}

/* RFC 1191, RFC 8201: what path MTU discovery needs. */
static __always_inline bool icmp_is_too_big(const struct packet *p)
{
	const struct icmp_header *icmp = p->l4;

	if (p->version == 6)
		return icmp->type == ICMP6_TOO_BIG;
	return icmp->type == ICMP4_UNREACHABLE && icmp->code == ICMP4_FRAG_NEEDED;
}

/* Swapped addresses leave sums as they are. */
static __always_inline void swap_addresses(struct packet *p)
{
	struct in6_addr addr;
	__be32 addr4;
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, p->eth->h_dest, ETH_ALEN);
	__builtin_memcpy(p->eth->h_dest, p->eth->h_source, ETH_ALEN);
	__builtin_memcpy(p->eth->h_source, mac, ETH_ALEN);
	if (p->version == 4) {
		addr4 = p->ip4->saddr;
		p->ip4->saddr = p->ip4->daddr;
		p->ip4->daddr = addr4;
		return;
	}
	addr = p->ip6->saddr;
	p->ip6->saddr = p->ip6->daddr;
	p->ip6->daddr = addr;
}

static __always_inline int icmp_answer_echo(struct packet *p)
{
	struct icmp_header *icmp = p->l4;
	__u8 reply = p->version == 4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY;
	/* The type is the first byte of its 16-bit word. */
	__u32 delta = (__u16)~bpf_htons(icmp->type << 8) + bpf_htons(reply << 8);

	icmp->check = csum_add(icmp->check, delta);
	/* The sum of a reply that is all zeros is 0, and only 0xffff verifies;
	 * of any other it verifies too. */
	if (!icmp->check)
		icmp->check = 0xffff;
	icmp->type = reply;
	swap_addresses(p);
	count_reason(SENT_ECHO_REPLY);
	return XDP_TX;
}

/* Bytes of the quoted packet. The frame may have padding after them. */
static __always_inline __u32 icmp_room(const struct packet *p)
{
	__u32 at = p->l4 - p->l3 + ICMP_HEADER;

	return p->l3_length > at ? p->l3_length - at : 0;
}

/* Reads the quoted packet's addresses and ports, turned round: the 5-tuple of
 * the flow that it answered. */
static __always_inline bool icmp_quoted4(struct packet *p, void *end, struct tuple *t)
{
	struct iphdr *ip = p->l4 + ICMP_HEADER;
	__u16 *ports;

	if ((void *)(ip + 1) > end || ip->ihl < 5 || !balanced(ip->protocol) ||
	    ip->frag_off & bpf_htons(IP_OFFSET_MASK) || ip->saddr != p->ip4->daddr)
		return false;
	ports = (void *)ip + ip->ihl * 4;
	if ((void *)(ports + 4) > end || icmp_room(p) < ip->ihl * 4 + QUOTED_L4)
		return false;
	p->quoted = ip;
	p->quoted_ports = ports;
	address4(&t->src, ip->daddr);
	address4(&t->dst, ip->saddr);
	t->proto = ip->protocol;
	t->sport = ports[1];
	t->dport = ports[0];
	return true;
}

static __always_inline bool icmp_quoted6(struct packet *p, void *end, struct tuple *t)
{
	struct ipv6hdr *ip = p->l4 + ICMP_HEADER;
	__u16 *ports = (void *)(ip + 1);

	if ((void *)(ports + 4) > end || icmp_room(p) < sizeof(*ip) + QUOTED_L4 ||
	    !balanced(ip->nexthdr) ||
	    !same_address(&ip->saddr, &p->ip6->daddr))
		return false;
	p->quoted = ip;
	p->quoted_ports = ports;
	__builtin_memcpy(&t->src, &ip->daddr, sizeof(t->src));
	__builtin_memcpy(&t->dst, &ip->saddr, sizeof(t->dst));
	t->proto = ip->nexthdr;
	t->sport = ports[1];
	t->dport = ports[0];
	return true;
}

/* Of either version. */
static __always_inline bool icmp_quoted(struct packet *p, struct tuple *t)
{
	void *end = (void *)(long)p->ctx->data_end;

	t->version = p->version;
	return p->version == 4 ? icmp_quoted4(p, end, t) : icmp_quoted6(p, end, t);
}

#define OWNER_LOCAL -1  /* this host's own HTTP tier */
#define OWNER_DENIED -2 /* the flow's client is */

/* The backend of an error's flow. Another node may have the flow: a too-big
 * message about one that we do not know goes where its packets would go by
 * hash. Everything else that quotes no known flow is forged or stale. */
__noinline int icmp_flow_owner(__u32 too_big)
{
	struct scratch *s = scratch();
	struct service *service;
	struct flow_at at;
	__u64 word;
	__u32 slot, index;

	if (feature_acl && acl_refuses_flow())
		return OWNER_DENIED;
	if (!s)
		return 0;
	s->hash = hash_of(flow_key, &s->tuple);
	if (!flow_locate(&at, s->hash))
		return 0;
	word = flow_find(&at, &slot);
	if (word)
		return flow_id(word);
	service = service_for(s, &index);
	if (service && service->forward == FORWARD_L7)
		return OWNER_LOCAL;
	return service && too_big ? pick(service, index, s, true) : 0;
}

/* Answers an echo, or finds the backend of an error: then 0, its id, and the
 * hash of its flow in the scratch. */
static __always_inline int icmp(struct packet *p, __u32 *id)
{
	struct scratch *s = scratch();
	int owner = 0;

	if (!s || !service_has_address(p))
		return refusal(PASS_NOT_VIP);
	if (icmp_is_echo(p))
		return feature_acl && acl_denies_all(p) ? refusal(DROP_ACL) : icmp_answer_echo(p);
	if (!icmp_is_error(p))
		return refusal(PASS_NOT_VIP);
	if (icmp_quoted(p, &s->tuple))
		owner = icmp_flow_owner(icmp_is_too_big(p));
	if (owner == OWNER_DENIED)
		return refusal(DROP_ACL);
	if (owner == OWNER_LOCAL)
		return refusal(PASS_LOCAL);
	*id = owner;
	return owner ? 0 : refusal(DROP_ICMP_UNKNOWN);
}

/* The quoted packet left the backend with its own address. In IPv4 what the
 * quoted address changes, the quoted header's checksum changes back; in IPv6
 * the pseudo header has the address a second time. */
static __always_inline void nat_icmp(struct packet *p, const struct backend *b)
{
	struct icmp_header *icmp = p->l4;
	__u32 delta = b->l4_delta;
	struct iphdr *ip4 = p->quoted;
	struct ipv6hdr *ip6 = p->quoted;

	if (p->version == 4) {
		delta += (__u16)~b->ip_delta;
		ip4->check = csum_add(ip4->check, b->ip_delta);
		ip4->saddr = b->addr.word[3];
	} else {
		delta += b->ip_delta;
		__builtin_memcpy(&ip6->saddr, &b->addr, sizeof(b->addr));
	}
	icmp->check = csum_add(icmp->check, delta);
	if (b->port)
		p->quoted_ports[0] = b->port;
}
