/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domain_int - what the parts of a domain file's reader share (domain.c tells of the three steps).
 *
 *     domain_schema.c   which keys there are, and their words
 *     domain.c          the domain itself
 *     domain_boot.c     what it begins in
 *     domain_cpu.c      the processor it sees
 *     domain_pin.c      on which of the host's its vCPUs run
 *     domain_disks.c    its disks
 *     domain_nics.c     its network cards
 *     domain_made.c     what a file leaves out
 *     domain_print.c    back to text
 */
#ifndef DROVER_CONF_DOMAIN_INT_H
#define DROVER_CONF_DOMAIN_INT_H

#include "conf/domain.h"
#include "conf/load.h"

#include <stdio.h>

/* The file as libcyaml fills it: sizes and addresses are text still. */
enum domain_raw_on_error {
	ON_ERROR_STOP,
	ON_ERROR_REPORT
};

struct domain_raw_disk {
	char *path;
	bool readonly, direct;
	enum domain_format format;
	enum domain_raw_on_error on_error;
	char **parents;
	uint32_t parents_count;
};

struct domain_raw_nic {
	char *mac, *bridge, *tap;
	uint32_t mtu, queues, vlan, *vlans, vlans_count;
	enum domain_filter filter;
	char **addresses;
	uint32_t addresses_count;
};

struct domain_raw_migration {
	char *downtime, *timeout, *bandwidth;
	unsigned int throttle;
};

struct domain_raw_display {
	char *memory;
};

struct domain_raw_topology {
	uint32_t sockets, cores, threads;
};

struct domain_raw_cpu {
	char *model;
	struct domain_raw_topology *topology;
	char **features;
	uint32_t features_count;
};

struct domain_raw_ha {
	char *group;
	uint32_t max_restart;
};

struct domain_raw {
	char *name, *uuid, *memory, *kernel, *initrd, *cmdline, *firmware_image;
	enum domain_firmware firmware;
	enum domain_backing backing;
	uint32_t vcpus;
	bool rng, guest_agent;
	struct domain_raw_cpu *cpu;
	struct domain_raw_disk *disks;
	uint32_t disks_count;
	struct domain_raw_nic *nics;
	uint32_t nics_count;
	struct domain_raw_display *display;
	struct domain_raw_ha *ha;
	struct domain_raw_migration *migration;
};

extern const cyaml_schema_value_t domain_schema;

/* What the build_*() functions share. */
struct domain_build {
	const struct tree *t;
	const struct domain_raw *raw;
	struct domain_conf *c;
	struct err *e;
	size_t n_parents; /* of all disks so far */
};

/** domain_backing_name() - the word for it in a domain's file */
const char *domain_backing_name(enum domain_backing b);

/** domain_filter_name() - the word for it in a domain's file; NULL: none, the key is left out */
const char *domain_filter_name(enum domain_filter f);

/** domain_firmware_name() - the word for it in a domain's file */
const char *domain_firmware_name(enum domain_firmware f);

/** domain_make_uuid() - that of a domain of this name whose file has none */
void domain_make_uuid(const char *name, uint8_t uuid[16]);
/** domain_make_mac() - that of nics[@index] of a domain, which the file does not say */
void domain_make_mac(const uint8_t uuid[16], size_t index, uint8_t mac[6]);

/*
 * Check a part of the file and put it into @b->c.
 * Return: 0, or -EINVAL with "file:line: field: what" in @b->e.
 */
int domain_build_boot(struct domain_build *b);
int domain_build_cpu(struct domain_build *b);
/** @n: what the file has of it, or NULL */
int domain_build_pin(struct domain_build *b, const struct tree_node *n);
int domain_build_disks(struct domain_build *b);
int domain_build_nics(struct domain_build *b);

/** domain_cpu_print() - the `cpu:` of a domain's file */
void domain_cpu_print(FILE *f, const struct domain_conf *c);
/** domain_pin_print() - the `pin:` in it; nothing where it says nothing */
void domain_pin_print(FILE *f, const struct domain_conf *c);

#endif
