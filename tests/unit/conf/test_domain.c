/* SPDX-License-Identifier: Apache-2.0 */
/* Domain files: what is read, what is filled in, and the text of each refusal. */
#include "tests/unit/conf/domain_text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void three_fields_make_a_domain(void **state)
{
	struct domain_conf *c = parse(LEAST);

	assert_string_equal(c->name, "web");
	assert_true(c->memory == 4ull << 30);
	assert_string_equal(c->kernel, "/boot/vmlinuz");
	assert_string_equal(c->cmdline, "");
	assert_null(c->initrd);
	assert_int_equal(c->vcpus, 1);
	assert_int_equal(c->backing, BACKING_AUTO);
	assert_true(c->rng);
	assert_false(c->guest_agent);
	assert_false(c->ha.present);
	assert_false(c->display.present);
	assert_int_equal(c->n_disks, 0);
	assert_int_equal(c->n_nics, 0);
	assert_int_equal(c->migration.downtime_ms, 300);
	assert_int_equal(c->migration.timeout_ms, 0);
	assert_int_equal(c->migration.bandwidth, 0);
	assert_int_equal(c->migration.throttle, 0);
	domain_conf_free(c);
}

static void every_field_arrives(void **state)
{
	struct domain_conf *c = parse(
		"name: db-1.prod\n"
		"uuid: 3F2A7C1E-9d4b-4f60-8a57-0c1d2e3f4a5b\n"
		"memory: 512M\nbacking: hugetlb\nvcpus: 32\n"
		"kernel: /k\ninitrd: /i\ncmdline: \"console=ttyS0 root=/dev/vda\"\nrng: false\n"
		"disks:\n  - path: /d0\n  - {path: /d1, readonly: true, direct: true, format: raw}\n"
		"  - {path: /d2, format: vhd, parents: [/p, \"/p p\"]}\n"
		"  - {path: /d3, format: qcow2, parents: [/p]}\n"
		"nics:\n  - mac: 52:54:00:12:34:56\n    bridge: br0\n    tap: t0\n  - {}\n"
		"display:\n  memory: 8M\nguest_agent: true\n"
		"ha:\n  group: gold\n  max_restart: 0\n"
		"migration:\n  downtime: 50ms\n  timeout: 10m\n  bandwidth: 100M\n  throttle: 40\n");

	assert_int_equal(c->migration.downtime_ms, 50);
	assert_int_equal(c->migration.timeout_ms, 600000);
	assert_true(c->migration.bandwidth == 100ull << 20);
	assert_int_equal(c->migration.throttle, 40);
	assert_int_equal(c->uuid[0], 0x3f);
	assert_int_equal(c->uuid[15], 0x5b);
	assert_true(c->memory == 512ull << 20);
	assert_int_equal(c->backing, BACKING_HUGETLB);
	assert_int_equal(c->vcpus, 32);
	assert_string_equal(c->initrd, "/i");
	assert_string_equal(c->cmdline, "console=ttyS0 root=/dev/vda");
	assert_false(c->rng);
	assert_int_equal(c->n_disks, 4);
	assert_int_equal(c->disks[3].format, FORMAT_QCOW2);
	assert_int_equal(c->disks[3].n_parents, 1);
	assert_int_equal(c->disks[2].format, FORMAT_VHD);
	assert_int_equal(c->disks[2].n_parents, 2);
	assert_string_equal(c->disks[2].parents[1], "/p p");
	assert_int_equal(c->disks[1].n_parents, 0);
	assert_false(c->disks[0].readonly);
	assert_int_equal(c->disks[0].direct, DIRECT_AUTO);
	assert_int_equal(c->disks[0].format, FORMAT_UNSAID);
	assert_string_equal(c->disks[1].path, "/d1");
	assert_true(c->disks[1].readonly);
	assert_int_equal(c->disks[1].direct, DIRECT_ON);
	assert_int_equal(c->disks[1].format, FORMAT_RAW);
	assert_int_equal(c->n_nics, 2);
	assert_int_equal(c->nics[0].mac[5], 0x56);
	assert_string_equal(c->nics[0].bridge, "br0");
	assert_string_equal(c->nics[0].tap, "t0");
	assert_null(c->nics[1].bridge);
	assert_true(c->display.present);
	assert_true(c->guest_agent);
	assert_true(c->display.memory == 8ull << 20);
	assert_true(c->ha.present);
	assert_string_equal(c->ha.group, "gold");
	assert_int_equal(c->ha.max_restart, 0);
	domain_conf_free(c);
}

