/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which service a packet is for. */
#pragma once

static __always_inline struct service *service_get(const struct vip_key *key, __u32 *index)
{
	__u32 *found = bpf_map_lookup_elem(&vips, key);

	if (!found)
		return 0;
	*index = *found;
	return bpf_map_lookup_elem(&services, index);
}

/* A hash map may reuse an element while it is being read: the service itself
 * says whose it is. */
static __always_inline bool service_is(const struct service *s, const struct vip_key *key)
{
	return s->port == key->port && s->proto == key->proto &&
	       same_address(&s->vip, &key->addr);
}

/* Exact port first, then every port. */
static __always_inline struct service *service_find(struct vip_key *key, __u32 *index)
{
	struct service *s = service_get(key, index);

	if (!s) {
		key->port = 0;
		s = service_get(key, index);
	}
	return s && service_is(s, key) ? s : 0;
}

/* The one that this CPU found last, if it is the flow's: most new flows come for
 * few services, and a look-up in the hash costs as much as the rest of finding
 * one. Only of its own port: another service may have been listed since for one of
 * every port. */
static __always_inline struct service *service_last(struct scratch *s, __u32 *index)
{
	struct service *last = bpf_map_lookup_elem(&services, &s->last_service);

	*index = s->last_service;
	return last && load_once(last->listed) && service_is(last, &s->key) ? last : 0;
}

/* Of a flow. */
static __always_inline struct service *service_for(struct scratch *s, __u32 *index)
{
	struct service *found;

	s->key.addr = s->tuple.dst;
	s->key.port = s->tuple.dport;
	s->key.proto = s->tuple.proto;
	s->key.pad = 0;
	found = service_last(s, index);
	if (found)
		return found;
	found = service_find(&s->key, index);
	if (found && s->key.port == s->tuple.dport)
		s->last_service = *index;
	return found;
}

/* Does the destination have services of the packet's protocol (any, if it has
 * none of its own: ICMP, or not known)? For packets without ports. */
static __always_inline bool service_has_address(const struct packet *p)
{
	struct scratch *s = scratch();

	if (!s)
		return false;
	packet_destination(p, &s->key.addr);
	s->key.port = 0;
	s->key.proto = balanced(p->proto) ? p->proto : 0;
	s->key.pad = VIP_MARK;
	return bpf_map_lookup_elem(&vips, &s->key);
}
