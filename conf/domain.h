/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domain - what an operator wrote about one domain (docs/domain.yaml.5).
 *
 * domain_conf_load() reads YAML, checks every field and returns a struct that
 * the rest of Drover may trust: names are clean, sizes are in range and
 * aligned, lists are within their limits.  Strings are owned by the struct.
 */
#ifndef DROVER_CONF_DOMAIN_H
#define DROVER_CONF_DOMAIN_H

#include "base/err.h"
#include "conf/cpu_list.h"
#include "conf/cpu_model.h"
#include "conf/cpu_topology.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOMAIN_NAME_MAX 63     /* letters, digits, '-', '_', '.'; starts with a letter or digit */
#define DOMAIN_VCPUS_MAX 255   /* xAPIC ids; more needs x2APIC */
#define DOMAIN_APIC_ID_MAX 254 /* 255 is all of them */
#define DOMAIN_DISKS_MAX 16
#define DOMAIN_NICS_MAX 8
#define DOMAIN_VLANS_MAX 64  /* that a guest tags itself, of one network card */
#define DOMAIN_VLAN_MAX 4094 /* IEEE 802.1Q 9.6 */
#define DOMAIN_QUEUES_MAX 16
#define DOMAIN_ADDRESSES_MAX 32 /* of one network card */
#define DOMAIN_MTU_MIN 68       /* VIRTIO 1.2 5.1.4.1 */
#define DOMAIN_MTU_MAX 65521    /* Linux's tap: 65535 with the Ethernet header */
#define DOMAIN_PARENTS_MAX 32   /* of all its disks */
#define DOMAIN_DISPLAY_MIN (4ull << 20)
#define DOMAIN_DISPLAY_MAX (64ull << 20)
#define DOMAIN_MEMORY_MIN (2ull << 20)
#define DOMAIN_MEMORY_MAX (1ull << 42)

enum domain_backing {
	BACKING_AUTO,    /* the largest pages this host gives without being asked twice */
	BACKING_MEMFD,   /* memfd, base pages (transparent huge pages if the host allows) */
	BACKING_HUGETLB, /* memfd of reserved 2 MiB pages; refused when there are too few */
	BACKING_ANON,    /* anonymous, transparent huge pages on request */
};

enum domain_direct {
	DIRECT_AUTO, /* past the page cache where other hosts may have the disk too */
	DIRECT_ON,   /* always (O_DIRECT) */
	DIRECT_OFF,  /* never */
};

enum domain_format {
	FORMAT_UNSAID, /* raw; refused when it looks like anything else */
	FORMAT_RAW,    /* raw, whatever it looks like */
	FORMAT_VHD,
	FORMAT_QCOW2,
};

/* What a guest begins in. */
enum domain_firmware {
	FIRMWARE_NONE, /* its kernel, which the VMM loads */
	FIRMWARE_BIOS, /* a PC BIOS, which finds something to boot on its disks */
	FIRMWARE_UEFI, /* not there yet: no file that says so is taken */
};

struct domain_disk {
	char *path; /* absolute path of a file or a block device */
	bool readonly;
	enum domain_direct direct;
	bool report_errors; /* `on_error: report`: a failed write is the guest's; else the domain is held */
	enum domain_format format;
	char **parents; /* of an image that has only what differs: absolute paths of its parent, the parent's parent, ... */
	size_t n_parents;
};

enum domain_filter {
	FILTER_NONE,
	FILTER_MAC,       /* frames of its own MAC address only */
	FILTER_ADDRESSES, /* and IP from its own addresses only */
};

struct domain_address {
	bool v6;
	uint8_t bytes[16]; /* network order; 4 of them for IPv4, the rest 0 */
};

struct domain_nic {
	uint8_t mac[6];                   /* unicast; made from the uuid and the index when the file has none */
	char *bridge;                     /* NULL: the tap is left unattached */
	char *tap;                        /* NULL: named by the host */
	uint16_t mtu;                     /* bytes, that the guest is told; 0: what the link carries */
	uint16_t vlan;                    /* 1..DOMAIN_VLAN_MAX: of frames without a tag; 0: none, or the bridge's own */
	uint16_t vlans[DOMAIN_VLANS_MAX]; /* that the guest tags itself; neither twice nor @vlan */
	size_t n_vlans;
	unsigned int queues; /* pairs of them, 1..DOMAIN_QUEUES_MAX; default 1 */
	enum domain_filter filter;
	struct domain_address addresses[DOMAIN_ADDRESSES_MAX]; /* of FILTER_ADDRESSES; unicast, none twice */
	size_t n_addresses;
};