static void identity_comes_from_the_name_alone(void **state)
{
	struct domain_conf *a = parse(LEAST "nics: [{}, {}]\n");
	struct domain_conf *b = parse(LEAST "vcpus: 2\nnics: [{}, {}]\n");
	struct domain_conf *other = parse("name: wec\nmemory: 4G\nkernel: /k\nnics: [{}]\n");

	assert_memory_equal(a->uuid, b->uuid, 16);
	assert_memory_equal(a->nics[1].mac, b->nics[1].mac, 6);
	assert_memory_not_equal(a->nics[0].mac, a->nics[1].mac, 6);
	assert_memory_not_equal(a->uuid, other->uuid, 16);
	assert_memory_not_equal(a->nics[0].mac, other->nics[0].mac, 6);
	assert_int_equal(a->uuid[6] >> 4, 8);
	assert_int_equal(a->uuid[8] >> 6, 2);
	assert_int_equal(a->nics[0].mac[0] & 3, 2);
	domain_conf_free(a);
	domain_conf_free(b);
	domain_conf_free(other);
}

static void what_is_printed_loads_to_the_same(void **state)
{
	struct domain_conf *a = parse(
		LEAST "initrd: /i\ncmdline: \"a=\\\"b c\\\" \\\\ \xc3\xa4\"\nvcpus: 3\nrng: false\n"
		      "backing: anon\n"
		      "disks: [{path: \"/d 0\"}, {path: /d1, readonly: true, direct: false, format: raw, on_error: report},\n"
		      "        {path: /d2, format: vhd, parents: [/p, /d1, \"/p \\\"p\"]}]\n"
		      "nics: [{bridge: br0}, {tap: t1, mtu: 9000, queues: 4},\n"
		      "       {bridge: b, vlan: 10, vlans: [4094, 20]}, {filter: mac},\n"
		      "       {filter: addresses, addresses: [10.0.0.5, \"2001:db8:0::5\"]}]\ndisplay: {}\nha: {group: g}\n");
	char *first = domain_conf_print(a), *second;
	struct domain_conf *b = parse(first);

	second = domain_conf_print(b);
	assert_false(b->disks[0].report_errors);
	assert_true(b->disks[1].report_errors);
	assert_int_equal(b->disks[2].format, FORMAT_VHD);
	assert_int_equal(b->disks[2].n_parents, 3);
	assert_string_equal(b->disks[2].parents[2], "/p \"p");
	assert_int_equal(b->nics[1].mtu, 9000);
	assert_int_equal(b->nics[1].queues, 4);
	assert_int_equal(b->nics[2].queues, 1);
	assert_int_equal(b->nics[2].vlan, 10);
	assert_int_equal(b->nics[2].n_vlans, 2);
	assert_int_equal(b->nics[2].vlans[0], 4094);
	assert_int_equal(b->nics[2].filter, FILTER_NONE);
	assert_int_equal(b->nics[3].filter, FILTER_MAC);
	assert_int_equal(b->nics[4].filter, FILTER_ADDRESSES);
	assert_int_equal(b->nics[4].n_addresses, 2);
	assert_true(b->nics[4].addresses[1].v6 && b->nics[4].addresses[1].bytes[15] == 5);
	assert_string_equal(first, second);
	assert_string_equal(a->cmdline, b->cmdline);
	assert_memory_equal(a->uuid, b->uuid, 16);
	assert_memory_equal(a->nics[1].mac, b->nics[1].mac, 6);
	assert_int_equal(b->ha.max_restart, 3);
	free(first);
	free(second);
	domain_conf_free(a);
	domain_conf_free(b);
}

