/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Layouts that user space shares. bpf2go emits the Go types from these. */
#pragma once

/* Numbers that user space needs too: bpf2go makes Go's of these. */
enum constant {
	LAYOUT = 5,     /* version of all here and in maps.h; pinned maps of others are refused */
	FLOW_SLOTS = 8, /* words of one set: a cache line */

	/* An arena is an array of u32; the kernel rounds an element up to 8 bytes, so
	 * they come by the line. */
	ARENA_LINE = 16,

	/* A table's head and entries, see pick.h. */
	TABLE_SIZE_MASK = 0xffffff,
	TABLE_PICKER_SHIFT = 24,
	ENTRY_SLOT = 0xffff,
	ENTRY_WEIGHT_SHIFT = 16,
	LEAST_MAX = 32, /* entries that PICK_LEAST compares */
	LEAST_LINES = 1 + LEAST_MAX / ARENA_LINE, /* that they are in, at most */

	VIP_MARK = 1, /* vip_key.pad: an entry that only says "has services" */

	/* Of snat, see snat.h. */
	SNAT_SOURCES = 32, /* addresses */
	SNAT_FIRST_PORT = 1024,
	SNAT_PORTS = 64512, /* of one address */

	/* see acl.h */
	ACL_LIST_BITS = 32,

	/* see limit.h; of the limits' clock */
	LIMIT_SECOND = 976562,
	LIMIT_DEBT_MAX = 600 * LIMIT_SECOND, /* the loader sets no burst that owes more */
	CEILING_SHIFT = 14, /* ceilings count in finer units: at 10^6 a second 16,000 a flow */

	/* see capture.h */
	CAPTURE_MAX = 9216, /* longest part of a frame that is captured, bytes: jumbo frames */
	CAPTURE_NO_REASON = 63,
};

enum backend_flag {
	/* The real's address alone does not tell whose reply a packet is: other
	 * services NAT to it too, or it is registered for every port. Flows then
	 * have an entry for the reply direction. */
	BACKEND_SHARED = 1,
	BACKEND_QUIC = 2, /* of a service that knows server ids */
};

enum forward {
	FORWARD_NONE = 0,
	FORWARD_NAT = 1,
	FORWARD_DSR = 2,
	FORWARD_L7 = 3,
	FORWARD_IPIP = 4,
	FORWARD_GUE = 5,
	FORWARD_SNAT = 6,
};

/* Kept in the head of a table, so that entries and the way to choose one of
 * them change together. */
enum picker {
	PICK_HASH = 1,   /* Maglev */
	PICK_CURSOR = 2, /* round robin over a schedule */
	PICK_LEAST = 3,  /* least connection of all entries; they hold weights */
	PICK_TWO = 4,    /* less loaded of two chosen by hash; likewise */
};

/* A flow only moves towards higher states, but for a new one with the 5-tuple
 * of one that has ended. */
enum flow_state {
	FLOW_EMPTY = 0,
	FLOW_REVERSE = 1,     /* reply direction of a flow */
	FLOW_EMBRYONIC = 2,   /* SYN seen and no ACK yet; one UDP packet */
	FLOW_ESTABLISHED = 3, /* TCP */
	FLOW_STREAM = 4,      /* UDP, two or more packets */
	FLOW_CLOSING = 5,     /* the client's FIN or RST seen: still steered, no longer counted */
	FLOW_CLOSED = 6,      /* the backend's RST seen */
	FLOW_STATES = 8,
};

/* Why a packet got its verdict. Drops come first; the names that people see
 * are made from these by the loader. */
