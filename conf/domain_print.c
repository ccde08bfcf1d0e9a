/* SPDX-License-Identifier: Apache-2.0 */
/* domain_print - a domain's file as it would be with everything said (domain_conf_print()). */
#include "conf/domain.h"

#include "conf/check.h"
#include "conf/domain_int.h"
#include "conf/load.h"
#include "conf/units.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

void domain_uuid_print(const uint8_t u[16], char buf[DOMAIN_UUID_TEXT])
{
	snprintf(buf, DOMAIN_UUID_TEXT,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11],
		 u[12], u[13], u[14], u[15]);
}

static void print_nic(FILE *f, const struct domain_nic *n)
{
	const uint8_t *m = n->mac;
	char text[INET6_ADDRSTRLEN];

	fprintf(f, "  - mac: \"%02x:%02x:%02x:%02x:%02x:%02x\"\n", m[0], m[1], m[2], m[3], m[4], m[5]);
	print_text(f, "    bridge: ", n->bridge);
	print_text(f, "    tap: ", n->tap);
	if (n->mtu)
		fprintf(f, "    mtu: %u\n", n->mtu);
	if (n->queues > 1)
		fprintf(f, "    queues: %u\n", n->queues);
	if (n->vlan)
		fprintf(f, "    vlan: %u\n", n->vlan);
	if (n->n_vlans)
		fputs("    vlans:\n", f);
	for (size_t i = 0; i < n->n_vlans; i++)
		fprintf(f, "      - %u\n", n->vlans[i]);
	print_text(f, "    filter: ", domain_filter_name(n->filter));
	if (n->n_addresses)
		fputs("    addresses:\n", f);
	for (size_t i = 0; i < n->n_addresses; i++)
		print_text(f, "      - ", inet_ntop(n->addresses[i].v6 ? AF_INET6 : AF_INET, n->addresses[i].bytes, text, sizeof(text)));
}

static void print_lists(FILE *f, const struct domain_conf *c)
{
	if (c->n_disks)
		fputs("disks:\n", f);
	for (size_t i = 0; i < c->n_disks; i++) {
		print_text(f, "  - path: ", c->disks[i].path);
		fprintf(f, "    readonly: %s\n", c->disks[i].readonly ? "true" : "false");
		if (c->disks[i].direct != DIRECT_AUTO)
			fprintf(f, "    direct: %s\n", c->disks[i].direct == DIRECT_ON ? "true" : "false");
		if (c->disks[i].format != FORMAT_UNSAID)
			fprintf(f, "    format: %s\n", domain_format_word(c->disks[i].format));
		if (c->disks[i].n_parents)
			fputs("    parents:\n", f);
		for (size_t k = 0; k < c->disks[i].n_parents; k++)
			print_text(f, "      - ", c->disks[i].parents[k]);
		if (c->disks[i].report_errors)
			fputs("    on_error: report\n", f);
	}
	if (c->n_nics)
		fputs("nics:\n", f);
	for (size_t i = 0; i < c->n_nics; i++)
		print_nic(f, &c->nics[i]);
}

static void print_migration(FILE *f, const struct domain_migration *m)
{
	char text[UNITS_TEXT_MAX];

	fprintf(f, "migration:\n  downtime: %s\n  throttle: %u\n", units_print_ms(m->downtime_ms, text),
		m->throttle);
	if (m->timeout_ms)
		fprintf(f, "  timeout: %s\n", units_print_ms(m->timeout_ms, text));
	if (m->bandwidth)
		fprintf(f, "  bandwidth: %s\n", units_print_size(m->bandwidth, text));
}

char *domain_conf_print(const struct domain_conf *c)
{
	char uuid[DOMAIN_UUID_TEXT], size[UNITS_TEXT_MAX], *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool failed;

	if (!f)
		return NULL;
	domain_uuid_print(c->uuid, uuid);
	print_text(f, "name: ", c->name);
	fprintf(f, "uuid: \"%s\"\nmemory: %s\nbacking: %s\nvcpus: %u\n", uuid,
		units_print_size(c->memory, size), domain_backing_name(c->backing), c->vcpus);
	fprintf(f, "firmware: %s\n", domain_firmware_name(c->firmware));
	print_text(f, "firmware_image: ", c->firmware_image);
	domain_cpu_print(f, c);
	print_text(f, "kernel: ", c->kernel);
	print_text(f, "initrd: ", c->initrd);
	if (c->kernel)
		print_text(f, "cmdline: ", c->cmdline);
	print_lists(f, c);
	fprintf(f, "rng: %s\nguest_agent: %s\n", c->rng ? "true" : "false", c->guest_agent ? "true" : "false");
	if (c->display.present)
		fprintf(f, "display:\n  memory: %s\n", units_print_size(c->display.memory, size));
	if (c->ha.present) {
		fprintf(f, "ha:\n  max_restart: %d\n", c->ha.max_restart);
		print_text(f, "  group: ", c->ha.group);
	}
	print_migration(f, &c->migration);
	failed = ferror(f);
	if (fclose(f) || failed) {
		free(text);
		return NULL;
	}
	return text;
}