static void a_wrong_key_is_named_with_the_nearest(void **state)
{
	refused("name: web\nmemroy: 4G\nkernel: /k\n",
		"t.yaml:2: memroy: unknown key, did you mean 'memory'?");
	refused(LEAST "disks:\n  - path: /d\n    format: qcow\n",
		"t.yaml:6: disks[0].format: got 'qcow', expected one of raw, vhd, qcow2");
	refused(LEAST "disks:\n  - path: /d\n    parents: [/p]\n",
		"t.yaml:6: disks[0].parents: only an image has parents; expected `format: vhd` or `format: qcow2` beside it");
	refused(LEAST "disks:\n  - path: /d\n    format: vhd\n    parents: [/p, p]\n", "t.yaml:7: disks[0].parents[1]: got 'p', expected an absolute path");
	refused(LEAST "disks:\n  - path: /d\n    format: vhd\n    parents: [/p, //p]\n",
		"t.yaml:7: disks[0].parents[1]: '//p' is parents[0] already");
	refused(LEAST "disks:\n  - path: /d\n    format: vhd\n    parents: [/d]\n",
		"t.yaml:7: disks[0].parents[0]: '/d' is the disk itself");
	refused(LEAST "disks:\n  - path: /d\n    format: vhd\n    parents: [/e]\n  - path: /e\n",
		"t.yaml:7: disks[0].parents[0]: '/e' is disks[1], which is written to");
	refused(LEAST "disks:\n  - pth: /d\n",
		"t.yaml:5: disks[0].pth: unknown key, did you mean 'path'?");
	refused(LEAST "ha:\n  colour: red\n",
		"t.yaml:5: ha.colour: unknown key, expected one of group, max_restart");
	refused(LEAST "vcpus: 2\nvcpus: 3\n", "t.yaml:5: vcpus: given twice, first in line 4");
}

static void a_missing_key_is_named(void **state)
{
	refused("memory: 4G\nkernel: /k\n", "t.yaml:1: 'name' is missing");
	refused("name: a\nkernel: /k\n", "t.yaml:1: 'memory' is missing");
	refused("name: a\nmemory: 4G\n", "t.yaml:1: neither a `kernel:` nor a disk to boot from, expected one of them");
	refused(LEAST "disks:\n  - readonly: true\n", "t.yaml:5: disks[0]: 'path' is missing");
}

/* With a kernel there is no firmware, without one a BIOS; both can be said aloud, and nothing else. */
static void who_has_no_kernel_begins_in_a_bios(void **state)
{
	struct domain_conf *c = parse(LEAST), *same;
	char *text;

	assert_int_equal(c->firmware, FIRMWARE_NONE);
	assert_false(domain_has_firmware(c));
	assert_null(c->firmware_image);
	domain_conf_free(c);
	c = parse(LEAST "firmware: none\n");
	assert_false(domain_has_firmware(c));
	domain_conf_free(c);
	c = parse("name: a\nmemory: 4G\ndisks: [{path: /d}]\n");
	assert_true(domain_has_firmware(c));
	assert_int_equal(c->firmware, FIRMWARE_BIOS);
	assert_string_equal(c->firmware_image, "/usr/share/seabios/bios-256k.bin");
	assert_null(c->kernel);
	assert_string_equal(c->cmdline, "");
	text = domain_conf_print(c);
	same = parse(text);
	assert_int_equal(same->firmware, FIRMWARE_BIOS);
	assert_string_equal(same->firmware_image, c->firmware_image);
	domain_conf_free(same);
	domain_conf_free(c);
	free(text);
	c = parse("name: a\nmemory: 4G\nfirmware: bios\nfirmware_image: /b\n");
	assert_string_equal(c->firmware_image, "/b");
	assert_int_equal(c->n_disks, 0);
	domain_conf_free(c);
}