/* A screen, and what comes with one. */
struct domain_display {
	bool present;    /* the file has a `display:` section */
	uint64_t memory; /* bytes, a power of two, DOMAIN_DISPLAY_MIN to DOMAIN_DISPLAY_MAX; default 16 MiB */
};

struct domain_ha {
	bool present;    /* the file has an `ha:` section */
	char *group;     /* NULL: any host */
	int max_restart; /* 0..100, default 3 */
};

/* What moving the domain may cost, unless a command says otherwise. */
struct domain_migration {
	uint64_t downtime_ms;  /* that it may stand still for, 1 ms to 1 h; default 300 */
	uint64_t timeout_ms;   /* of the whole; 0: none (one that makes no progress ends all the same) */
	uint64_t bandwidth;    /* bytes per second; 0: no limit */
	unsigned int throttle; /* percent of its time, 0..80, that its vCPUs may be held back for; default 0 */
};

/* The processor that the guest sees. */
struct domain_cpu {
	const struct cpu_model *model;   /* NULL: what the host has, without what cannot move */
	struct cpu_features add, remove; /* as the file has them; no feature in both */
	struct cpu_topology topology;    /* as many as the domain has vCPUs; one socket of single threads, if not said */
	struct cpu_list *pin;            /* a list for each vCPU, empty: any CPU of the host; NULL: none has one */
};

struct domain_conf {
	char *name;
	uint8_t uuid[16]; /* made from the name when the file has none */
	uint64_t memory;  /* bytes, multiple of 2 MiB */
	enum domain_backing backing;
	uint32_t vcpus; /* 1..DOMAIN_VCPUS_MAX */
	struct domain_cpu cpu;
	enum domain_firmware firmware;
	char *firmware_image; /* absolute path; NULL without firmware */
	char *kernel;         /* absolute path; bzImage or PVH ELF; NULL with firmware */
	char *initrd;         /* or NULL */
	char *cmdline;        /* never NULL */
	struct domain_disk disks[DOMAIN_DISKS_MAX];
	size_t n_disks;
	struct domain_nic nics[DOMAIN_NICS_MAX];
	size_t n_nics;
	bool rng;         /* virtio entropy device, default true */
	bool guest_agent; /* a port for an agent in the guest, default false */
	struct domain_display display;
	struct domain_ha ha;
	struct domain_migration migration;
};

/**
 * domain_conf_load() - read and check a domain file
 * @path: YAML file, or "-" for standard input
 * Return: 0 and *@out (free with domain_conf_free()), -ENOENT, or -EINVAL with
 * "file:line: field: what, what was expected" in @e.
 */
int domain_conf_load(const char *path, struct domain_conf **out, struct err *e);

/** domain_conf_parse() - the same from memory; @name stands for the file in errors */
int domain_conf_parse(const char *name, const char *text, size_t len,
		      struct domain_conf **out, struct err *e);

void domain_conf_free(struct domain_conf *c);

/**
 * domain_conf_print() - @c as YAML that loads to the same again
 * Return: a string to free(), or NULL without memory.
 */
char *domain_conf_print(const struct domain_conf *c);

/** domain_has_firmware() - does its guest begin in firmware, and not in a kernel that the VMM loads? */
bool domain_has_firmware(const struct domain_conf *c);

/**
 * domain_cpu_features() - what a guest with @c must have, and what it must not
 * @has: the model's and those added, with what they need; as the host's: only those added
 * @gone: those taken away, with what needs them
 */
void domain_cpu_features(const struct domain_cpu *c, struct cpu_features *has, struct cpu_features *gone);

/** domain_format_word() - its word after `format:`, "raw" where the file says nothing */
const char *domain_format_word(enum domain_format f);

#define DOMAIN_UUID_TEXT 37 /* with the NUL */
void domain_uuid_print(const uint8_t uuid[16], char buf[DOMAIN_UUID_TEXT]);

#endif
