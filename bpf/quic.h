/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* QUIC connections follow their connection id when their client's address
 * changes: a server puts its id there in plain text (draft-ietf-quic-load-
 * balancers-19, plaintext). The first byte's high 3 bits are the configuration. */
#pragma once

#define QUIC_LONG 0x80 /* long header (RFC 9000, 17.2) */
#define QUIC_LONG_LENGTH 5 /* where it has its connection id's length */
#define QUIC_CONFIG_SHIFT 5
#define PAYLOAD_MAX 0x3fff /* the verifier wants a bound for where it begins */

/* Copies a server id of the connection id at cid. */
static __always_inline bool quic_copy(struct quic_key *key, const __u8 *cid, const void *end)
{
#pragma unroll
	for (int i = 0; i < QUIC_ID_MAX; i++) {
		const __u8 *byte = cid + 1 + i;

		key->id[i] = 0;
		if (i >= key->length)
			continue;
		if ((const void *)(byte + 1) > end)
			return false;
		key->id[i] = *byte;
	}
	return true;
}

/* The connection id of a packet, or 0. room: its bytes, as far as it says. */
static __always_inline const __u8 *quic_cid(const __u8 *packet, const void *end, __u32 *room)
{
	const __u8 *length = packet + QUIC_LONG_LENGTH;

	*room = QUIC_ID_MAX + 1;
	if ((const void *)(packet + 1) > end)
		return 0;
	if (!(*packet & QUIC_LONG))
		return packet + 1;
	if ((const void *)(length + 1) > end)
		return 0;
	*room = *length;
	return length + 1;
}

/* The backend whose server id a packet of this service has, or 0. */
__noinline int quic_owner(struct xdp_md *ctx, __u32 index)
{
	struct service *service = bpf_map_lookup_elem(&services, &index);
	const void *end = (void *)(long)ctx->data_end;
	struct scratch *s = scratch();
	struct backend *b;
	const __u8 *cid;
	__u32 room, *id;

	if (!s || !service || s->payload > PAYLOAD_MAX)
		return 0;
	cid = quic_cid((void *)(long)ctx->data + s->payload, end, &room);
	if (!cid || (const void *)(cid + 1) > end)
		return 0;
	s->quic.service = index;
	s->quic.length = service->quic[*cid >> QUIC_CONFIG_SHIFT];
	if (!s->quic.length || s->quic.length >= room || !quic_copy(&s->quic, cid, end))
		return 0;
	id = bpf_map_lookup_elem(&quic_ids, &s->quic);
	b = id ? bpf_map_lookup_elem(&backends, id) : 0;
	return b && b->forward && b->service == index ? *id : 0;
}

static __always_inline __u32 quic_payload(const struct packet *p)
{
	return p->l4 + sizeof(struct udphdr) - (void *)(long)p->ctx->data;
}

/* Is a packet of a known flow really of another connection, one that moved
 * here? Only what the server chose for an open connection tells: a long header
 * may have an id that the client drew. */
static __always_inline bool quic_moved(const struct packet *p, const struct backend *b, __u32 id)
{
	const __u8 *payload = p->l4 + sizeof(struct udphdr);
	struct scratch *s;
	__u32 owner;

	if (!p->udp || !(b->flags & BACKEND_QUIC))
		return false;
	s = scratch();
	if (!s || (void *)(payload + 1) > (void *)(long)p->ctx->data_end || *payload & QUIC_LONG)
		return false;
	s->payload = quic_payload(p);
	owner = quic_owner(p->ctx, b->service);
	return owner && owner != id;
}