static void what_firmware_cannot_be_is_refused(void **state)
{
	refused("name: a\nmemory: 4G\nfirmware: uefi\n",
		"t.yaml:3: firmware: 'uefi' is not there yet, expected bios, or none and a `kernel:`");
	refused("name: a\nmemory: 4G\nfirmware: coreboot\n",
		"t.yaml:3: firmware: got 'coreboot', expected one of none, bios, uefi");
	refused("name: a\nmemory: 4G\nfirmware: none\n",
		"t.yaml:3: firmware: 'none' and no `kernel:` leave nothing to begin in, expected one of them");
	refused(LEAST "firmware: bios\n",
		"t.yaml:4: firmware: a `kernel:` is loaded without firmware, expected none, or no `kernel:`");
	refused(LEAST "firmware_image: /b\n",
		"t.yaml:4: firmware_image: a `kernel:` is loaded without firmware, expected one of them");
	refused("name: a\nmemory: 4G\nfirmware: bios\nfirmware_image: b\n",
		"t.yaml:4: firmware_image: got 'b', expected an absolute path");
	refused("name: a\nmemory: 4G\nfirmware: bios\ncmdline: quiet\n",
		"t.yaml:4: cmdline: is for a kernel, expected `kernel:` as well");
	refused("name: a\nmemory: 4G\ndisks: [{path: /d}]\ninitrd: /i\n",
		"t.yaml:4: initrd: is for a kernel, expected `kernel:` as well");
}

static void a_wrong_value_says_what_was_expected(void **state)
{
	refused("name: web\nmemory: 4X\nkernel: /k\n",
		"t.yaml:2: memory: got '4X', expected a size such as 512M or 4G");
	refused("name: web\nmemory: 3M\nkernel: /k\n",
		"t.yaml:2: memory: got '3M', expected a multiple of 2M");
	refused("name: web\nmemory: 8T\nkernel: /k\n",
		"t.yaml:2: memory: got '8T', expected 2M to 4T");
	refused("name: \"../web\"\nmemory: 4G\nkernel: /k\n",
		"t.yaml:1: name: got '../web', expected up to 63 letters, digits, '-', '_', '.', "
		"starting with a letter or digit");
	refused("name: web\nmemory: 4G\nkernel: vmlinuz\n",
		"t.yaml:3: kernel: got 'vmlinuz', expected an absolute path");
	refused("name: web\nmemory: 4G\nkernel:\n",
		"t.yaml:3: kernel: is empty, expected a value");
	refused(LEAST "vcpus: 0\n", "t.yaml:4: vcpus: got 0, expected 1 to 255");
	refused(LEAST "vcpus: 256\n", "t.yaml:4: vcpus: got 256, expected 1 to 255");
	refused(LEAST "vcpus: two\n", "t.yaml:4: vcpus: got 'two', expected a whole number");
	refused(LEAST "vcpus: -1\n", "t.yaml:4: vcpus: got '-1', expected a whole number");
	refused(LEAST "vcpus: 0x10\n", "t.yaml:4: vcpus: got '0x10', expected a whole number");
	refused(LEAST "display: {memory: 12M}\n", "t.yaml:4: display.memory: got '12M', expected 4M, 8M, 16M, 32M or 64M");
	refused(LEAST "display: {memory: 128M}\n", "t.yaml:4: display.memory: got '128M', expected 4M, 8M, 16M, 32M or 64M");
	refused(LEAST "display: {vga: yes}\n", "t.yaml:4: display.vga: unknown key, expected one of memory");
	refused(LEAST "rng: maybe\n", "t.yaml:4: rng: got 'maybe', expected true or false");
	refused(LEAST "backing: huge\n",
		"t.yaml:4: backing: got 'huge', expected one of auto, memfd, hugetlb, anon");
	refused(LEAST "uuid: 1234\n", "t.yaml:4: uuid: got '1234', expected a UUID such as "
				      "3f2a7c1e-9d4b-4f60-8a57-0c1d2e3f4a5b");
	refused(LEAST "cmdline: \"a\\nb\"\n",
		"t.yaml:4: cmdline: has a control character in it, expected one line of text");
	refused(LEAST "ha: {max_restart: 101}\n",
		"t.yaml:4: ha.max_restart: got 101, expected 0 to 100");
	refused(LEAST "ha: {group: a/b}\n",
		"t.yaml:4: ha.group: got 'a/b', expected up to 63 letters, digits, '-', '_', '.', "
		"starting with a letter or digit");
}

