/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keyed hash of a 5-tuple: NH (UMAC, RFC 4418, 5.2.2: two different inputs
 * collide with probability 2^-32 over the keys) and then the finaliser of
 * splitmix64, so that all bits of the result are usable. The same function in
 * Go is loader/dataplane/hash.go. */
#pragma once

static __always_inline __u64 mix64(__u64 h)
{
	h ^= h >> 30;
	h *= 0xbf58476d1ce4e5b9ULL;
	h ^= h >> 27;
	h *= 0x94d049bb133111ebULL;
	return h ^ h >> 31;
}

static __always_inline __u64 nh(const volatile __u32 *key, __u32 a, __u32 b)
{
	return (__u64)(__u32)(a + key[0]) * (__u32)(b + key[1]);
}

/* Addresses are 1 word (IPv4) or 4 (IPv6). */
static __always_inline __u64 hash_tuple(const volatile __u32 *key, __u8 version, __u8 proto,
					__u32 ports, const __u32 *src, const __u32 *dst)
{
	__u64 h = nh(key, ports, (__u32)version << 8 | proto);

	if (version == 4)
		return mix64(h + nh(key + 2, src[0], dst[0]));
	h += nh(key + 2, src[0], src[1]) + nh(key + 4, src[2], src[3]);
	h += nh(key + 6, dst[0], dst[1]) + nh(key + 8, dst[2], dst[3]);
	return mix64(h);
}

static __always_inline __u32 ports_of(__u16 sport, __u16 dport)
{
	return (__u32)dport << 16 | sport;
}

static __always_inline __u64 hash_packet(const volatile __u32 *key, const struct packet *p)
{
	__u32 ports = ports_of(p->sport, p->dport);

	if (p->version == 4)
		return hash_tuple(key, 4, p->proto, ports, &p->ip4->saddr, &p->ip4->daddr);
	return hash_tuple(key, 6, p->proto, ports, p->ip6->saddr.in6_u.u6_addr32,
			  p->ip6->daddr.in6_u.u6_addr32);
}

static __always_inline __u64 hash_of(const volatile __u32 *key, const struct tuple *t)
{
	__u32 ports = ports_of(t->sport, t->dport);

	if (t->version == 4)
		return hash_tuple(key, 4, t->proto, ports, &t->src.word[3], &t->dst.word[3]);
	return hash_tuple(key, 6, t->proto, ports, t->src.word, t->dst.word);
}