enum reason {
	DROP_MALFORMED = 0,   /* a header that lies about its length */
	DROP_FRAGMENT,        /* of a packet whose first fragment we do not know */
	DROP_FRAGMENT_OVERLAP, /* contradicts an earlier one of the same packet */
	DROP_TTL,             /* TTL or hop limit ran out on the way */
	DROP_NO_BACKEND,      /* the table is empty */
	DROP_NO_NEXT_HOP,     /* the backend's MAC address is not known yet */
	DROP_NAT_CONFLICT,    /* its replies could not be told from another flow's */
	DROP_NO_CHECKSUM,     /* UDP over IPv6 without checksum cannot be NATed */
	DROP_NO_ROUTE,        /* reply: no route to the client */
	DROP_NO_FORWARDING,   /* reply: the forwarding sysctl is off */
	DROP_TOO_BIG,         /* with its tunnel header, for the way to the backend */
	DROP_SNAT_EXHAUSTED,  /* every source that the flow may have is in use */
	DROP_ICMP_UNKNOWN,    /* an error that quotes no known flow */
	DROP_EXTENSIONS,      /* more IPv6 extension headers than we follow */
	DROP_ACL,             /* its source is denied */
	DROP_NEW_FLOWS_PER_SOURCE, /* would open a flow more than its source may */
	DROP_MAX_NEW_FLOWS,   /* would open a flow more than the service takes */
	DROP_INTERNAL,        /* cannot happen */
	PASS_NOT_IP,          /* ARP and the like */
	PASS_VLAN,            /* more tags than we follow, or any if we follow none */
	PASS_NOT_VIP,         /* for somebody else */
	PASS_MALFORMED,       /* malformed, and not for a VIP */
	PASS_LOCAL,           /* l7: for this host's HTTP tier */
	PASS_NO_NEIGHBOUR,    /* reply, rewritten: the kernel finds the client's MAC */
	PASS_TOO_BIG,         /* reply, rewritten: the kernel handles the MTU */
	SENT_ECHO_REPLY,      /* answered by ourselves */
	SENT_TOO_BIG,         /* likewise; the packet is also DROP_TOO_BIG */
	REASONS,
};

/* What came of a packet's first fragment; the value is a backend id, a pair of
 * snat.h, or for LOCAL the reason of its pass. */
enum fragment_kind {
	FRAGMENT_NONE = 0,
	FRAGMENT_REQUEST = 1,
	FRAGMENT_REPLY = 2,
	FRAGMENT_SNAT_REQUEST = 3,
	FRAGMENT_SNAT_REPLY = 4,
	FRAGMENT_LOCAL = 5,
	FRAGMENT_BROKEN = 7, /* two first fragments that differ */
};

enum event_kind {
	EVENT_FLOW_NEW = 1,
	EVENT_FLOW_CLOSED = 2,
	EVENT_DROP = 3,
	EVENT_NO_NEIGHBOUR = 4,
};

/* IPv4 addresses are IPv4-mapped (RFC 4291, 2.5.5.2) wherever an address has
 * 16 bytes. Ports and addresses are in network byte order. */
struct address {
	__u32 word[4];
};

struct vip_key {
	struct address addr;
	__u16 port; /* 0: every port; with proto 0: the address has services */
	__u8 proto;
	__u8 pad;
};

/* One cache line. `ref` is the only field that changes while the service is
 * in use: low half the table's offset in the arena, high half that of the
 * member list, so that both are swapped by one store. */
struct service {
	struct address vip;
	__u16 port;
	__u8 proto;
	__u8 forward;
	__u32 listed; /* in `vips`; written after it and cleared before */
	__u64 ref;
	__u8 quic[8]; /* length of server ids, by the configuration's id; 0: none */
	__u32 acl[2]; /* lists of sources, see acl.h; 0: none */
	__u32 source_rate; /* new flows a second of one source; 0: no limit */
	__u32 source_burst;
	__u32 flow_rate; /* new flows a second; 0: no limit */
	__u16 mss; /* most that a SYN may state; 0: anything, 1: see mss.h */
	__u16 pad1;
};

/* New flows and packets that a service refused. One row for each CPU. */
struct service_drops {
	__u64 acl;
	__u64 new_flows_per_source;
	__u64 max_new_flows;
	__u64 pad;
};

/* Of a list, the rule of the longest prefix that has the address counts. */
struct acl_key {
	__u32 bits; /* of what follows; at least the list's */
	__u32 list;
	struct address addr;
};

/* Which lists count: those of one side. The other is written meanwhile and
 * takes over, for all services at once, by one store to `side`. */
struct acl_state {
	__u32 side;
	__u32 all[2]; /* the list that counts for every service; 0: none */
	__u32 services; /* 1: some service may have a list */
};