static void disks_and_nics_are_checked_one_by_one(void **state)
{
	static const char *const no_host[] = { "10.0.0", "10.0.0.5/24", "0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1",
					       "255.255.255.255", "::", "::1", "ff02::1", "::ffff:10.0.0.5", "fe80::1%eth0",
					       "web", "2001:db8::5/64" };
	refused(LEAST "disks:\n- path: /a\n- path: b\n",
		"t.yaml:6: disks[1].path: got 'b', expected an absolute path");
	refused(LEAST "disks:\n- path: /a\n- path: /a\n",
		"t.yaml:6: disks[1].path: '/a' is disks[0] already");
	refused(LEAST "nics:\n- mac: 52:54:00:12:34\n",
		"t.yaml:5: nics[0].mac: got '52:54:00:12:34', expected a MAC address such as "
		"52:54:00:12:34:56");
	refused(LEAST "nics:\n- mac: 53:54:00:12:34:56\n",
		"t.yaml:5: nics[0].mac: got '53:54:00:12:34:56', expected a unicast MAC address "
		"(first byte even, not all zero)");
	refused(LEAST "nics:\n- mac: 52:54:00:12:34:56\n- mac: 52:54:00:12:34:56\n",
		"t.yaml:6: nics[1].mac: nics[0] has this MAC already");
	refused(LEAST "nics: [{tap: a}, {tap: a}]\n",
		"t.yaml:4: nics[1].tap: nics[0] has this tap already");
	refused(LEAST "nics:\n- bridge: a-very-long-name\n",
		"t.yaml:5: nics[0].bridge: got 'a-very-long-name', expected the name of a network "
		"device, up to 15 characters");
	refused(LEAST "disks: /d\n", "t.yaml:4: disks: expected a list, one '- ' for each");
	refused(LEAST "disks: [/d]\n", "t.yaml:4: disks[0]: expected keys with values below it");
	refused(LEAST "nics: [{bridge: b, vlan: 0}]\n", "t.yaml:4: nics[0].vlan: got 0, expected a VLAN from 1 to 4094");
	refused(LEAST "nics: [{bridge: b, vlan: 4095}]\n", "t.yaml:4: nics[0].vlan: got 4095, expected a VLAN from 1 to 4094");
	refused(LEAST "nics: [{vlan: 10}]\n", "t.yaml:4: nics[0].vlan: expected a bridge beside it, which filters VLANs");
	refused(LEAST "nics: [{vlans: [10]}]\n", "t.yaml:4: nics[0].vlans: expected a bridge beside it, which filters VLANs");
	refused(LEAST "nics: [{bridge: b, vlans: []}]\n",
		"t.yaml:4: nics[0].vlans: is empty, expected VLANs such as [10, 20], or the key left out");
	refused(LEAST "nics: [{bridge: b, vlans: [10, 4095]}]\n",
		"t.yaml:4: nics[0].vlans[1]: got 4095, expected a VLAN from 1 to 4094");
	refused(LEAST "nics: [{bridge: b, vlans: [10, 20, 10]}]\n", "t.yaml:4: nics[0].vlans[2]: 10 is vlans[0] already");
	refused(LEAST "nics: [{bridge: b, vlan: 10, vlans: [20, 10]}]\n",
		"t.yaml:4: nics[0].vlans[1]: 10 is the vlan of frames without a tag");
	refused(LEAST "nics: [{bridge: b, vlans: [a]}]\n", "t.yaml:4: nics[0].vlans[0]: got 'a', expected a whole number");
	refused(LEAST "nics: [{queues: 0}]\n", "t.yaml:4: nics[0].queues: got 0, expected 1 to 16");
	refused(LEAST "nics: [{queues: 17}]\n", "t.yaml:4: nics[0].queues: got 17, expected 1 to 16");
	refused(LEAST "nics: [{mtu: 67}]\n", "t.yaml:4: nics[0].mtu: got 67, expected 68 to 65521 bytes");
	refused(LEAST "nics: [{mtu: 65522}]\n", "t.yaml:4: nics[0].mtu: got 65522, expected 68 to 65521 bytes");
	refused(LEAST "nics: [{filter: ip}]\n", "t.yaml:4: nics[0].filter: got 'ip', expected one of mac, addresses");
	refused(LEAST "nics: [{addresses: [10.0.0.5]}]\n",
		"t.yaml:4: nics[0].addresses: expected 'filter: addresses' beside it");
	refused(LEAST "nics: [{filter: mac, addresses: [10.0.0.5]}]\n",
		"t.yaml:4: nics[0].addresses: expected 'filter: addresses' beside it");
	refused(LEAST "nics: [{filter: addresses}]\n",
		"t.yaml:4: nics[0].filter: expected 'addresses' beside it, such as [10.0.0.5, 2001:db8::5]");
	refused(LEAST "nics: [{filter: addresses, addresses: []}]\n",
		"t.yaml:4: nics[0].addresses: is empty, expected addresses such as [10.0.0.5, 2001:db8::5]");
	refused(LEAST "nics: [{filter: addresses, addresses: [10.0.0.5, \"2001:db8::5\", \"2001:DB8:0::5\"]}]\n",
		"t.yaml:4: nics[0].addresses[2]: is addresses[1] already");
	for (size_t i = 0; i < sizeof(no_host) / sizeof(no_host[0]); i++) {
		char text[200], said[200];

		snprintf(text, sizeof(text), LEAST "nics: [{filter: addresses, addresses: [\"%s\"]}]\n", no_host[i]);
		snprintf(said, sizeof(said), "t.yaml:4: nics[0].addresses[0]: got '%s', expected a host's address such as "
					     "10.0.0.5 or 2001:db8::5",
			 no_host[i]);
		refused(text, said);
	}
	refused(LEAST "nics: [{},{},{},{},{},{},{},{},{}]\n",
		"t.yaml:4: nics[8]: too many, at most 8");
	refused(LEAST "ha: yes\n", "t.yaml:4: ha: expected keys with values below it");
	refused("name: [a]\nmemory: 4G\nkernel: /k\n",
		"t.yaml:1: name: expected one value, got a list");
}

