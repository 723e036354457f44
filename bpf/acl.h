/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sources that may not use services. What is for no service is not looked at:
 * it is none of our business who talks to this host. */
#pragma once

#define ACL_BITS (ACL_LIST_BITS + 128) /* the list and an address */

/* Does a list deny the address in s->acl? Each list has rules of length 0. */
static __always_inline bool acl_denies(struct scratch *s, __u32 list)
{
	__u32 *denied;

	if (!list)
		return false;
	s->acl.bits = ACL_BITS;
	s->acl.list = list;
	denied = bpf_map_lookup_elem(&acl, &s->acl);
	return denied && *denied;
}

static __always_inline struct acl_state *acl_current(__u32 *side)
{
	__u32 key = 0;
	struct acl_state *lists = bpf_map_lookup_elem(&acl_lists, &key);

	if (lists)
		*side = load_once(lists->side) & 1;
	return lists;
}

static __always_inline struct service_drops *drops_of(__u32 index)
{
	__u32 key = bpf_get_smp_processor_id() * service_ids + index;

	return bpf_map_lookup_elem(&drops, &key);
}

/* Has s->tuple a stored flow? Its service may be gone. */
static __always_inline bool acl_flow_known(struct scratch *s)
{
	struct flow_at at;
	struct backend *b;
	__u32 slot, id;
	__u64 word;

	if (!flow_locate(&at, hash_of(flow_key, &s->tuple)))
		return false;
	word = flow_find(&at, &slot);
	id = flow_id(word);
	b = word ? bpf_map_lookup_elem(&backends, &id) : 0;
	return b && b->forward && same_address(&b->vip, &s->tuple.dst);
}

/* Is the source of s->tuple denied the service that it is a flow of? 1: yes. */
__noinline int acl_refuses_flow(void)
{
	struct scratch *s = scratch();
	struct service_drops *d;
	struct acl_state *lists;
	struct service *service;
	__u32 side = 0, index;
	bool denied;

	lists = acl_current(&side);
	if (!s || !lists)
		return 0;
	s->acl.addr = s->tuple.src;
	denied = acl_denies(s, lists->all[side]);
	if (!denied && !lists->services)
		return 0;
	service = service_for(s, &index);
	if (!service)
		return denied && acl_flow_known(s);
	if (!denied && !acl_denies(s, service->acl[side]))
		return 0;
	d = drops_of(index);
	if (d)
		d->acl++;
	return 1;
}

static __always_inline bool acl_refuses(const struct packet *p)
{
	struct scratch *s = scratch();

	if (!s)
		return false;
	packet_tuple(p, &s->tuple);
	return acl_refuses_flow();
}

/* Is the source of a packet that is for no one service denied all of them? */
static __always_inline bool acl_denies_all(const struct packet *p)
{
	struct scratch *s = scratch();
	struct acl_state *lists;
	__u32 side = 0;

	lists = acl_current(&side);
	if (!s || !lists)
		return false;
	packet_source(p, &s->acl.addr);
	return acl_denies(s, lists->all[side]);
}