/* One cache line. Everything that forwarding needs. Deltas are sums to add to
 * a ones' complement checksum (RFC 1624) when a packet is rewritten from the
 * VIP to the backend; their complements undo it. */
struct backend {
	__u8 dst_mac[6];
	__u16 ip_delta; /* IPv4 header: address; tunnels: the outer header's sum */
	__u8 src_mac[6];
	__u16 l4_delta; /* TCP/UDP: address and, unless any-port, port */
	__u32 ifindex;
	__u8 forward; /* 0: this id is free */
	__u8 flags;
	__u16 port; /* 0: keep the client's */
	struct address addr;
	__u16 vip_port;
	__u16 service;
	__u8 proto;
	__u8 family; /* of addr: 4 or 6 */
	__u16 mtu;   /* of the way there, bytes */
	struct address vip;
};

/* One cache line for each (CPU, backend). */
struct backend_stats {
	__u64 packets;
	__u64 bytes;
	__u64 reply_packets;
	__u64 reply_bytes;
	__u64 flows;
	__u64 unstored;
	__u64 pad[2];
};

struct flow_set {
	__u64 word[FLOW_SLOTS];
};

struct arena_line {
	__u32 entry[ARENA_LINE];
};

/* Who has a source address and port of ours. */
struct snat_client {
	struct address addr;
	__u16 port;
	__u16 pad[7];
};

/* One VLAN tag, as it is on the wire. */
struct tag {
	__u16 tpid; /* 0: none */
	__u16 tci;
};

/* An interface that tags: what leaves by it really leaves by another. */
struct vlan {
	__u32 ifindex; /* of that */
	struct tag tag[2]; /* outermost first */
};

struct real_key {
	struct address addr;
	__u16 port; /* 0: every port */
	__u8 proto;
	__u8 pad;
};

/* Longest server id of QUIC-LB, bytes. */
#define QUIC_ID_MAX 15

/* A server id in the connection ids of a service's clients. */
struct quic_key {
	__u16 service;
	__u8 length;
	__u8 id[QUIC_ID_MAX]; /* 0 behind its length */
};

struct event {
	__u64 time; /* CLOCK_MONOTONIC, ns */
	struct address src;
	struct address dst;
	__u16 sport;
	__u16 dport;
	__u8 kind;
	__u8 reason;
	__u8 proto;
	__u8 pad;
	__u32 backend;
	__u32 ifindex;
	__u32 length;
	__u32 sampled; /* stands for this many */
};

/* A packet that is captured. The frame as it came in follows, and then, unless
 * out_length is 0, as it left. */
struct captured {
	__u64 time; /* CLOCK_MONOTONIC, ns */
	__u32 length;     /* of the frame as it came in, bytes */
	__u32 copied;     /* how many of them follow */
	__u32 out_length; /* as it left or was handed on; 0: it did not, or is the same */
	__u32 out_copied;
	__u32 ifindex;
	__u32 out_ifindex;
	__u32 backend; /* id, 0: none */
	__u32 skipped; /* packets that should have come before it, over the budget */
	__u32 verdict; /* enum xdp_action */
	__u32 reason;  /* enum reason, 63: none */
};

/* What is captured. */
struct capture_filter {
	__u64 reasons; /* bit n: with reason n; 63: without */
	__u32 snaplen; /* bytes of a frame at most */
	__u32 service; /* index, 0: all */
	__u32 backend; /* id, 0: all */
	__u32 pad;
};

/* What makes pinned maps mean the same after a restart. */
struct node {
	__u32 layout;
	__u32 cpus;
	__u32 flow_sets;
	__u32 pad;
	__u32 flow_key[12];
};

/* Types that no map holds reach the object's type information through these. */
const struct event *emit_event __attribute__((unused));
const struct captured *emit_captured __attribute__((unused));
const enum reason *emit_reason __attribute__((unused));
const enum event_kind *emit_event_kind __attribute__((unused));
const enum flow_state *emit_flow_state __attribute__((unused));
const enum fragment_kind *emit_fragment_kind __attribute__((unused));
const enum forward *emit_forward __attribute__((unused));
const enum picker *emit_picker __attribute__((unused));
const enum constant *emit_constant __attribute__((unused));
const enum backend_flag *emit_backend_flag __attribute__((unused));