static void what_is_no_configuration_is_refused(void **state)
{
	refused("", "t.yaml:1: the file is empty");
	refused("# nothing\n", "t.yaml:1: the file is empty");
	refused("hello\n", "t.yaml:1: expected keys with values below it");
	refused(LEAST "---\nname: b\n", "t.yaml:4: a second document, expected only one");
	refused("name: &a web\nmemory: *a\nkernel: /k\n",
		"t.yaml:2: aliases (*name) are not supported");
	refused("a: [[[[[[[[[[1]]]]]]]]]]\n", "t.yaml:1: nested too deeply");
	refused("? [a]\n: b\n", "t.yaml:1: a key must be a word, not a list or a mapping");
	refused("name: \"a\\0b\"\n", "t.yaml:1: a NUL character in a value");
	refused("\"na\\nme\": x\n", "t.yaml:1: na?me: unknown key, did you mean 'name'?");
	refused("name: web\n\tmemory: 4G\n", "t.yaml:2: not valid YAML: found a tab character "
					     "that violates indentation, while scanning a plain scalar");
}

static void the_mark_of_another_encoding_is_told_from_text(void **state)
{
	static const char utf16[] = "\xff\xfen\0a\0m\0e\0";
	struct domain_conf *c = parse("\xef\xbb\xbf" LEAST);
	struct err e = { 0 };

	assert_string_equal(c->name, "web");
	domain_conf_free(c);
	assert_int_equal(domain_conf_parse("t.yaml", utf16, sizeof(utf16) - 1, &c, &e), -EINVAL);
	assert_string_equal(e.text, "t.yaml:1: is written in UTF-16 or UTF-32, expected UTF-8");
	c = parse("\xef\xbb\xbf---\r\nname: web\r\nmemory: 4G\r\nkernel: /boot/vmlinuz\r\n");
	assert_string_equal(c->kernel, "/boot/vmlinuz");
	domain_conf_free(c);
	refused(LEAST "cmdline: r\xe9"
		      "tour\n",
		"t.yaml:4: not valid YAML: invalid trailing UTF-8 octet");
	refused(LEAST "cmdline: a\x01"
		      "b\n",
		"t.yaml:4: not valid YAML: control characters are not allowed");
	refused(LEAST "cmdline: ~\n", "t.yaml:4: cmdline: is null, expected a value, or the key left out");
	refused("\xef\xbb\xbf", "t.yaml:1: the file is empty");
	/* One mark, at the start. */
	assert_int_equal(domain_conf_parse("t.yaml", "\xef\xbb\xbf\xef\xbb\xbf" LEAST, 6 + strlen(LEAST), &c, &e), -EINVAL);
}

static void one_disk_is_one_however_its_path_is_written(void **state)
{
	refused(LEAST "disks:\n  - path: /a/b\n  - path: //a/./b/\n", "t.yaml:6: disks[1].path: '//a/./b/' is disks[0] already");
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
	struct domain_conf *c;
	struct err e = { 0 };

	assert_int_equal(domain_conf_load("/nonexistent/web.yaml", &c, &e), -ENOENT);
	assert_string_equal(e.text, "/nonexistent/web.yaml: No such file or directory");
	assert_int_equal(domain_conf_load("/", &c, &e), -EISDIR);
	assert_string_equal(e.text, "/: Is a directory");
	assert_int_equal(domain_conf_load("/dev/zero", &c, &e), -EINVAL);
	assert_string_equal(e.text,
			    "/dev/zero: more than 262144 bytes, not a configuration file");
}

static void a_file_is_read_from_disk(void **state)
{
	char path[] = "/tmp/drover-conf-XXXXXX";
	int fd = mkstemp(path);
	struct domain_conf *c;
	struct err e = { 0 };

	assert_true(fd >= 0);
	assert_int_equal(write(fd, LEAST, strlen(LEAST)), strlen(LEAST));
	close(fd);
	assert_int_equal(domain_conf_load(path, &c, &e), 0);
	assert_string_equal(c->name, "web");
	domain_conf_free(c);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_fields_make_a_domain),
		cmocka_unit_test(every_field_arrives),
		cmocka_unit_test(identity_comes_from_the_name_alone),
		cmocka_unit_test(what_is_printed_loads_to_the_same),
		cmocka_unit_test(a_wrong_key_is_named_with_the_nearest),
		cmocka_unit_test(a_missing_key_is_named),
		cmocka_unit_test(who_has_no_kernel_begins_in_a_bios),
		cmocka_unit_test(what_firmware_cannot_be_is_refused),
		cmocka_unit_test(a_wrong_value_says_what_was_expected),
		cmocka_unit_test(disks_and_nics_are_checked_one_by_one),
		cmocka_unit_test(what_is_no_configuration_is_refused),
		cmocka_unit_test(the_mark_of_another_encoding_is_told_from_text),
		cmocka_unit_test(one_disk_is_one_however_its_path_is_written),
		cmocka_unit_test(a_file_that_cannot_be_read_is_named),
		cmocka_unit_test(a_file_is_read_from_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
